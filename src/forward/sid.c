/* The steps are RFC 8986's, section 4.1 for End, 4.2 for End.X, with those of RFC 9800 section 4.1 (N01 to N09) before them for
 * SIDs of the NEXT-C-SID flavour:
 *
 *   N01  the argument behind our C-SID is not zero:
 *   N02    hop limit at its end: time exceeded
 *   N05    the argument moves up to the block, zeros follow; hop limit - 1; look the new address up (End) or leave (End.X)
 *   S02  an SRH with segments left 0, or none at all: go on with what is behind it
 *   S05  hop limit at its end: time exceeded
 *   S09  last entry or segments left do not fit: parameter problem, pointing to segments left
 *   S12  hop limit - 1, segments left - 1, the destination becomes the segment; PSP takes the SRH off when none is left
 *   S15  look the new address up (End) or leave (End.X)
 *
 * What is behind the last segment (section 4.1.1) is an inner IPv6 packet (flavour USD), something for this router itself
 * (ICMPv6, and probes over UDP), or an error. */
#include "forward/sid.h"
#include "forward/leave.h"
#include "forward/local.h"
#include "forward/report.h"
#include "forward/vrf.h"
#include "wire/ip_text.h"
#include "wire/srh.h"

#include <errno.h>

/* --- running --------------------------------------------------------------------------------------------------- */

static enum sid_step hop_limit_over(struct forward *f, struct walk *w)
{
    report_hop_limit(f, w);
    walk_drop(f, w, LOSS_HOP_LIMIT, w->meta->in_port);
    return SID_GONE;
}

static enum sid_step problem(struct forward *f, struct walk *w, unsigned code, uint32_t at)
{
    report_problem(f, w, code, at);
    walk_drop(f, w, LOSS_MALFORMED, w->meta->in_port);
    return SID_GONE;
}

static enum sid_step looked_at(const struct hop *h)
{
    return h->behaviour == SID_END_X || h->behaviour == SID_END_X_NEXT_CSID ? SID_LEAVE : SID_LOOK_UP;
}

/* USD: the inner IPv6 packet goes its own way through the underlay (End), or over the adjacency (End.X). */
static enum sid_step decapsulate_underlay(struct forward *f, struct walk *w, const struct hop *h)
{
    if (w->rx || h->behaviour == SID_END_X || h->behaviour == SID_END_X_NEXT_CSID) {
        walk_drop(f, w, LOSS_WRONG_PATH, w->meta->in_port);
        return SID_GONE;
    }
    packet_pull(w->m, w->at);
    core_inject(f, w->m, false, w->now);
    return SID_GONE;
}

static enum sid_step upper_layer(struct forward *f, struct walk *w, const struct hop *h)
{
    if (w->proto == IP_PROTO_IPV6 && h->flavours & SID_USD)
        return decapsulate_underlay(f, w, h);
    if (!w->rx && (w->proto == IP_PROTO_ICMP6 || w->proto == IP_PROTO_UDP)) {
        local_punt(f, f->vrfs[0], w->m, ETHER_SIZE, w->now);
        return SID_GONE;
    }
    return problem(f, w, 4, w->next_at); /* SR upper-layer header error */
}

/* Takes the SRH off; what is in front of it moves up to its end. */
static void srh_remove(struct walk *w, uint16_t at, const struct srh *s)
{
    uint8_t *frame = w->ip - ETHER_SIZE;
    w->ip[w->next_at] = s->next;
    memmove(frame + s->size, frame, ETHER_SIZE + (size_t)at);
    packet_pull(w->m, s->size);
    w->ip += s->size;
    w->there -= s->size;
    w->size -= s->size;
    bytes_put_be16(w->ip + IP6_LEN, (uint16_t)(w->size - IP6_SIZE));
}

static enum sid_step next_segment(struct forward *f, struct walk *w, const struct hop *h, const struct srh *s)
{
    uint8_t *srh = w->ip + w->at;
    unsigned left = s->left - 1u;
    if (w->ip[IP6_HOPS] <= 1)
        return hop_limit_over(f, w);
    w->ip[IP6_HOPS]--;
    w->hop_counted = true;
    srh[SRH_LEFT] = (uint8_t)left;
    const uint8_t *segment = srh + SRH_FIXED + 16 * (size_t)left;
    w->da = (struct prefix_key){bytes_get_be64(segment), bytes_get_be64(segment + 8)};
    bytes_put_be64(w->ip + IP6_DST, w->da.hi);
    bytes_put_be64(w->ip + IP6_DST + 8, w->da.lo);
    if (left == 0 && h->flavours & SID_PSP) {
        srh_remove(w, w->at, s);
        w->proto = s->next;
    }
    return looked_at(h);
}

