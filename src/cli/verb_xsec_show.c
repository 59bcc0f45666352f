/* `meridian xsec show`: what a kit, a request or a revocation list says, and whether it holds. */
#include "base/hex.h"
#include "cli/common.h"
#include "cli/verbs.h"
#include "os/file.h"
#include "router/xsec_files.h"
#include "wire/ip_text.h"
#include "wire/route_target.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <yyjson.h>

/* One answer, printed as lines of words or as JSON. */
struct answer {
    yyjson_mut_doc *doc;
    yyjson_mut_val *root;
    bool json;
};

static void say(struct answer *a, const char *key, const char *words, const char *text)
{
    if (a->json)
        yyjson_mut_obj_add_strcpy(a->doc, a->root, key, text);
    else
        printf("%-16s %s\n", words, text);
}

static void say_number(struct answer *a, const char *key, const char *words, uint64_t v)
{
    if (a->json)
        yyjson_mut_obj_add_uint(a->doc, a->root, key, v);
    else
        printf("%-16s %" PRIu64 "\n", words, v);
}

static void say_key(struct answer *a, const char *key, const char *words, const uint8_t bytes[32])
{
    char hex[65];
    hex_put(hex, bytes, 32);
    say(a, key, words, hex);
}

static void say_address(struct answer *a, const struct ip6 *pe)
{
    char text[IP_TEXT_SIZE];
    say(a, "loopback", "loopback", ip6_print(text, pe));
}

static void say_time(struct answer *a, const char *key, const char *words, int64_t seconds)
{
    char text[32];
    time_t t = (time_t)seconds;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        strcpy(text, "no date");
    say(a, key, words, text);
}

static void say_vpns(struct answer *a, const struct xsec_certificate *c)
{
    char all[XSEC_VPNS_MOST * ROUTE_TARGET_TEXT] = "", text[ROUTE_TARGET_TEXT];
    yyjson_mut_val *list = a->json ? yyjson_mut_obj_add_arr(a->doc, a->root, "vpns") : NULL;
    for (unsigned i = 0; i < c->n_vpns; i++) {
        route_target_print(text, c->vpn[i]);
        if (a->json)
            yyjson_mut_arr_add_strcpy(a->doc, list, text);
        strcat(strcat(all, i ? " " : ""), text);
    }
    if (!a->json)
        say(a, "vpns", "VPNs", c->n_vpns ? all : "every one");
}

/* --- kit, request, list ------------------------------------------------------------------------------------------------ */

static void say_list(struct answer *a, const struct xsec_revocations *r)
{
    say_number(a, "list_number", "list number", r->number);
    say_time(a, "list_issued", "list issued", r->issued);
    yyjson_mut_val *list = a->json ? yyjson_mut_obj_add_arr(a->doc, a->root, "revoked") : NULL;
    for (unsigned i = 0; i < r->n; i++)
        if (a->json)
            yyjson_mut_arr_add_uint(a->doc, list, r->serial[i]);
        else
            printf("%-16s serial %" PRIu64 "\n", i ? "" : "revoked", r->serial[i]);
    if (!a->json && !r->n)
        printf("%-16s nobody\n", "revoked");
}

/* Everything but whether the router holds the key, which only the router knows. */
static const char *kit_state(const struct xsec_kit *k, const struct xsec_revocations *r, bool list, int64_t now)
{
    const struct xsec_certificate *c = &k->certificate;
    uint8_t bytes[XSEC_CERTIFICATE_MOST];
    size_t len = xsec_certificate_encode(c, bytes);
    if (ed25519_verify(k->ca, bytes, len - XSEC_SIGNATURE, c->signature))
        return "not signed by the CA in it";
    if (k->list_len && !list)
        return "its revocation list is not signed by the CA in it";
    if (list && xsec_revoked(r, c->serial))
        return "revoked";
    if (now + XSEC_SKEW_S < c->not_before)
        return "not valid yet";
    return now > c->not_after ? "expired" : "good";
}

