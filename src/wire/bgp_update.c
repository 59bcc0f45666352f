#include "wire/bgp_update.h"

#include "base/bytes.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* One UPDATE being read. */
struct reading {
    struct bgp_update *u;
    const struct bgp_update_context *where;
    struct bgp_notification *error;
    bool seen[256];
    bool others; /* there are attributes beside MP_UNREACH_NLRI */
};

__attribute__((format(printf, 3, 4))) static void fault(struct reading *r, enum bgp_action action, const char *fmt, ...)
{
    r->u->faults++;
    if (action > r->u->action)
        r->u->action = action;
    if (r->u->why[0])
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->u->why, sizeof r->u->why, fmt, ap);
    va_end(ap);
}

static void reset(struct reading *r, uint8_t subcode, const uint8_t *data, size_t len, const char *why)
{
    if (r->u->action < BGP_RESET) {
        *r->error = (struct bgp_notification){
            .code = BGP_ERROR_UPDATE, .subcode = subcode, .len = (uint16_t)(len < 128 ? len : 128)};
        if (data && r->error->len)
            memcpy(r->error->data, data, r->error->len);
    }
    fault(r, BGP_RESET, "%s", why);
}

static bool negotiated(const struct reading *r, uint32_t family)
{
    for (int i = 0; i < r->where->n_families; i++)
        if (r->where->families[i] == family)
            return true;
    return false;
}

/* RFC 7606 5.3: routes that cannot be told apart cannot be withdrawn either. */
static void check_routes(struct reading *r, uint32_t family, const uint8_t *bytes, size_t len, const char *what)
{
    struct bgp_nlri n;
    size_t at = 0;
    int rc;
    while ((rc = bgp_nlri_next(family, false, bytes, len, &at, &n)) != 0) {
        if (rc == 1)
            continue;
        if (rc == -EBADMSG) {
            fault(r, BGP_ACCEPT, "%s: a route of impossible form was skipped", what);
            continue;
        }
        reset(r, BGP_UPDATE_NETWORK, bytes + at, len - at, what);
        return;
    }
}

/* --- MP_REACH and MP_UNREACH (RFC 4760) ------------------------------------------------------------------------------------ */

static bool next_hop_fits(uint32_t family, unsigned len)
{
    switch (family) {
    case BGP_VPNV4: /* RD and IPv4, or (RFC 8950) IPv6 with or without link-local */
        return len == 12 || len == 24 || len == 48;
    case BGP_VPNV6:
        return len == 24 || len == 48;
    case BGP_IPV6_UNICAST:
        return len == 16 || len == 32;
    case BGP_IPV4_UNICAST:
    case BGP_EVPN:
    case BGP_SR_POLICY_V4:
    case BGP_SR_POLICY_V6:
    case BGP_RTC:
        return len == 4 || len == 16 || len == 32;
    default:
        return true; /* a family that we did not ask for: ignored below */
    }
}

static void take_reach(struct reading *r, const struct bgp_attribute *a)
{
    struct bgp_update *u = r->u;
    if (a->len < 5 || a->len < 5u + a->value[3]) {
        reset(r, BGP_UPDATE_OPTIONAL, a->raw, a->raw_len, "MP_REACH_NLRI is shorter than its fields");
        return;
    }
    uint32_t family = (uint32_t)bytes_get_be16(a->value) << 16 | a->value[2];
    unsigned hop = a->value[3];
    if (!next_hop_fits(family, hop)) {
        reset(r, BGP_UPDATE_OPTIONAL, a->raw, a->raw_len, "MP_REACH_NLRI has a next hop of impossible length");
        return;
    }
    u->reach_family = family;
    u->next_hop = a->value + 4;
    u->next_hop_len = (uint8_t)hop;
    u->reach = a->value + 5 + hop; /* behind the reserved octet */
    u->reach_len = (uint16_t)(a->len - 5 - hop);
    if (negotiated(r, family))
        check_routes(r, family, u->reach, u->reach_len, "MP_REACH_NLRI");
}