/* What csid_shift of wire/srh.h does to bytes, to an address that is at hand in two words: the argument behind the block and
 * our C-SID, 48 to 80 bits, moves up to the block. */
static inline struct prefix_key csid_moved(unsigned block_bits, unsigned csid_bits, struct prefix_key da)
{
    uint64_t block = ~0ull << (64 - block_bits);
    return (struct prefix_key){
        (da.hi & block) | ((da.hi << csid_bits | da.lo >> (64 - csid_bits)) & ~block), da.lo << csid_bits};
}

static inline bool csid_argument(unsigned block_bits, unsigned csid_bits, struct prefix_key da)
{
    struct prefix_key moved = csid_moved(block_bits, csid_bits, da);
    return (moved.hi & ~(~0ull << (64 - block_bits))) | moved.lo;
}

static enum sid_step endpoint(struct forward *f, struct walk *w, const struct hop *h)
{
    struct srh s;
    if (h->csid_bits && csid_argument(f->block_bits, h->csid_bits, w->da)) { /* N01 */
        if (forward_unlikely(w->ip[IP6_HOPS] <= 1))
            return hop_limit_over(f, w);
        w->da = csid_moved(f->block_bits, h->csid_bits, w->da);
        bytes_put_be64(w->ip + IP6_DST, w->da.hi);
        bytes_put_be64(w->ip + IP6_DST + 8, w->da.lo);
        w->ip[IP6_HOPS]--;
        w->hop_counted = true;
        return looked_at(h);
    }
    if (w->proto != IP_PROTO_ROUTING)
        return upper_layer(f, w, h);
    int rc = srh_parse(&s, w->ip + w->at, w->there - w->at);
    if (rc == -ERANGE)
        return problem(f, w, 0, w->at + SRH_LEFT);
    if (rc == -EPROTONOSUPPORT && w->ip[w->at + SRH_LEFT])
        return problem(f, w, 0, w->at + SRH_ROUTING_TYPE); /* RFC 8200 section 4.4 */
    if (rc || s.size > w->size - w->at) {
        walk_drop(f, w, LOSS_MALFORMED, w->meta->in_port);
        return SID_GONE;
    }
    if (s.left)
        return next_segment(f, w, h, &s);
    w->next_at = (uint16_t)(w->at + SRH_NEXT);
    w->at = (uint16_t)(w->at + s.size);
    w->proto = s.next;
    return upper_layer(f, w, h);
}

/* What of the outer headers is left before the inner packet: End.DT* S02 (segments left must be 0). False: dropped. */
static bool skip_srh(struct forward *f, struct walk *w)
{
    struct srh s;
    if (w->proto != IP_PROTO_ROUTING)
        return true;
    int rc = srh_parse(&s, w->ip + w->at, w->there - w->at);
    if (rc == -ERANGE || (!rc && s.left)) {
        problem(f, w, 0, w->at + SRH_LEFT);
        return false;
    }
    if (rc || s.size > w->size - w->at) {
        walk_drop(f, w, LOSS_MALFORMED, w->meta->in_port);
        return false;
    }
    w->next_at = (uint16_t)(w->at + SRH_NEXT);
    w->at = (uint16_t)(w->at + s.size);
    w->proto = s.next;
    return true;
}

enum sid_step sid_run(struct forward *f, struct walk *w, const struct hop *h)
{
    if (!h->vrf)
        return endpoint(f, w, h);
    if (skip_srh(f, w))
        decap_run(f, w, h);
    return SID_GONE;
}

/* --- the table --------------------------------------------------------------------------------------------------- */

static bool is_esp(unsigned b)
{
    return b == SID_END_ESP_DT46 || b == SID_END_ESP_DT46_NEXT_CSID;
}

static bool is_dt(unsigned b)
{
    return is_esp(b) || (b >= SID_END_DT6 && b <= SID_END_DT46) ||
           (b >= SID_END_DT6_NEXT_CSID && b <= SID_END_DT46_NEXT_CSID);
}

static bool is_csid(unsigned b)
{
    return (b & 0x7fff) >= SID_END_NEXT_CSID; /* private ones too */
}

static bool is_known(unsigned b)
{
    return b == SID_END || b == SID_END_X || b == SID_END_NEXT_CSID || b == SID_END_X_NEXT_CSID || is_dt(b);
}

