#include "peering/gtsm.h"

#include "base/bytes.h"

#include <errno.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define EACH 11u /* instructions of one IPv6 peer; an IPv4 peer needs fewer */
#define NET  ((uint32_t)SKF_NET_OFF)

struct program {
    struct sock_filter *code;
    uint16_t n;
};

static void put(struct program *p, uint16_t op, uint32_t k, uint8_t jt, uint8_t jf)
{
    p->code[p->n++] = (struct sock_filter){op, jt, jf, k};
}

static void load_byte(struct program *p, unsigned offset)
{
    put(p, BPF_LD | BPF_B | BPF_ABS, NET + offset, 0, 0);
}

/* Four bytes at `offset` of the IP header must be these, else on to what is `otherwise` instructions behind. */
static void match_word(struct program *p, unsigned offset, const uint8_t word[4], uint8_t otherwise)
{
    put(p, BPF_LD | BPF_W | BPF_ABS, NET + offset, 0, 0);
    put(p, BPF_JMP | BPF_JEQ | BPF_K, bytes_get_be32(word), 0, otherwise);
}

static void must_be_near(struct program *p, unsigned offset)
{
    load_byte(p, offset);
    put(p, BPF_JMP | BPF_JEQ | BPF_K, 255, 1, 0);
    put(p, BPF_RET | BPF_K, 0, 0, 0);
}

static void must_be_near_and_end(struct program *p)
{
    must_be_near(p, IP6_HOPS);
    put(p, BPF_RET | BPF_K, UINT32_MAX, 0, 0);
}

static void put_peers(struct program *p, const struct ip_addr *peers, unsigned n, uint8_t family)
{
    for (unsigned i = 0; i < n; i++) {
        if (peers[i].family != family)
            continue;
        if (family == IP_V4) {
            match_word(p, IP4_SRC, peers[i].a.b, 3);
            must_be_near(p, IP4_TTL);
        } else {
            for (unsigned k = 0; k < 4; k++)
                match_word(p, IP6_SRC + 4 * k, peers[i].a.b + 4 * k, (uint8_t)(9 - 2 * k));
            must_be_near(p, IP6_HOPS);
        }
    }
    put(p, BPF_RET | BPF_K, UINT32_MAX, 0, 0);
}

int peering_gtsm_link(int listening, struct error *err)
{
    struct sock_filter code[8];
    struct program p = {.code = code};
    must_be_near_and_end(&p);
    struct sock_fprog program = {.len = p.n, .filter = p.code};
    int rc = setsockopt(listening, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) ? errno : 0;
    return rc ? error_set(err, rc, "no packet filter for GTSM: %s", strerror(rc)) : 0;
}

int peering_gtsm_filter(int listening, const struct ip_addr *peers, unsigned n, struct error *err)
{
    int none = 0;
    if (n == 0) {
        setsockopt(listening, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none); /* there may be none: all the same */
        return 0;
    }
    if (n > PEERING_GTSM_MOST)
        return error_set(err, E2BIG, "at most %u BGP peers can have GTSM", PEERING_GTSM_MOST);
    struct program p = {.code = calloc(n * EACH + 8, sizeof *p.code)};
    if (!p.code)
        return error_set(err, ENOMEM, "not enough memory for GTSM");
    load_byte(&p, 0);
    put(&p, BPF_ALU | BPF_RSH | BPF_K, 4, 0, 0);
    put(&p, BPF_JMP | BPF_JEQ | BPF_K, 4, 1, 0);
    uint16_t jump = p.n;
    put(&p, BPF_JMP | BPF_JA, 0, 0, 0);
    put_peers(&p, peers, n, IP_V4);
    p.code[jump].k = p.n - jump - 1u;
    put_peers(&p, peers, n, IP_V6);
    struct sock_fprog program = {.len = p.n, .filter = p.code};
    int rc = setsockopt(listening, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) ? errno : 0;
    free(p.code);
    return rc ? error_set(err, rc, "this kernel takes no packet filter for GTSM (%s): leave out gtsm", strerror(rc))
              : 0;
}
