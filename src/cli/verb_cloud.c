/* The operator's verbs: invite, list, revoke, issuer. They change files; a running cloud notices within a second. */
#include "cli/common.h"
#include "cli/verbs.h"
#include "cloud/authority.h"
#include "cloud/registry.h"
#include "cloud/supervisor.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>
#include <yyjson.h>

#define OPTION_DIR {"dir", "DIR", "/var/lib/meridian/cloud", "the cloud's folder"}

static int hospitals_of(char to[4096], const struct cli_args *args, struct error *err)
{
    const char *dir = cli_str(args, "dir");
    if (snprintf(to, 4096, "%s/hospitals", dir) >= 4096)
        return error_set(err, ENAMETOOLONG, "%s: path too long", dir);
    return 0;
}

static const char *date(char to[32], int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm tm;
    if (!seconds)
        return "-";
    gmtime_r(&t, &tm);
    strftime(to, 32, "%Y-%m-%d %H:%MZ", &tm);
    return to;
}

/* --- invite --- */

static int root_fingerprint(char to[PKI_FINGERPRINT], const char *dir, struct error *err)
{
    struct authority a;
    int rc = authority_load(&a, dir, false, err);
    if (rc)
        return rc;
    pki_fingerprint(to, a.root);
    authority_done(&a);
    return 0;
}

static int write_kit(const char *path, const struct cloud_file *cloud, const char *root, const struct hospital *h,
    const char *token, struct error *err)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    size_t len = 0;
    char *text = NULL;
    if (doc) {
        yyjson_mut_val *o = yyjson_mut_obj(doc);
        yyjson_mut_doc_set_root(doc, o);
        yyjson_mut_obj_add_int(doc, o, "meridian_kit", 1);
        yyjson_mut_obj_add_str(doc, o, "address", cloud->address);
        yyjson_mut_obj_add_str(doc, o, "root", root);
        yyjson_mut_obj_add_str(doc, o, "enrol", cloud->enrol);
        yyjson_mut_obj_add_str(doc, o, "sni", h->id);
        yyjson_mut_obj_add_str(doc, o, "token", token);
        yyjson_mut_obj_add_int(doc, o, "expires", h->token_until);
        text = yyjson_mut_write(doc, YYJSON_WRITE_PRETTY, &len);
    }
    int rc = text ? file_write(path, text, len, 0600, err) : error_set(err, ENOMEM, "out of memory");
    if (text)
        explicit_bzero(text, len);
    free(text);
    yyjson_mut_doc_free(doc);
    return rc;
}

/* The address that goes into kits: given now, or the last one given. */
static int choose_address(struct cloud_file *f, const struct cli_args *args, struct error *err)
{
    const char *address = cli_str(args, "address"), *dir = cli_str(args, "dir"), *colon;
    if (!address && !f->address[0])
        return error_set(err, EINVAL, "--address HOST:PORT is needed: where the hospital reaches this cloud"),
               CLI_USAGE;
    if (!address)
        return 0;
    colon = strrchr(address, ':');
    if (!colon || colon == address || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
        strlen(address) >= sizeof(f->address))
        return error_set(err, EINVAL, "--address \"%.100s\": write HOST:PORT, e.g. cloud.example.org:7443", address),
               CLI_USAGE;
    strcpy(f->address, address);
    return cloud_file_save(f, dir, err);
}

static int run_invite(const struct cli_args *args, struct error *err)
{
    const char *dir = cli_str(args, "dir"), *name = cli_operand(args, 0), *out = cli_str(args, "out");
    char hospitals[4096], kit[160], root[PKI_FINGERPRINT], token[REGISTRY_MAX_TOKEN], until[32];
    struct cloud_file cloud;
    struct hospital h;
    uint64_t hours = 0;
    int rc = cli_u64(args, "hours", 1, 24 * 365, &hours, err);
    rc = rc ? rc : hospitals_of(hospitals, args, err);
    rc = rc ? rc : cloud_file_ensure(&cloud, dir, err);
    rc = rc ? rc : choose_address(&cloud, args, err);
    rc = rc ? rc : root_fingerprint(root, dir, err);
    rc = rc ? rc : registry_invite(&h, token, hospitals, name, (int64_t)hours * 3600, err);
    if (rc)
        return rc;
    snprintf(kit, sizeof(kit), "%s.kit", name);
    rc = write_kit(out ? out : kit, &cloud, root, &h, token, err);
    explicit_bzero(token, sizeof(token));
    if (!rc)
        printf("%s: give this file to %s over a way that others cannot read; it admits one edge, until %s.\n"
               "There: meridian edge join %s\n",
            out ? out : kit, name, date(until, h.token_until), out ? out : kit);
    return rc;
}

