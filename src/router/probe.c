#include "router/probe.h"

#include "wire/checksum.h"
#include "wire/icmp.h"

#include <errno.h>

static void write_ip4(uint8_t *p, const struct probe_spec *s, uint32_t len)
{
    p[0] = 0x45;
    p[IP4_TOS] = s->traffic;
    bytes_put_be16(p + IP4_LEN, (uint16_t)len);
    bytes_put_be16(p + IP4_FRAG, 0x4000);
    p[IP4_TTL] = s->hops;
    p[IP4_PROTO] = IP_PROTO_ICMP;
    memcpy(p + IP4_SRC, s->from.a.b, 4);
    memcpy(p + IP4_DST, s->to.a.b, 4);
    bytes_put_be16(p + IP4_SUM, checksum_ip4(p, IP4_SIZE));
}

static void write_ip6(uint8_t *p, const struct probe_spec *s, uint32_t len)
{
    bytes_put_be32(p, 6u << 28 | (uint32_t)s->traffic << 20);
    bytes_put_be16(p + IP6_LEN, (uint16_t)(len - IP6_SIZE));
    p[IP6_NEXT] = IP_PROTO_ICMP6;
    p[IP6_HOPS] = s->hops;
    memcpy(p + IP6_SRC, s->from.a.b, 16);
    memcpy(p + IP6_DST, s->to.a.b, 16);
}

static void write_echo(uint8_t *p, const struct probe_set *set, const struct probe_spec *s, uint16_t sequence)
{
    bool v4 = s->to.family == IP_V4;
    uint32_t ip = v4 ? IP4_SIZE : IP6_SIZE, len = ip + ICMP_HEADER + s->size;
    memset(p, 0, len);
    if (v4)
        write_ip4(p, s, len);
    else
        write_ip6(p, s, len);
    uint8_t *icmp = p + ip;
    icmp[ICMP_TYPE] = v4 ? ICMP4_ECHO_REQUEST : ICMP6_ECHO_REQUEST;
    bytes_put_be16(icmp + ICMP_VALUE, set->identifier);
    bytes_put_be16(icmp + ICMP_VALUE + 2, sequence);
    for (uint32_t i = 0; i < s->size; i++)
        icmp[ICMP_HEADER + i] = (uint8_t)i;
    uint16_t sum = v4 ? checksum_ip4(icmp, ICMP_HEADER + s->size)
                      : checksum_ip6(s->from.a.b, s->to.a.b, IP_PROTO_ICMP6, icmp, ICMP_HEADER + s->size);
    bytes_put_be16(icmp + ICMP_SUM, sum);
}

int probe_send(struct probe_set *s, const struct probe_spec *spec, int64_t now)
{
    uint32_t len = (spec->to.family == IP_V4 ? IP4_SIZE : IP6_SIZE) + ICMP_HEADER + spec->size;
    if (len > s->pool->room || spec->from.family != spec->to.family)
        return -EINVAL;
    unsigned i = s->next % PROBE_MOST;
    for (unsigned tried = 0; s->probe[i].state != PROBE_FREE; tried++, i = (i + 1) % PROBE_MOST)
        if (tried == PROBE_MOST)
            return -ENOBUFS;
    struct rte_mbuf *m = pool_alloc(s->pool);
    if (!m)
        return -ENOBUFS;
    /* Of its low bits the index can be told; the others differ from those of the probe before it in this place. */
    uint16_t sequence = (uint16_t)(s->next - s->next % PROBE_MOST + i);
    s->next++;
    s->probe[i] =
        (struct probe){.state = PROBE_SENT, .sequence = sequence, .vrf = spec->vrf, .sent_ns = now, .to = spec->to};
    m->data_len = (uint16_t)len;
    m->pkt_len = len;
    write_echo(packet_at(m, 0), s, spec, sequence);
    forward_inject(s->forward, spec->vrf, m, now);
    return (int)i;
}

void probe_forget(struct probe_set *s, unsigned index)
{
    s->probe[index].state = PROBE_FREE;
}

