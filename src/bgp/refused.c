/* What of a peer's routes was not taken, and what it was not told: counted, the last one in words. */
#include "bgp/inner.h"

const char *bgp_refusal_text(enum bgp_refusal r)
{
    static const char *const text[BGP_REFUSALS] = {
        [BGP_REFUSED_AS_LOOP] = "our AS is in its path",
        [BGP_REFUSED_REFLECTED] = "it began here, or was reflected here before",
        [BGP_REFUSED_FAULTY] = "malformed: treated as withdrawn",
        [BGP_REFUSED_OVERLAY] = "a segment and a gateway at once",
        [BGP_REFUSED_LIMIT] = "above the limit of prefixes",
        [BGP_REFUSED_PROVIDERS] = "attributes that customers may not set were thrown away",
        [BGP_UNTOLD_TOO_LONG] = "not told: too long for one message of this peer",
        [BGP_UNTOLD_SIX_HOP] = "not told: its IPv6 next hop needs RFC 8950, which this peer did not offer",
        [BGP_UNTOLD_SITE] = "not told: it is of this customer's own site",
    };
    return r < BGP_REFUSALS ? text[r] : "";
}

void bgp_refused(struct bgp_peer *p, enum bgp_refusal what, uint32_t family, const uint8_t *raw, size_t len)
{
    struct bgp_refused *r = &p->refused;
    r->count[what]++;
    r->last = what;
    r->route[0] = '\0';
    if (len)
        bgp_nlri_text(family, raw, len, r->route, sizeof r->route);
}

const struct bgp_refused *bgp_peer_refused(const struct bgp_speaker *s, uint16_t peer)
{
    return peer < BGP_PEERS_MOST && s->peers[peer] ? &s->peers[peer]->refused : NULL;
}
