#include "wire/memif.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

static void put_text(uint8_t *p, size_t cap, const char *text)
{
    size_t n = strnlen(text, cap - 1);
    memcpy(p, text, n);
    memset(p + n, 0, cap - n);
}

/* `to` is one byte longer than the field. */
static void get_text(char *to, const uint8_t *p, size_t cap)
{
    size_t n = strnlen((const char *)p, cap);
    memcpy(to, p, n);
    memset(to + n, 0, cap + 1 - n);
}

void memif_encode(uint8_t ret[MEMIF_MESSAGE_SIZE], const struct memif_message *m)
{
    uint8_t *p = ret;
    memset(p, 0, MEMIF_MESSAGE_SIZE);
    bytes_put_u16(p, (uint16_t)m->type);
    switch (m->type) {
    case MEMIF_HELLO:
        put_text(p + 2, MEMIF_NAME, m->hello.name);
        bytes_put_u16(p + 34, m->hello.version_least);
        bytes_put_u16(p + 36, m->hello.version_most);
        bytes_put_u16(p + 38, m->hello.region_most);
        bytes_put_u16(p + 40, m->hello.to_client_most);
        bytes_put_u16(p + 42, m->hello.to_server_most);
        p[44] = m->hello.log2_most;
        break;
    case MEMIF_INIT:
        bytes_put_u16(p + 2, m->init.version);
        bytes_put_u32(p + 4, m->init.id);
        p[8] = m->init.mode;
        put_text(p + 9, MEMIF_SECRET, m->init.secret);
        put_text(p + 33, MEMIF_NAME, m->init.name);
        break;
    case MEMIF_ADD_REGION:
        bytes_put_u16(p + 2, m->region.index);
        bytes_put_u64(p + 4, m->region.size);
        break;
    case MEMIF_ADD_RING:
        bytes_put_u16(p + 2, m->ring.flags);
        bytes_put_u16(p + 4, m->ring.index);
        bytes_put_u16(p + 6, m->ring.region);
        bytes_put_u32(p + 8, m->ring.offset);
        p[12] = m->ring.log2;
        bytes_put_u16(p + 13, m->ring.private_size);
        break;
    case MEMIF_CONNECT:
    case MEMIF_CONNECTED:
        put_text(p + 2, MEMIF_NAME, m->connect.name);
        break;
    case MEMIF_DISCONNECT:
        bytes_put_u32(p + 2, m->disconnect.code);
        put_text(p + 6, 96, m->disconnect.reason);
        break;
    case MEMIF_NONE:
    case MEMIF_ACK:
        break;
    }
}

int memif_decode(struct memif_message *ret, const uint8_t *p, size_t len)
{
    if (len != MEMIF_MESSAGE_SIZE || bytes_get_u16(p) == MEMIF_NONE || bytes_get_u16(p) > MEMIF_DISCONNECT)
        return -EPROTO;
    struct memif_message m = {.type = (enum memif_type)bytes_get_u16(p)};
    switch (m.type) {
    case MEMIF_HELLO:
        get_text(m.hello.name, p + 2, MEMIF_NAME);
        m.hello.version_least = bytes_get_u16(p + 34);
        m.hello.version_most = bytes_get_u16(p + 36);
        m.hello.region_most = bytes_get_u16(p + 38);
        m.hello.to_client_most = bytes_get_u16(p + 40);
        m.hello.to_server_most = bytes_get_u16(p + 42);
        m.hello.log2_most = p[44];
        break;
    case MEMIF_INIT:
        m.init.version = bytes_get_u16(p + 2);
        m.init.id = bytes_get_u32(p + 4);
        m.init.mode = p[8];
        get_text(m.init.secret, p + 9, MEMIF_SECRET);
        get_text(m.init.name, p + 33, MEMIF_NAME);
        break;
    case MEMIF_ADD_REGION:
        m.region.index = bytes_get_u16(p + 2);
        m.region.size = bytes_get_u64(p + 4);
        break;
    case MEMIF_ADD_RING:
        m.ring.flags = bytes_get_u16(p + 2);
        m.ring.index = bytes_get_u16(p + 4);
        m.ring.region = bytes_get_u16(p + 6);
        m.ring.offset = bytes_get_u32(p + 8);
        m.ring.log2 = p[12];
        m.ring.private_size = bytes_get_u16(p + 13);
        break;
    case MEMIF_CONNECT:
    case MEMIF_CONNECTED:
        get_text(m.connect.name, p + 2, MEMIF_NAME);
        break;
    case MEMIF_DISCONNECT:
        m.disconnect.code = bytes_get_u32(p + 2);
        get_text(m.disconnect.reason, p + 6, 96);
        break;
    case MEMIF_NONE:
    case MEMIF_ACK:
        break;
    }
    *ret = m;
    return 0;
}