static const struct cli_option invite_options[] = {
    OPTION_DIR,
    {"address", "HOST:PORT", NULL, "where the hospital reaches this cloud (default: as in the last invitation)"},
    {"hours", "N", "72", "how long the invitation is good"},
    {"out", "FILE", NULL, "the start-up kit (default: NAME.kit here)"},
    {NULL},
};

const struct cli_verb verb_cloud_invite = {
    .section = "Cloud",
    .name = "cloud invite",
    .summary = "admit a hospital: write its start-up kit",
    .operands = "NAME",
    .min_operands = 1,
    .max_operands = 1,
    .about =
        "The kit holds the address, the fingerprint of this cloud's root certificate, an opaque name and a one-time\n"
        "token, of which only the hash is kept here; no private key. The hospital's own name never goes on the wire.\n"
        "A hospital that was revoked can be invited again: it gets a new identity and keeps its store.",
    .example = "meridian cloud invite hospital-a --address cloud.example.org:7443",
    .options = invite_options,
    .run = run_invite,
};

/* --- list --- */

struct running {
    yyjson_doc *doc;
    yyjson_val *processes; /* NULL: nothing runs */
};

static struct running read_status(const char *dir)
{
    char path[4096];
    struct buf text = {0};
    struct running r = {0};
    snprintf(path, sizeof(path), "%.4000s/running.lock", dir);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    bool runs = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB);
    if (fd >= 0)
        close(fd);
    snprintf(path, sizeof(path), "%.4000s/status.json", dir);
    if (runs && !file_read(&text, path, 1 << 20, NULL)) {
        r.doc = yyjson_read((const char *)text.data, text.len, 0);
        r.processes = yyjson_obj_get(yyjson_doc_get_root(r.doc), "processes");
    }
    buf_done(&text);
    return r;
}

static yyjson_val *process_of(const struct running *r, const char *id)
{
    size_t i, n;
    yyjson_val *p;
    yyjson_arr_foreach(r->processes, i, n, p) if (yyjson_equals_str(yyjson_obj_get(p, "id"), id)) return p;
    return NULL;
}

static const char *worker_text(char to[48], const struct running *r, yyjson_val *p, enum hospital_status status)
{
    if (!r->processes)
        return "cloud not running";
    if (status != HOSPITAL_JOINED)
        return "-";
    if (!yyjson_get_int(yyjson_obj_get(p, "pid")))
        return "restarting";
    snprintf(to, 48, "%s, process %d", yyjson_get_bool(yyjson_obj_get(p, "ready")) ? "ready" : "starting",
        yyjson_get_int(yyjson_obj_get(p, "pid")));
    return to;
}

static void print_row(const struct hospital *h, const struct running *r)
{
    char until[32], worker[48];
    yyjson_val *p = process_of(r, h->id);
    int64_t when = h->status == HOSPITAL_INVITED ? h->token_until : h->certificate_until;
    bool late = h->status == HOSPITAL_INVITED && time(NULL) > h->token_until;
    printf("%-24s %-8s %-18s %-24s %5d %8d\n", h->name, late ? "expired" : hospital_status_name(h->status),
        date(until, when), worker_text(worker, r, p, h->status), yyjson_get_int(yyjson_obj_get(p, "links")),
        yyjson_get_int(yyjson_obj_get(p, "restarts")));
}

static void print_json(const struct hospital *h, const struct running *r, bool last)
{
    yyjson_val *p = process_of(r, h->id);
    printf("  {\"name\":\"%s\",\"id\":\"%s\",\"status\":\"%s\",\"token_until\":%lld,\"certificate_until\":%lld,"
           "\"certificate\":\"%s\",\"pid\":%d,\"ready\":%s,\"links\":%d,\"accepted\":%lld,\"refused\":%d,\"restarts\":%"
           "d}%s\n",
        h->name, h->id, hospital_status_name(h->status), (long long)h->token_until, (long long)h->certificate_until,
        h->certificate, yyjson_get_int(yyjson_obj_get(p, "pid")),
        yyjson_get_bool(yyjson_obj_get(p, "ready")) ? "true" : "false", yyjson_get_int(yyjson_obj_get(p, "links")),
        (long long)yyjson_get_sint(yyjson_obj_get(p, "accepted")), yyjson_get_int(yyjson_obj_get(p, "refused")),
        yyjson_get_int(yyjson_obj_get(p, "restarts")), last ? "" : ",");
}

