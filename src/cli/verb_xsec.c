/* `meridian xsec …`: who belongs to the operator's encrypted VPNs. The CA's folder is cli/xsec_ca.h's. */
#include "base/hex.h"
#include "cli/verbs.h"
#include "cli/xsec_ca.h"
#include "os/file.h"
#include "router/identity.h"
#include "router/router_config.h"
#include "router/xsec_files.h"
#include "wire/ip_text.h"
#include "wire/route_target.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define OPTION_CA {"ca", "DIR", NULL, "the CA's folder"}

static const char *date(char to[32], int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || strftime(to, 32, "%Y-%m-%d %H:%MZ", &tm) == 0)
        return "no date";
    return to;
}

static int write_text(const char *path, enum xsec_file kind, const uint8_t *bytes, size_t len, struct error *err)
{
    struct buf text = {0};
    int rc = xsec_text_encode(&text, kind, bytes, len) ? error_set(err, ENOMEM, "not enough memory") : 0;
    if (rc == 0 && path)
        rc = file_write(path, text.data, text.len, 0644, err);
    else if (rc == 0)
        fwrite(text.data, 1, text.len, stdout);
    buf_done(&text);
    return rc;
}

/* --- ca init ----------------------------------------------------------------------------------------------------------- */

static int run_init(const struct cli_args *args, struct error *err)
{
    struct xsec_ca ca;
    char key[65];
    int rc = xsec_ca_init(cli_operand(args, 0), err);
    rc = rc ? rc : xsec_ca_open(&ca, cli_operand(args, 0), err);
    if (rc)
        return rc;
    hex_put(key, ed25519_public(ca.key), 32);
    printf("%s\nKeep %s on a medium that is connected only to enrol and revoke, and a copy in a safe.\n", key,
        cli_operand(args, 0));
    xsec_ca_close(&ca);
    return 0;
}

const struct cli_verb verb_xsec_ca_init = {
    .section = "Network",
    .name = "xsec ca init",
    .summary = "make the operator's CA, whose members' VPNs encrypt to each other",
    .operands = "DIR",
    .min_operands = 1,
    .max_operands = 1,
    .about = "Makes DIR with an Ed25519 key (0600) and prints its public half. Whoever holds this key can admit a "
             "router to\n"
             "every encrypted VPN, so it stays offline: routers never need it. A key that is there is never replaced.",
    .example = "meridian xsec ca init /media/usb/ca",
    .run = run_init,
};

/* --- request ----------------------------------------------------------------------------------------------------------- */

/* The router's key signs; it is made where there is none, as the router itself would. */
static int make_request(struct xsec_request *ret, const struct router_config *c, struct error *err)
{
    struct xsec_request q = {.pe = c->loopback, .made = time(NULL)};
    struct ed25519 *key = NULL;
    uint8_t seed[32];
    bool made;
    if (!xsec_name_good(c->name))
        return error_set(err, EINVAL,
            "name \"%s\": xSEC's names are at most %u letters, digits and . - _, beginning with a letter or digit",
            c->name, XSEC_NAME - 1);
    memcpy(q.name, c->name, strlen(c->name) + 1);
    int rc = identity_load(c->identity, seed, &made, err);
    if (rc == 0 && (ed25519_create(&key, seed) || xsec_request_sign(&q, key)))
        rc = error_set(err, EIO, "the request could not be signed");
    explicit_bzero(seed, sizeof seed);
    ed25519_free(key);
    if (rc == 0)
        *ret = q;
    return rc;
}

static int run_request(const struct cli_args *args, struct error *err)
{
    struct router_config c;
    struct xsec_request q;
    uint8_t bytes[XSEC_REQUEST_MOST];
    int rc = router_config_load(&c, cli_operand(args, 0), err);
    if (rc)
        return rc;
    rc = make_request(&q, &c, err);
    router_config_free(&c);
    return rc ? rc : write_text(cli_str(args, "out"), XSEC_FILE_REQUEST, bytes, xsec_request_encode(&q, bytes), err);
}