/* The ICMP header behind the IP header at p: its offset. 0: this is none. */
static uint32_t find_icmp(const uint8_t *p, uint32_t there, uint8_t *ret_family)
{
    uint32_t at;
    if (there < IP4_SIZE)
        return 0;
    *ret_family = p[0] >> 4;
    if (*ret_family == IP_V4) {
        at = (p[0] & 15) * 4u;
        return at >= IP4_SIZE && p[IP4_PROTO] == IP_PROTO_ICMP && there >= at + ICMP_HEADER ? at : 0;
    }
    if (*ret_family != IP_V6 || there < IP6_SIZE + ICMP_HEADER)
        return 0;
    return p[IP6_NEXT] == IP_PROTO_ICMP6 ? IP6_SIZE : 0;
}

/* The probe whose echo header this is. */
static struct probe *whose(struct probe_set *s, uint32_t vrf, const uint8_t *icmp)
{
    uint16_t sequence = bytes_get_be16(icmp + ICMP_VALUE + 2);
    struct probe *p = &s->probe[sequence % PROBE_MOST];
    bool ours = bytes_get_be16(icmp + ICMP_VALUE) == s->identifier && p->state == PROBE_SENT &&
                p->sequence == sequence && p->vrf == vrf;
    return ours ? p : NULL;
}

static enum probe_answer meaning(uint8_t family, uint8_t type, uint8_t code)
{
    if (family == IP_V4)
        return type == ICMP4_TIME_EXCEEDED              ? PROBE_TIME_EXCEEDED
               : type == ICMP4_UNREACHABLE && code == 4 ? PROBE_TOO_BIG
               : type == ICMP4_UNREACHABLE              ? PROBE_UNREACHABLE
                                                        : PROBE_OTHER;
    return type == ICMP6_TIME_EXCEEDED ? PROBE_TIME_EXCEEDED
           : type == ICMP6_TOO_BIG     ? PROBE_TOO_BIG
           : type == ICMP6_UNREACHABLE ? PROBE_UNREACHABLE
                                       : PROBE_OTHER;
}

static void note(struct probe *p, enum probe_answer answer, const uint8_t *ip, const uint8_t *icmp, int64_t now)
{
    bool v4 = ip[0] >> 4 == IP_V4;
    p->state = PROBE_ANSWERED;
    p->answer = answer;
    p->answered_ns = now;
    p->from = (struct ip_addr){.family = v4 ? IP_V4 : IP_V6};
    memcpy(p->from.a.b, ip + (v4 ? IP4_SRC : IP6_SRC), v4 ? 4 : 16);
    p->hops_left = ip[v4 ? IP4_TTL : IP6_HOPS];
    p->code = icmp[ICMP_CODE];
    p->value = v4 ? bytes_get_be16(icmp + ICMP_VALUE + 2) : bytes_get_be32(icmp + ICMP_VALUE);
}

bool probe_take(struct probe_set *s, uint32_t vrf, struct rte_mbuf *m, int64_t now)
{
    const uint8_t *ip = packet_at(m, 0);
    uint32_t there = m->data_len;
    uint8_t family, quoted_family;
    uint32_t at = find_icmp(ip, there, &family);
    if (!at)
        return false;
    const uint8_t *icmp = ip + at;
    struct probe *p;
    if (icmp[ICMP_TYPE] == (family == IP_V4 ? ICMP4_ECHO_REPLY : ICMP6_ECHO_REPLY)) {
        if ((p = whose(s, vrf, icmp)))
            note(p, PROBE_REPLY, ip, icmp, now);
        return p;
    }
    if (family == IP_V6 && icmp[ICMP_TYPE] >= ICMP6_INFORMATIONAL)
        return false;
    /* An error: it quotes our request. */
    const uint8_t *quoted = icmp + ICMP_HEADER;
    uint32_t quoted_at = find_icmp(quoted, there - at - ICMP_HEADER, &quoted_family);
    if (!quoted_at || quoted_family != family ||
        quoted[quoted_at] != (family == IP_V4 ? ICMP4_ECHO_REQUEST : ICMP6_ECHO_REQUEST))
        return false;
    if ((p = whose(s, vrf, quoted + quoted_at)))
        note(p, meaning(family, icmp[ICMP_TYPE], icmp[ICMP_CODE]), ip, icmp, now);
    return p;
}