static void take_unreach(struct reading *r, const struct bgp_attribute *a)
{
    if (a->len < 3) {
        reset(r, BGP_UPDATE_OPTIONAL, a->raw, a->raw_len, "MP_UNREACH_NLRI is shorter than its fields");
        return;
    }
    r->u->unreach_family = (uint32_t)bytes_get_be16(a->value) << 16 | a->value[2];
    r->u->unreach = a->value + 3;
    r->u->unreach_len = (uint16_t)(a->len - 3);
    if (negotiated(r, r->u->unreach_family))
        check_routes(r, r->u->unreach_family, r->u->unreach, r->u->unreach_len, "MP_UNREACH_NLRI");
}

static void take_mp(struct reading *r, const struct bgp_attribute *a)
{
    if ((a->flags & (BGP_FLAG_OPTIONAL | BGP_FLAG_TRANSITIVE)) != BGP_FLAG_OPTIONAL)
        fault(r, BGP_TREAT_AS_WITHDRAW, "MP_%sREACH_NLRI has the flags %#x", a->type == BGP_MP_REACH ? "" : "UN",
            a->flags);
    if (a->type == BGP_MP_REACH)
        take_reach(r, a);
    else
        take_unreach(r, a);
}

/* --- the other attributes ----------------------------------------------------------------------------------------------------- */

static void keep(struct reading *r, const struct bgp_attribute *a)
{
    if (r->u->n_attributes == BGP_ATTRIBUTES_MOST)
        fault(r, BGP_TREAT_AS_WITHDRAW, "more than %d attributes", BGP_ATTRIBUTES_MOST);
    else
        r->u->attributes[r->u->n_attributes++] = *a;
}

static void take_known(struct reading *r, const struct bgp_attribute *a, const struct bgp_attribute_rule *rule)
{
    if (rule->ibgp_only && !r->where->ibgp)
        return; /* RFC 4271 5.1.5, RFC 7606 7.9, 7.10: from outside it means nothing, well formed or not */
    if (r->where->as4 && (a->type == BGP_AS4_PATH || a->type == BGP_AS4_AGGREGATOR))
        return; /* RFC 6793 4.1: only for speakers of two-octet numbers */
    if ((a->flags & (BGP_FLAG_OPTIONAL | BGP_FLAG_TRANSITIVE)) != rule->flags)
        fault(r, BGP_TREAT_AS_WITHDRAW, "%s has the flags %#x (RFC 7606 3c)", rule->name, a->flags);
    else if (!rule->check(a->value, a->len, r->where))
        fault(r, rule->wrong, "%s of %u bytes is malformed (%s)", rule->name, a->len, rule->rfc);
    else
        keep(r, a);
}

static void take_unknown(struct reading *r, const struct bgp_attribute *a)
{
    if (!(a->flags & BGP_FLAG_OPTIONAL)) {
        reset(r, 2, a->raw, a->raw_len, "a well-known attribute that is not known");
        return;
    }
    if (a->flags & BGP_FLAG_TRANSITIVE)
        keep(r, a); /* handed on as it is; Partial is set by whoever stores it */
}

static void take_attribute(struct reading *r, const struct bgp_attribute *a)
{
    bool mp = a->type == BGP_MP_REACH || a->type == BGP_MP_UNREACH;
    r->others |= a->type != BGP_MP_UNREACH;
    if (r->seen[a->type]) {
        if (mp)
            reset(r, BGP_UPDATE_ATTRIBUTES, NULL, 0, "MP_REACH_NLRI or MP_UNREACH_NLRI twice (RFC 7606 3g)");
        else
            fault(r, BGP_ACCEPT, "attribute %u twice: the first is kept (RFC 7606 3g)", a->type);
        return;
    }
    r->seen[a->type] = true;
    const struct bgp_attribute_rule *rule = bgp_attribute_rule(a->type);
    if (mp)
        take_mp(r, a);
    else if (rule)
        take_known(r, a, rule);
    else
        take_unknown(r, a);
}

/* 1: one is in *ret; 0: the end; -1: what is left is no attribute (RFC 7606 4: overrun, or fewer than three octets). */
static int next_attribute(const uint8_t *bytes, size_t len, size_t *at, struct bgp_attribute *ret)
{
    size_t left = len - *at;
    if (left == 0)
        return 0;
    const uint8_t *p = bytes + *at;
    size_t head = left > 0 && p[0] & BGP_FLAG_EXTENDED ? 4 : 3;
    if (left < head)
        return -1;
    uint16_t n = head == 4 ? bytes_get_be16(p + 2) : p[2];
    if (left - head < n)
        return -1;
    *ret = (struct bgp_attribute){
        .flags = p[0], .type = p[1], .value = p + head, .len = n, .raw = p, .raw_len = (uint32_t)(head + n)};
    *at += head + n;
    return 1;
}