const struct cli_verb verb_xsec_request = {
    .section = "Network",
    .name = "xsec request",
    .summary = "ask to be enrolled, where the CA is somewhere else",
    .operands = "CONFIG",
    .min_operands = 1,
    .max_operands = 1,
    .about =
        "Prints a request with the router's name, loopback and public key, signed by its own key, which never leaves\n"
        "the router. Nothing in it is secret. `meridian xsec enrol` turns it into a kit.",
    .example = "meridian xsec request /etc/meridian/pe4.yaml --out pe4.request",
    .options =
        (const struct cli_option[]){
            {"out", "FILE", NULL, "write it there (default: stdout)"},
            {NULL},
        },
    .run = run_request,
};

/* --- enrol ------------------------------------------------------------------------------------------------------------- */

struct enrolment {
    struct xsec_request request;
    char kit[4096]; /* where it goes */
};

static int from_request(
    struct enrolment *e, const uint8_t *bytes, size_t len, enum xsec_file kind, const char *path, struct error *err)
{
    if (kind != XSEC_FILE_REQUEST)
        return error_set(err, EINVAL, "%s: this is a %s; enrol takes a request or a router's configuration", path,
            xsec_file_name(kind));
    if (xsec_request_decode(&e->request, bytes, len))
        return error_set(err, EINVAL, "%s: this request was cut or changed: ask for it again", path);
    snprintf(e->kit, sizeof e->kit, "%s.kit", e->request.name);
    return 0;
}

static int from_config(struct enrolment *e, const char *path, struct error *err)
{
    struct router_config c;
    int rc = router_config_load(&c, path, err);
    if (rc)
        return rc;
    if (!c.has_xsec)
        rc = error_set(err, EINVAL, "%s: it has no `xsec`, which says where kit and state are kept", path);
    rc = rc ? rc : make_request(&e->request, &c, err);
    if (rc == 0)
        snprintf(e->kit, sizeof e->kit, "%s", c.xsec.kit);
    router_config_free(&c);
    return rc;
}

static int who_asks(struct enrolment *e, const char *path, struct error *err)
{
    uint8_t bytes[XSEC_FILE_MOST];
    enum xsec_file kind;
    struct buf text = {0};
    size_t len;
    int rc = file_read(&text, path, 1 << 24, err);
    if (rc == 0 && xsec_text_decode(&kind, bytes, &len, buf_str(&text), text.len) == 0)
        rc = from_request(e, bytes, len, kind, path, err);
    else if (rc == 0 && strncmp(buf_str(&text), "meridian xsec ", 14) == 0)
        rc = error_set(err, EINVAL, "%s: this request was cut or changed: ask for it again", path);
    else if (rc == 0)
        rc = from_config(e, path, err);
    buf_done(&text);
    return rc;
}

static int read_vpns(uint8_t vpns[XSEC_VPNS_MOST][8], unsigned *ret_n, const char *text, struct error *err)
{
    char list[XSEC_VPNS_MOST * ROUTE_TARGET_TEXT], *save = NULL;
    unsigned n = 0;
    if (!text)
        return 0;
    snprintf(list, sizeof list, "%s", text);
    for (char *t = strtok_r(list, ",", &save); t; t = strtok_r(NULL, ",", &save)) {
        if (n == XSEC_VPNS_MOST || strlen(text) >= sizeof list)
            return error_set(err, EINVAL, "--vpns: at most %u; leave it away for every VPN", XSEC_VPNS_MOST), CLI_USAGE;
        int rc = route_target_parse(vpns[n++], t, err);
        if (rc)
            return error_prefix(err, CLI_USAGE, "--vpns");
    }
    if (!n)
        return error_set(err, EINVAL, "--vpns: which? Leave it away for every VPN"), CLI_USAGE;
    *ret_n = n;
    return 0;
}

static void say_enrolled(const struct xsec_certificate *c, const char *kit)
{
    char until[32], pe[IP_TEXT_SIZE], key[65];
    hex_put(key, c->key, 32);
    printf("%s (%s) is a member until %s, serial %" PRIu64 ".\nIts key: %s\nIts kit: %s\n"
           "Nothing is to be done at other sites; a running router takes the kit with SIGHUP.\n",
        c->name, ip6_print(pe, &c->pe), date(until, c->not_after), c->serial, key, kit);
}

