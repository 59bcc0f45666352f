/* What the files of the client share. Guarded by client.lock. */
#ifndef MERIDIAN_SPLIT_CLIENT_STATE_H
#define MERIDIAN_SPLIT_CLIENT_STATE_H

#include "split/client.h"

#define LINE_IN (2 * (SPLIT_HEADER + SPLIT_MAX_PAYLOAD))

enum line_state {
    LINE_IDLE,       /* no link; next attempt at retry_ns */
    LINE_HELLO,      /* connecting; HELLO is sent or waits to be */
    LINE_INSTALLING, /* the worker has no half yet: the bulk line sends it, the other waits */
    LINE_READY,
    LINE_LEAVING, /* after GOAWAY: what was sent is waited for, nothing new is sent */
};

struct line {
    enum split_which which;
    enum line_state state;
    struct link *link;
    int64_t since_ns, heard_ns, pinged_ns, retry_ns;
    uint32_t attempts;  /* since it was last READY */
    uint32_t n_revoked; /* how often in a row TLS said that our certificate is revoked */
    bool broken;        /* a send failed; the I/O thread drops the link */
    uint8_t *in;        /* [LINE_IN] */
    size_t in_len;
    struct buf out;                                /* bytes that the link has not taken yet */
    uint64_t granted, used;                        /* window */
    struct client_request *first, **last, *unsent; /* without answer, in order; the first not wholly given away */
};

struct installing {
    int fd;
    bool hashed;
    uint8_t sha256[32];
    uint64_t total, next; /* next: byte to send */
    uint32_t failures;
};

struct client {
    struct remote_config cfg;
    char peer[128], half[1024];
    enum split_role role;
    struct split_hello hello; /* ours; `which` is filled in */
    struct client_events events;
    void *user;
    pthread_mutex_t lock;
    pthread_t thread;
    bool started, quit, up, told_down, failed, known;
    uint8_t worker[16]; /* instance of the worker that knows us */
    uint64_t worker_client;
    struct split_hello_reply limits; /* the latest */
    enum split_codec codec;
    int wake[2];
    uint32_t n_lines, first_line;
    struct line lines[2]; /* by enum split_which; with one link only SPLIT_BULK is used */
    struct client_request *spare;
    uint32_t n_spare;
    uint64_t last_seq, in_flight;
    struct installing install;
    struct client_counts counts;
    uint64_t jitter;
    uint32_t malformed; /* times in a row that the worker called us wrong */
    char text[700];     /* of the failure told last */
};

/* client_line.c */
void line_open(struct client *c, struct line *l, int64_t now);
void line_drop(struct client *c, struct line *l, int64_t now, const char *why); /* why: for `down` */
void line_put(struct client *c, struct line *l, const struct split_header *h, const uint8_t *payload);
void line_flush(struct client *c, struct line *l);
void line_pump(struct client *c, struct line *l); /* requests, as far as the window goes */
void line_read(struct client *c, struct line *l, int64_t now);
void line_tick(struct client *c, struct line *l, int64_t now);
void line_frame(struct client *c, struct line *l, const struct split_header *h, const uint8_t *p, int64_t now);
void line_ready(struct client *c, struct line *l); /* sends again what has no answer */
void client_tell_up(struct client *c);
void client_wake(struct client *c);

/* client_reply.c */
void client_hello_reply(struct client *c, struct line *l, const struct split_header *h, const uint8_t *p, int64_t now);
void client_fail(struct client *c, const char *text);

/* client_install.c */
int install_open(struct client *c, struct error *err); /* opens and hashes the half, once */
void install_pump(struct client *c, struct line *l);
void install_reply(struct client *c, struct line *l, const struct split_header *h, const uint8_t *p, int64_t now);
/* True: an error about INSTALL was dealt with. */
bool install_refused(
    struct client *c, struct line *l, const struct split_header *h, const struct split_error *e, int64_t now);
void install_done(struct client *c);
void install_elsewhere(struct client *c, const struct line *known_by, int64_t now);

#endif