static void take_attributes(struct reading *r, const uint8_t *bytes, size_t len)
{
    struct bgp_attribute a;
    size_t at = 0;
    int rc;
    while ((rc = next_attribute(bytes, len, &at, &a)) == 1)
        take_attribute(r, &a);
    if (rc < 0) {
        r->others = true;
        fault(r, BGP_TREAT_AS_WITHDRAW, "an attribute runs over the end of the list (RFC 7606 4)");
    }
}

/* RFC 7606 5.2: attributes that are wrong, and no route with them: the routes may be what was lost. */
static void check_something_to_withdraw(struct reading *r)
{
    const struct bgp_update *u = r->u;
    if (u->action == BGP_TREAT_AS_WITHDRAW && r->others && u->announced_len == 0 && u->reach_len == 0)
        reset(r, BGP_UPDATE_ATTRIBUTES, NULL, 0,
            "attributes are wrong and there are no routes to withdraw (RFC 7606 5.2)");
}

/* Routes need ORIGIN and AS_PATH, inside an AS also LOCAL_PREF; those of the message's own field a NEXT_HOP (RFC 7606 3d). */
static void check_mandatory(struct reading *r)
{
    struct bgp_update *u = r->u;
    if (u->announced_len == 0 && u->reach_len == 0)
        return;
    static const struct {
        uint8_t type;
        const char *name;
    } must[] = {
        {BGP_ORIGIN, "ORIGIN"}, {BGP_AS_PATH, "AS_PATH"}, {BGP_LOCAL_PREF, "LOCAL_PREF"}, {BGP_NEXT_HOP, "NEXT_HOP"}};
    for (unsigned i = 0; i < 4; i++) {
        bool wanted = must[i].type == BGP_LOCAL_PREF ? r->where->ibgp
                      : must[i].type == BGP_NEXT_HOP ? u->announced_len > 0
                                                     : true;
        if (wanted && !r->seen[must[i].type])
            fault(r, BGP_TREAT_AS_WITHDRAW, "%s is missing (RFC 7606 3d)", must[i].name);
    }
}

enum bgp_action bgp_update_decode(struct bgp_update *ret, const uint8_t *body, size_t len,
    const struct bgp_update_context *where, struct bgp_notification *ret_error)
{
    struct reading r = {.u = ret, .where = where, .error = ret_error};
    memset(ret, 0, offsetof(struct bgp_update, attributes));
    ret->n_attributes = 0;
    ret->action = BGP_ACCEPT;
    ret->faults = 0;
    ret->why[0] = 0;
    unsigned withdrawn = len >= 4 ? bytes_get_be16(body) : 0;
    if (len < 4 || len - 4 < withdrawn || len - 4 - withdrawn < bytes_get_be16(body + 2 + withdrawn)) {
        reset(&r, BGP_UPDATE_ATTRIBUTES, NULL, 0, "the lengths in the UPDATE exceed it (RFC 7606 3a)");
        return ret->action;
    }
    unsigned attributes = bytes_get_be16(body + 2 + withdrawn);
    const uint8_t *list = body + 4 + withdrawn;
    ret->withdrawn = body + 2;
    ret->withdrawn_len = (uint16_t)withdrawn;
    ret->announced = list + attributes;
    ret->announced_len = (uint16_t)(len - 4 - withdrawn - attributes);
    take_attributes(&r, list, attributes);
    check_routes(&r, BGP_IPV4_UNICAST, ret->withdrawn, ret->withdrawn_len, "withdrawn routes");
    check_routes(&r, BGP_IPV4_UNICAST, ret->announced, ret->announced_len, "routes");
    check_mandatory(&r);
    check_something_to_withdraw(&r);
    return ret->action;
}

const struct bgp_attribute *bgp_attribute_find(const struct bgp_update *u, uint8_t type)
{
    for (int i = 0; i < u->n_attributes; i++)
        if (u->attributes[i].type == type)
            return &u->attributes[i];
    return NULL;
}
