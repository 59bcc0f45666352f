/* A router's identity: the Ed25519 key that signs its HELLOs, in a file of 64 hexadecimal digits that only its owner reads. */
#ifndef MERIDIAN_ROUTER_IDENTITY_H
#define MERIDIAN_ROUTER_IDENTITY_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Reads it, or makes one (mode 0600) where there is none. Refuses a file that others may read. */
int identity_load(const char *path, uint8_t ret_seed[32], bool *ret_made, struct error *err);
/* The same, of a file that must be there. */
int identity_read(const char *path, uint8_t ret_seed[32], struct error *err);
int identity_public(const uint8_t seed[32], uint8_t ret[32], struct error *err);

#endif