static int run_list(const struct cli_args *args, struct error *err)
{
    const char *dir = cli_str(args, "dir");
    char hospitals[4096];
    struct cloud_file cloud;
    struct hospital *all;
    size_t n;
    int rc = hospitals_of(hospitals, args, err);
    rc = rc ? rc : cloud_file_load(&cloud, dir, err);
    rc = rc ? rc : registry_list(&all, &n, hospitals, err);
    if (rc)
        return rc;
    struct running r = read_status(dir);
    bool json = cli_flag(args, "json");
    if (json)
        printf("[\n");
    else if (n)
        printf("%-24s %-8s %-18s %-24s %5s %8s\n", "HOSPITAL", "STATUS", "GOOD UNTIL", "WORKER", "LINKS", "RESTARTS");
    else
        printf("no hospital yet; meridian cloud invite NAME admits one\n");
    for (size_t i = 0; i < n; i++) {
        if (json)
            print_json(&all[i], &r, i + 1 == n);
        else
            print_row(&all[i], &r);
    }
    if (json)
        printf("]\n");
    yyjson_doc_free(r.doc);
    free(all);
    return 0;
}

static const struct cli_option list_options[] = {
    OPTION_DIR,
    CLI_OPTION_JSON,
    {NULL},
};

const struct cli_verb verb_cloud_list = {
    .section = "Cloud",
    .name = "cloud list",
    .summary = "show the hospitals and their workers",
    .operands = "",
    .about = "For an invitation the date is its end, for a hospital that has joined the end of its certificate.",
    .example = "meridian cloud list --dir /srv/meridian",
    .options = list_options,
    .run = run_list,
};

/* --- revoke --- */

static int run_revoke(const struct cli_args *args, struct error *err)
{
    char hospitals[4096];
    int rc = hospitals_of(hospitals, args, err);
    rc = rc ? rc : registry_revoke(hospitals, cli_operand(args, 0), err);
    if (!rc)
        printf("%s is revoked: its connections end within a second, its certificate is refused from now on.\n"
               "Its store is kept; remove %s/stores/%s when it is not wanted any more.\n",
            cli_operand(args, 0), cli_str(args, "dir"), cli_operand(args, 0));
    return rc;
}

static const struct cli_option revoke_options[] = {
    OPTION_DIR,
    {NULL},
};

const struct cli_verb verb_cloud_revoke = {
    .section = "Cloud",
    .name = "cloud revoke",
    .summary = "end a hospital's admission at once",
    .operands = "NAME",
    .min_operands = 1,
    .max_operands = 1,
    .about = "Works whether the cloud runs or not. To let the hospital in again, invite it again.",
    .example = "meridian cloud revoke hospital-a --dir /srv/meridian",
    .options = revoke_options,
    .run = run_revoke,
};

/* --- issuer --- */

static int run_issuer(const struct cli_args *args, struct error *err)
{
    const char *dir = cli_str(args, "dir");
    char until[32];
    struct authority a;
    int rc = authority_renew(dir, cli_str(args, "root-key"), err);
    rc = rc ? rc : authority_load(&a, dir, false, err);
    if (rc)
        return rc;
    printf("there is a new issuer, good until %s; edges and their certificates stay as they are\n",
        date(until, pki_not_after(a.issuer)));
    authority_done(&a);
    return 0;
}

static const struct cli_option issuer_options[] = {
    OPTION_DIR,
    {"root-key", "FILE", NULL, "the root's private key, if it is kept elsewhere (default: DIR/ca/root.key)"},
    {NULL},
};

const struct cli_verb verb_cloud_issuer = {
    .section = "Cloud",
    .name = "cloud issuer",
    .summary = "renew the certificate that signs the others, with the root key",
    .operands = "",
    .about =
        "DIR/ca/root.key is used for nothing else: move it to a machine or medium that is not connected, and bring\n"
        "it only for this, every two years. The cloud complains in its log from 60 days before.",
    .example = "meridian cloud issuer --dir /srv/meridian --root-key /media/usb/root.key",
    .options = issuer_options,
    .run = run_issuer,
};
