/* CRC-32 of IEEE 802.3 (polynomial 04c11db7, reflected): Ethernet's FCS and InfiniBand's ICRC. */
#ifndef MERIDIAN_WIRE_CRC32_H
#define MERIDIAN_WIRE_CRC32_H

#include <stddef.h>
#include <stdint.h>

#define CRC32_START 0xffffffffu

/* The running remainder over these bytes: begins with CRC32_START; the CRC is its complement. */
uint32_t crc32_update(uint32_t state, const void *bytes, size_t len);

/* The same by tables alone, eight bytes a step: what crc32_update is tested against and falls back to. */
uint32_t crc32_update_plain(uint32_t state, const void *bytes, size_t len);

#endif
