/* Sending the cloud's half to a worker that has none: pieces as the window allows, from where the worker has got to. */
#include "split/client_state.h"

#include "base/clock.h"
#include "crypto/sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE    (60u * 1024)
#define MOST_OUT (1u << 20)

void install_done(struct client *c)
{
    if (c->install.fd >= 0)
        close(c->install.fd);
    c->install = (struct installing){.fd = -1};
}

static int hash(struct installing *i)
{
    struct sha256 *h = sha256_create();
    uint8_t *bytes = malloc(1 << 20);
    ssize_t n = h && bytes ? 1 : -1;
    uint64_t at = 0;
    while (n > 0 && (n = pread(i->fd, bytes, 1 << 20, (off_t)at)) > 0) {
        sha256_add(h, bytes, (size_t)n);
        at += (uint64_t)n;
    }
    free(bytes);
    if (n < 0 || at != i->total) {
        sha256_free(h);
        return -EIO;
    }
    return sha256_end(h, i->sha256);
}

int install_open(struct client *c, struct error *err)
{
    struct installing *i = &c->install;
    struct stat st;
    if (i->hashed)
        return 0;
    i->fd = open(c->half, O_RDONLY | O_CLOEXEC);
    if (i->fd < 0 || fstat(i->fd, &st) || !S_ISREG(st.st_mode) || !st.st_size) {
        int code = errno;
        install_done(c);
        return error_set(err, EIO, "%s: cannot read the cloud's half to install: %s", c->half, strerror(code));
    }
    i->total = (uint64_t)st.st_size;
    struct model_cut cut = c->cfg.cut;
    cut.part = MODEL_CLOUD;
    if (c->cfg.check_half && c->cfg.check_half(c->half, &cut, err)) { /* better than after hours on a slow line */
        install_done(c);
        return -EBADMSG;
    }
    pthread_mutex_unlock(&c->lock); /* it may take seconds; only this thread touches c->install */
    int rc = hash(i);
    pthread_mutex_lock(&c->lock);
    if (rc) {
        install_done(c);
        return error_set(err, EIO, "%s: cannot read the cloud's half to install", c->half);
    }
    i->hashed = true;
    return 0;
}

/* One piece as a frame at the end of `out`. False: the file cannot be read. */
static bool put_piece(struct client *c, struct line *l, uint32_t n)
{
    struct installing *i = &c->install;
    struct split_install p = {.offset = i->next, .total = i->total};
    memcpy(p.sha256, i->sha256, 32);
    if (buf_reserve(&l->out, SPLIT_HEADER + 64 + n))
        return false;
    uint8_t *to = l->out.data + l->out.len;
    size_t start = split_install_encode_start(to + SPLIT_HEADER, &p);
    if (pread(i->fd, to + SPLIT_HEADER + start, n, (off_t)i->next) != (ssize_t)n)
        return false;
    struct split_header h = {.len = (uint32_t)(start + n), .op = SPLIT_INSTALL, .seq = client_next_seq(c)};
    split_header_encode(to, &h);
    l->out.len += SPLIT_HEADER + h.len;
    l->used += h.len;
    i->next += n;
    return true;
}

void install_pump(struct client *c, struct line *l)
{
    struct installing *i = &c->install;
    while (i->hashed && i->next < i->total && l->out.len < MOST_OUT && !l->broken) {
        uint32_t n = i->total - i->next < PIECE ? (uint32_t)(i->total - i->next) : PIECE;
        if (l->used + n + 64 > l->granted)
            break;
        if (!put_piece(c, l, n)) {
            client_fail(c, "the cloud's half cannot be read to its end; is the file being changed?");
            l->broken = true;
        }
    }
    line_flush(c, l);
}

/* The worker has the half, whoever brought it: a connection of ours that still waits for that begins anew. */
void install_elsewhere(struct client *c, const struct line *known_by, int64_t now)
{
    for (uint32_t k = c->first_line; k < 2; k++) {
        struct line *l = &c->lines[k];
        if (l == known_by || l->state != LINE_INSTALLING)
            continue;
        line_drop(c, l, now, "the half is installed");
        l->attempts = 0;
        l->retry_ns = now;
    }
}

static void restart_lines(struct client *c, int64_t now)
{
    for (uint32_t k = c->first_line; k < 2; k++) {
        struct line *l = &c->lines[k];
        if (l->link)
            line_drop(c, l, now, "the half is installed");
        l->attempts = 0;
        l->retry_ns = now;
    }
}

void install_reply(struct client *c, struct line *l, const struct split_header *h, const uint8_t *p, int64_t now)
{
    struct split_install_reply r;
    if (l->state != LINE_INSTALLING || split_install_reply_decode(&r, p, h->len)) {
        line_drop(c, l, now, "the worker's answer to INSTALL is not as it should be");
        return;
    }
    if (c->cfg.on_install)
        c->cfg.on_install(c->cfg.user, r.have < c->install.total ? r.have : c->install.total, c->install.total);
    if (!r.installed)
        return;
    install_done(c);
    restart_lines(c, now);
}

bool install_refused(
    struct client *c, struct line *l, const struct split_header *h, const struct split_error *e, int64_t now)
{
    if (l->state != LINE_INSTALLING)
        return false;
    bool lasting = e->code == SPLIT_ERR_TOO_LARGE || e->code == SPLIT_ERR_NO_SPACE || e->code == SPLIT_ERR_WRONG_CUT ||
                   (e->code == SPLIT_ERR_HASH && ++c->install.failures >= 2);
    if (lasting)
        client_fail(c, e->text);
    line_drop(c, l, now, e->text);
    return true;
}
