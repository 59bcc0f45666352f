#include "router/ctl_keys.h"

#include "router/router_keys.h"
#include "wire/ip_text.h"

#include <stdlib.h>
#include <time.h>

static void put_time(yyjson_mut_doc *doc, yyjson_mut_val *o, const char *key, int64_t seconds)
{
    char text[32];
    time_t t = (time_t)seconds;
    struct tm tm;
    if (seconds && gmtime_r(&t, &tm) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
        yyjson_mut_obj_add_strcpy(doc, o, key, text);
}

static void put_ip6(yyjson_mut_doc *doc, yyjson_mut_val *o, const char *key, const struct ip6 *a)
{
    char text[IP_TEXT_SIZE];
    yyjson_mut_obj_add_strcpy(doc, o, key, ip6_print(text, a));
}

static void put_own(const struct router *r, const struct keys *k, yyjson_mut_doc *doc, yyjson_mut_val *list)
{
    struct keys_view v = keys_view(k);
    yyjson_mut_val *o = yyjson_mut_arr_add_obj(doc, list), *refused;
    yyjson_mut_obj_add_strcpy(doc, o, "name", v.name[0] ? v.name : r->config.name);
    yyjson_mut_obj_add_bool(doc, o, "member", !keys_why(k)[0] && !v.counters.revoked);
    if (keys_why(k)[0])
        yyjson_mut_obj_add_strcpy(doc, o, "why", keys_why(k));
    yyjson_mut_obj_add_bool(doc, o, "revoked", v.counters.revoked);
    put_time(doc, o, "until", v.member_until);
    yyjson_mut_obj_add_uint(doc, o, "generation", v.generation);
    yyjson_mut_obj_add_uint(doc, o, "renewals", v.counters.generations);
    yyjson_mut_obj_add_uint(doc, o, "vpns", v.counters.vpns);
    yyjson_mut_obj_add_uint(doc, o, "peers", v.counters.peers);
    yyjson_mut_obj_add_uint(doc, o, "pairs", v.counters.pairs);
    yyjson_mut_obj_add_uint(doc, o, "list", v.counters.list_number);
    yyjson_mut_obj_add_uint(doc, o, "beacons", v.beacons);
    yyjson_mut_obj_add_uint(doc, o, "dropped", v.dropped + v.counters.crowded);
    refused = yyjson_mut_obj_add_obj(doc, o, "refused");
    for (int i = XSEC_GOOD + 1; i < XSEC_VERDICTS; i++)
        if (v.counters.verdicts[i])
            yyjson_mut_obj_add_uint(doc, refused, xsec_verdict_name((enum xsec_verdict)i), v.counters.verdicts[i]);
}

static void put_vrf(const struct router *r, yyjson_mut_doc *doc, yyjson_mut_val *o, uint32_t vrf)
{
    for (unsigned i = 0; i < r->config.n_vrfs; i++)
        if (r->config.vrfs[i].id == vrf)
            yyjson_mut_obj_add_strcpy(doc, o, "vrf", r->config.vrfs[i].name);
}

static void put_peer(const struct router *r, const struct keys *k, const struct xsec_peer_view *p, yyjson_mut_doc *doc,
    yyjson_mut_val *list)
{
    yyjson_mut_val *o = yyjson_mut_arr_add_obj(doc, list);
    put_vrf(r, doc, o, keys_vrf(k, p->vpn));
    yyjson_mut_obj_add_strcpy(doc, o, "name", p->name);
    put_ip6(doc, o, "peer", &p->peer);
    put_ip6(doc, o, "sid", &p->service_sid);
    yyjson_mut_obj_add_uint(doc, o, "serial", p->serial);
    yyjson_mut_obj_add_uint(doc, o, "generation", p->generation);
    yyjson_mut_obj_add_bool(doc, o, "encrypts", p->our_generation != 0);
    put_time(doc, o, "until", p->not_after);
}

void ctl_keys_show(const struct router *r, yyjson_mut_doc *doc, yyjson_mut_val *list)
{
    const struct keys *k = router_keys_view(r->keys);
    if (!k)
        return;
    put_own(r, k, doc, list);
    unsigned n = keys_peers(k, NULL, 0);
    struct xsec_peer_view *v = calloc(n + 1, sizeof(*v));
    if (v)
        keys_peers(k, v, n);
    for (unsigned i = 0; v && i < n; i++)
        put_peer(r, k, &v[i], doc, list);
    free(v);
}