static int check(const struct forward *f, const struct forward_sid *s, struct error *err)
{
    char text[IP_TEXT_SIZE];
    const char *sid = ip_prefix_print(text, &s->sid);
    unsigned behind = s->sid.len - f->block_bits;
    if (!is_known(s->behaviour))
        return error_set(err, EINVAL, "SID %s: behaviour %d is unknown here", sid, (int)s->behaviour);
    if (s->sid.family != IP_V6 || s->sid.len > 128 || s->sid.len == 0)
        return error_set(err, EINVAL, "SID %s is no IPv6 prefix", sid);
    if (is_csid(s->behaviour) && (!f->block_bits || (behind != 16 && behind != 32)))
        return error_set(
            err, EINVAL, "SID %s: a NEXT-C-SID has 16 or 32 bits behind the block of %u", sid, f->block_bits);
    if (is_dt(s->behaviour) && (s->vrf == 0 || !vrf_find(f, s->vrf)))
        return error_set(err, ENOENT, "SID %s: there is no VRF %u for it", sid, s->vrf);
    bool x = s->behaviour == SID_END_X || s->behaviour == SID_END_X_NEXT_CSID;
    if (x &&
        (s->port >= LANE_PORTS_MOST || !f->ports[s->port].port || f->ports[s->port].port->config.kind != PORT_CORE))
        return error_set(err, ENOENT, "SID %s: port %u is no core port", sid, s->port);
    if (s->flavours & ~(SID_PSP | SID_USD) || (s->flavours && is_dt(s->behaviour)))
        return error_set(err, EINVAL, "SID %s: only End and End.X have the flavours PSP and USD", sid);
    return 0;
}

int forward_sid_set(struct forward *f, const struct forward_sid *s, struct error *err)
{
    int rc = check(f, s, err);
    if (rc)
        return rc;
    struct hop like = {
        .kind = HOP_SID,
        .behaviour = (uint16_t)s->behaviour,
        .flavours = s->flavours,
        .csid_bits = is_csid(s->behaviour) ? (uint8_t)(s->sid.len - f->block_bits) : 0,
    };
    if (is_dt(s->behaviour))
        like.vrf = vrf_find(f, s->vrf);
    if (s->behaviour == SID_END_X || s->behaviour == SID_END_X_NEXT_CSID)
        like.port = s->port;
    return vrf_put(f, f->vrfs[0], &s->sid, &like, err);
}

const char *sid_behaviour_name(unsigned behaviour)
{
    switch (behaviour) {
    case SID_END:
        return "End";
    case SID_END_X:
        return "End.X";
    case SID_END_DT6:
        return "End.DT6";
    case SID_END_DT4:
        return "End.DT4";
    case SID_END_DT46:
        return "End.DT46";
    case SID_END_NEXT_CSID:
        return "uN";
    case SID_END_X_NEXT_CSID:
        return "uA";
    case SID_END_DT6_NEXT_CSID:
        return "uDT6";
    case SID_END_DT4_NEXT_CSID:
        return "uDT4";
    case SID_END_DT46_NEXT_CSID:
        return "uDT46";
    case SID_END_ESP_DT46:
        return "End.ESP.DT46";
    case SID_END_ESP_DT46_NEXT_CSID:
        return "uESP.DT46";
    default:
        return "?";
    }
}

int forward_sid_del(struct forward *f, const struct ip_prefix *sid)
{
    return vrf_remove(f, f->vrfs[0], sid, true);
}

/* --- for lanes ---------------------------------------------------------------------------------------------------- */

static const struct hop *hop_of(struct forward *f, const struct ip6 *sid)
{
    uint32_t index = poptrie_find6(&f->vrfs[0]->v6, sid->b);
    return index == HOP_NONE ? NULL : &f->hops.hops[index];
}

int sid_resolve(struct forward *f, const struct ip6 *sids, unsigned n, unsigned at, struct lane_hop *ret)
{
    for (unsigned used = 1; at < n && used <= SID_ROUNDS; at++, used++) {
        const struct hop *h = hop_of(f, &sids[at]);
        if (!h || h->kind != HOP_SID)
            return -ENOENT;
        if (h->vrf) { /* only as the last one */
            if (at + 1 != n)
                return -ENOENT;
            *ret = (struct lane_hop){.out_port = LANE_OUT_LOCAL, .vrf = h->vrf->id, .sids_used = used};
            return 0;
        }
        if (at + 1 == n)
            return -ENOENT; /* a lane ends in a VRF */
        if (h->behaviour == SID_END_X || h->behaviour == SID_END_X_NEXT_CSID) {
            *ret = (struct lane_hop){.out_port = h->port, .sids_used = used};
            return 0;
        }
        const struct hop *next = hop_of(f, &sids[at + 1]); /* End: wherever the next SID is */
        if (next && next->kind == ROUTE_ADJACENT) {
            *ret = (struct lane_hop){.out_port = next->port, .sids_used = used};
            return 0;
        }
    }
    return -ENOENT;
}