static int show_kit(struct answer *a, const char *path, struct error *err)
{
    struct xsec_kit k;
    struct xsec_revocations r;
    int rc = xsec_kit_load(&k, path, err);
    if (rc)
        return rc;
    bool list = k.list_len && !xsec_revocations_read(&r, k.ca, k.list, k.list_len);
    say(a, "kind", "this is", "kit");
    say(a, "state", "state", kit_state(&k, &r, list, time(NULL)));
    say(a, "name", "name", k.certificate.name);
    say_address(a, &k.certificate.pe);
    say_key(a, "key", "key", k.certificate.key);
    say_number(a, "serial", "serial", k.certificate.serial);
    say_time(a, "not_before", "member from", k.certificate.not_before);
    say_time(a, "not_after", "member until", k.certificate.not_after);
    say_vpns(a, &k.certificate);
    say_key(a, "ca", "CA", k.ca);
    if (list)
        say_list(a, &r);
    return 0;
}

static int show_request(struct answer *a, const uint8_t *bytes, size_t len, const char *path, struct error *err)
{
    struct xsec_request q;
    if (xsec_request_decode(&q, bytes, len))
        return error_set(err, EINVAL, "%s: this request was cut or changed", path);
    say(a, "kind", "this is", "request");
    say(a, "state", "state", xsec_request_check(&q) ? "not signed by its key" : "good");
    say(a, "name", "name", q.name);
    say_address(a, &q.pe);
    say_key(a, "key", "key", q.key);
    say_time(a, "made", "made", q.made);
    return 0;
}

static int show_list(struct answer *a, const char *path, const char *kit_path, struct error *err)
{
    uint8_t bytes[XSEC_REVOCATIONS_MOST];
    struct xsec_revocations r;
    struct xsec_kit k;
    size_t len;
    int rc = xsec_list_load(bytes, &len, path, err);
    rc = rc || !kit_path ? rc : xsec_kit_load(&k, kit_path, err);
    if (rc || (rc = xsec_revocations_decode(&r, bytes, len)))
        return rc;
    say(a, "kind", "this is", "revocation list");
    say(a, "state", "state",
        !kit_path                                     ? "not checked: --kit says whose CA it should be of"
        : xsec_revocations_read(&r, k.ca, bytes, len) ? "not signed by the CA of that kit"
                                                      : "good");
    say_list(a, &r);
    return 0;
}

static int show(struct answer *a, const struct cli_args *args, struct error *err)
{
    const char *path = cli_operand(args, 0);
    uint8_t bytes[XSEC_FILE_MOST];
    enum xsec_file kind;
    struct buf text = {0};
    size_t len;
    int rc = file_read(&text, path, 1 << 16, err);
    if (rc == 0 && xsec_text_decode(&kind, bytes, &len, buf_str(&text), text.len))
        rc = error_set(err, EINVAL, "%s: this is no kit, request or revocation list of xSEC", path);
    buf_done(&text);
    if (rc)
        return rc;
    return kind == XSEC_FILE_KIT       ? show_kit(a, path, err)
           : kind == XSEC_FILE_REQUEST ? show_request(a, bytes, len, path, err)
                                       : show_list(a, path, cli_str(args, "kit"), err);
}

static int run_show(const struct cli_args *args, struct error *err)
{
    struct answer a = {.json = cli_flag(args, "json"), .doc = yyjson_mut_doc_new(NULL)};
    a.root = a.doc ? yyjson_mut_obj(a.doc) : NULL;
    if (!a.root)
        return error_set(err, ENOMEM, "not enough memory");
    yyjson_mut_doc_set_root(a.doc, a.root);
    int rc = show(&a, args, err);
    char *text = a.json && !rc ? yyjson_mut_write(a.doc, 0, NULL) : NULL;
    if (text)
        puts(text);
    free(text);
    yyjson_mut_doc_free(a.doc);
    return rc;
}

const struct cli_verb verb_xsec_show = {
    .section = "Network",
    .name = "xsec show",
    .summary = "say what a kit, request or revocation list is, and whether it holds",
    .operands = "FILE",
    .min_operands = 1,
    .max_operands = 1,
    .about =
        "Signatures and dates are checked against this machine's clock. A list is only known to be the operator's\n"
        "beside a kit.",
    .example = "meridian xsec show /etc/meridian/pe4.kit\nmeridian xsec show revoked --kit /etc/meridian/pe4.kit",
    .options =
        (const struct cli_option[]){
            {"kit", "FILE", NULL, "a kit with the CA that a list should be of"},
            CLI_OPTION_JSON,
            {NULL},
        },
    .run = run_show,
};