static int run_enrol(const struct cli_args *args, struct error *err)
{
    uint8_t vpns[XSEC_VPNS_MOST][8], bytes[XSEC_KIT_MOST];
    struct xsec_ca_wish wish = {.vpns = vpns};
    struct enrolment e = {0};
    struct xsec_ca ca;
    struct xsec_kit kit;
    const char *dir;
    uint64_t days = 0;
    int rc = cli_need(args, "ca", &dir, err);
    rc = rc ? rc : cli_u64(args, "days", 1, 36500, &days, err);
    rc = rc ? rc : read_vpns(vpns, &wish.n_vpns, cli_str(args, "vpns"), err);
    rc = rc ? rc : xsec_ca_open(&ca, dir, err);
    if (rc)
        return rc;
    wish.days = (int64_t)days;
    rc = who_asks(&e, cli_operand(args, 0), err);
    rc = rc ? rc : xsec_ca_enrol(&ca, &e.request, &wish, time(NULL), &kit, err);
    xsec_ca_close(&ca);
    if (cli_str(args, "out"))
        snprintf(e.kit, sizeof e.kit, "%s", cli_str(args, "out"));
    rc = rc ? rc : write_text(e.kit, XSEC_FILE_KIT, bytes, xsec_kit_encode(&kit, bytes), err);
    if (rc == 0)
        say_enrolled(&kit.certificate, e.kit);
    return rc;
}

const struct cli_verb verb_xsec_enrol = {
    .section = "Network",
    .name = "xsec enrol",
    .summary = "make a router a member: one command for a new site, none at the others",
    .operands = "CONFIG|REQUEST",
    .min_operands = 1,
    .max_operands = 1,
    .about =
        "With the CA at hand, on the new router: takes name, loopback and key (made if there is none) from its\n"
        "configuration and writes the kit where that says. With the CA elsewhere: takes a request, writes NAME.kit.\n"
        "The kit holds the CA's public key, the router's certificate and the newest revocation list; nothing secret.\n"
        "The other sites learn of the new one by BGP, and it of them. The same router again: its certificate is "
        "renewed.",
    .example = "meridian xsec enrol /etc/meridian/pe4.yaml --ca /media/usb/ca\n"
               "meridian xsec enrol pe4.request --ca /media/usb/ca --vpns 65000:10,65000:20",
    .options =
        (const struct cli_option[]){
            OPTION_CA,
            {"days", "N", "365", "how long it is a member"},
            {"vpns", "TARGET,...", NULL, "route targets of the VPNs that it may serve (default: every VPN)"},
            {"out", "FILE", NULL, "the kit (default: as the configuration says, or NAME.kit here)"},
            {NULL},
        },
    .run = run_enrol,
};

/* --- revoke ------------------------------------------------------------------------------------------------------------ */

static int run_revoke(const struct cli_args *args, struct error *err)
{
    const char *dir, *who = cli_operand(args, 0), *out = cli_str(args, "out");
    struct xsec_ca ca;
    unsigned n;
    int rc = cli_need(args, "ca", &dir, err);
    rc = rc ? rc : xsec_ca_open(&ca, dir, err);
    if (rc)
        return rc;
    rc = xsec_ca_revoke(&ca, who, time(NULL), &n, err);
    if (rc == 0 && out)
        rc = write_text(out, XSEC_FILE_LIST, ca.list_bytes, ca.list_len, err);
    if (rc == 0)
        printf("%s is no member any more (%u certificate%s); list %" PRIu64 " has %u.\n"
               "Give %s%s to any one router (`xsec.revoked`, then SIGHUP): the others hear of it by BGP.\n",
            who, n, n == 1 ? "" : "s", ca.list.number, ca.list.n, out ? out : dir, out ? "" : "/revoked");
    xsec_ca_close(&ca);
    return rc;
}

const struct cli_verb verb_xsec_revoke = {
    .section = "Network",
    .name = "xsec revoke",
    .summary = "end a router's membership at once: a signed, numbered list",
    .operands = "NAME|SERIAL",
    .min_operands = 1,
    .max_operands = 1,
    .about =
        "Puts every certificate of that name (or the one of that serial number) on the CA's revocation list, which\n"
        "is in DIR/revoked and in kits from now on. Routers that have the list drop all keys with that router and\n"
        "carry the list in their own beacons. Certificates leave the list once they have expired by themselves.",
    .example = "meridian xsec revoke pe4 --ca /media/usb/ca --out revoked",
    .options =
        (const struct cli_option[]){
            OPTION_CA,
            {"out", "FILE", NULL, "write the list there too"},
            {NULL},
        },
    .run = run_revoke,
};
