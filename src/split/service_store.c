/* Installing a half, and loading one to serve. Pieces are written where they belong as they come; a broken connection goes
 * on where it stopped. Only a file whose hash is right and which reads as the cloud half of the cut that was named gets
 * the name under which it is found. */
#include "service_state.h"

#include "base/clock.h"
#include "crypto/sha256.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEAVE_FREE (64ull << 20) /* disk space that an install does not take */

static void install_end(struct service *s)
{
    if (s->install.fd >= 0)
        close(s->install.fd);
    s->install = (struct install){.fd = -1};
}

void install_client_gone(struct service *s, const uint8_t instance[16])
{
    if (s->install.active && !s->install.verifying && !memcmp(s->install.instance, instance, 16))
        install_end(s);
}

static struct conn *install_conn(struct service *s)
{
    for (struct client *c = s->clients; c; c = c->next)
        if (!memcmp(c->instance, s->install.instance, 16))
            return client_conn(c, SPLIT_BULK);
    return NULL;
}

static void reply(struct service *s, struct conn *c, const struct split_header *h, uint64_t have, bool installed)
{
    uint8_t payload[16];
    struct split_install_reply r = {have, installed};
    conn_reply(s, c, h, payload, split_install_reply_encode(payload, &r));
}

/* Checks everything that can be checked before a byte is written. False: refused. */
static bool install_begin(
    struct service *s, struct conn *c, const struct split_header *h, const struct split_install *p)
{
    struct install *i = &s->install;
    struct model_cut cut = service_cut(&c->client->hello.cut);
    uint64_t have = store_part_size(&s->store, &cut), room = store_free_bytes(&s->store);
    char path[STORE_PATH];
    if (have > p->total)
        have = 0;
    if (p->total > s->cfg.max_install) {
        conn_refuse(s, c, h, SPLIT_ERR_TOO_LARGE, "a half of %llu bytes: at most %llu are accepted here",
            (unsigned long long)p->total, (unsigned long long)s->cfg.max_install);
        return false;
    }
    if (room < LEAVE_FREE || p->total - have > room - LEAVE_FREE) {
        conn_refuse(s, c, h, SPLIT_ERR_NO_SPACE, "the cloud's disk has %llu bytes left, the half needs %llu more",
            (unsigned long long)room, (unsigned long long)(p->total - have));
        return false;
    }
    store_parts_clear(&s->store, &cut);
    store_part_path(&s->store, &cut, path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || (!have && ftruncate(fd, 0))) {
        conn_refuse(s, c, h, SPLIT_ERR_NO_SPACE, "cannot write on the cloud's disk: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    *i = (struct install){.active = true, .cut = cut, .total = p->total, .have = have, .fd = fd};
    memcpy(i->sha256, p->sha256, 32);
    memcpy(i->instance, c->client->instance, 16);
    return true;
}

static bool install_mine(struct service *s, struct conn *c, const struct split_install *p)
{
    struct install *i = &s->install;
    struct model_cut cut = service_cut(&c->client->hello.cut);
    return !memcmp(i->instance, c->client->instance, 16) && !memcmp(&i->cut, &cut, sizeof(cut)) &&
           i->total == p->total && !memcmp(i->sha256, p->sha256, 32);
}

static bool write_piece(struct install *i, const struct split_install *p)
{
    uint64_t skip = i->have - p->offset; /* what a repeated piece brings again */
    if (skip >= p->n)
        return true;
    ssize_t n = pwrite(i->fd, p->bytes + skip, p->n - skip, (off_t)i->have);
    if (n != (ssize_t)(p->n - skip))
        return false;
    i->have += (uint64_t)n;
    return true;
}

void install_frame(struct service *s, struct conn *c, const struct split_header *h, const uint8_t *p)
{
    struct install *i = &s->install;
    struct split_install piece;
    struct model_cut cut = service_cut(&c->client->hello.cut);
    if (split_install_decode(&piece, p, h->len) || !c->client->hello.may_install || c->which != SPLIT_BULK) {
        conn_fail(s, c, SPLIT_ERR_MALFORMED, "INSTALL is not as it should be");
        return;
    }
    conn_credit(s, c, h->len);
    if (store_half_has(&s->store, &cut)) {
        reply(s, c, h, piece.total, true);
        return;
    }
    if (i->active && !i->verifying && !install_conn(s))
        install_end(s); /* whoever began has left; the part stays */
    if (!i->active && !install_begin(s, c, h, &piece))
        return;
    if (!install_mine(s, c, &piece)) {
        conn_refuse(s, c, h, SPLIT_ERR_BUSY, "another half is being installed");
    } else if (i->verifying) {
        i->h = *h;
    } else if (piece.offset > i->have) {
        conn_refuse(s, c, h, SPLIT_ERR_ORDER, "a piece is missing before byte %llu", (unsigned long long)piece.offset);
    } else if (!write_piece(i, &piece)) {
        conn_refuse(s, c, h, SPLIT_ERR_NO_SPACE, "cannot write on the cloud's disk: %s", strerror(errno));
        install_end(s);
    } else if (i->have < i->total) {
        reply(s, c, h, i->have, false);
    } else {
        i->h = *h;
        i->verifying = true;
        service_work(s);
    }
}

/* --- the compute thread ---------------------------------------------------------------------------------------------- */

static int hash_file(int fd, uint8_t ret[32])
{
    struct sha256 *h = sha256_create();
    uint8_t *bytes = malloc(1 << 20);
    ssize_t n = -1;
    off_t at = 0;
    while (h && bytes && (n = pread(fd, bytes, 1 << 20, at)) > 0) {
        sha256_add(h, bytes, (size_t)n);
        at += n;
    }
    free(bytes);
    if (n < 0) {
        sha256_free(h);
        return -EIO;
    }
    return sha256_end(h, ret);
}

/* 0, or the code to refuse with. */
static unsigned verify(struct service *s, const struct install *i, struct error *err)
{
    char part[STORE_PATH], path[STORE_PATH];
    uint8_t sha[32];
    store_part_path(&s->store, &i->cut, part);
    store_half_path(&s->store, &i->cut, path);
    if (hash_file(i->fd, sha) || memcmp(sha, i->sha256, 32)) {
        error_set(err, EBADMSG, "the bytes that arrived are not those announced: install again");
        unlink(part);
        return SPLIT_ERR_HASH;
    }
    if (s->cfg.halves->check(part, &i->cut, err)) {
        unlink(part);
        return SPLIT_ERR_WRONG_CUT;
    }
    if (fsync(i->fd) || rename(part, path)) {
        error_set(err, EIO, "cannot write on the cloud's disk: %s", strerror(errno));
        return SPLIT_ERR_NO_SPACE;
    }
    file_sync_folder_of(path);
    return 0;
}

static void install_check(struct service *s)
{
    struct install mine = s->install;
    struct error err = {""};
    char name[48];
    int64_t began = clock_now_ns();
    service_begin(s);
    unsigned code = verify(s, &mine, &err);
    service_end(s, began);
    struct conn *c = install_conn(s);
    struct split_header h = s->install.h;
    install_end(s);
    model_cut_name(&mine.cut, name);
    if (code) {
        log_warn("installing half %s failed: %s", name, err.text);
        conn_refuse(s, c, &h, code, "%s", err.text);
    } else {
        log_info("half %s is installed", name);
        reply(s, c, &h, mine.total, true);
    }
}

static void load(struct service *s)
{
    struct serving *v = &s->serving;
    char path[STORE_PATH], name[48];
    struct error err = {""};
    struct half_infer *half = NULL;
    struct pool *pool = NULL, *old = v->pool;
    for (struct conn *c = s->conns; c; c = c->next)
        infer_rows_abandon(s, c);
    v->pool = NULL;
    store_half_path(&s->store, &v->cut, path);
    model_cut_name(&v->cut, name);
    int64_t began = clock_now_ns();
    service_begin(s);
    pool_free(old);
    int rc = s->cfg.halves->serve(
        &half, path, s->cfg.kv_bytes, s->cfg.memory_bytes, s->cfg.n_threads, s->cfg.max_sessions, &err);
    if (!rc && (rc = infer_pool_create(s, half, &pool))) {
        half->ops->free(half);
        error_set(&err, ENOMEM, "out of memory");
    }
    service_end(s, began);
    if (rc) {
        log_error("half %s cannot be served: %s", name, err.text);
        v->state = HALF_NONE;
        infer_load_failed(s, rc, &err);
        return;
    }
    log_info("half %s is ready", name);
    v->pool = pool;
    v->state = HALF_READY;
    infer_loaded(s);
}

bool store_work(struct service *s)
{
    if (s->install.verifying) {
        install_check(s);
        return true;
    }
    if (s->serving.state == HALF_LOADING) {
        load(s);
        return true;
    }
    return false;
}
