/* What the frames of wire/split_frame.h carry, one struct per payload. docs/wire-split.md has the same in words, byte by
 * byte. Layouts are fixed; every number with a range is checked against it here; what depends on a session (widths,
 * positions, limits agreed) is checked by who knows the session. Nothing is allocated: bytes and rows point into the
 * caller's frame. Decoders return 0, or -EPROTO for anything that is not exactly as written; encoders return bytes. */
#ifndef MERIDIAN_WIRE_SPLIT_PAYLOAD_H
#define MERIDIAN_WIRE_SPLIT_PAYLOAD_H

#include "wire/split_frame.h"
#include "wire/vec_codec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPLIT_MAX_STEPS   4u
#define SPLIT_MAX_TEXT    512u
#define SPLIT_MAX_POS     (1u << 24) /* positions of a session, rows of a request */
#define SPLIT_MAX_SAMPLES 4096u      /* samples of a micro-batch */

enum split_error_code {
    SPLIT_ERR_VERSION = 1,       /* the connection: the other side speaks another version of this protocol */
    SPLIT_ERR_MALFORMED = 2,     /* the connection: bytes that are no frame, or not one allowed now */
    SPLIT_ERR_WRONG_CUT = 3,     /* HELLO: another cut is installed */
    SPLIT_ERR_WRONG_STEP = 4,    /* HELLO: the right cut after other training */
    SPLIT_ERR_NOT_INSTALLED = 5, /* nothing to work with yet: INSTALL first */
    SPLIT_ERR_FULL = 6,          /* OPEN: no room now, try again */
    SPLIT_ERR_TOO_LARGE = 7,     /* will never fit */
    SPLIT_ERR_SHAPE = 8,         /* rows, width or positions that the session cannot have */
    SPLIT_ERR_STALE = 9,         /* a repeated request whose answer is no longer kept */
    SPLIT_ERR_GAP = 10,          /* positions before these are missing: replay the session */
    SPLIT_ERR_NO_SESSION = 11,   /* not known here (any more): open it again and replay */
    SPLIT_ERR_ORDER = 12,        /* not allowed in this state */
    SPLIT_ERR_CONFIG = 13,       /* OPEN of a training that differs from the one that runs */
    SPLIT_ERR_HASH = 14,         /* INSTALL: the bytes are not those announced */
    SPLIT_ERR_NO_SPACE = 15,     /* disk full */
    SPLIT_ERR_BUSY = 16,         /* somebody else's work must end first, try again */
    SPLIT_ERR_INTERNAL = 17,     /* the worker failed; its log says more */
    SPLIT_ERR_REVOKED = 18,      /* this hospital may no longer use this worker */
    SPLIT_ERR_NO_STEP = 19,      /* LOAD: no such checkpoint */
    SPLIT_ERR_END,
};
const char *split_error_name(unsigned code); /* "wrong cut", …; "unknown" */

enum split_which { SPLIT_INTERACTIVE = 0, SPLIT_BULK = 1 };
enum split_role { SPLIT_SERVE = 0, SPLIT_TRAIN = 1 };

struct split_cut {
    uint8_t id[32];
    uint32_t head, tail;
    uint64_t step;
    uint8_t run[16];
};

struct split_hello {
    uint32_t version;
    uint32_t codecs; /* bit 1 << enum split_codec; f32 always */
    enum split_which which;
    enum split_role role;
    bool may_install;     /* the edge has the cloud's half and will send it when it is missing */
    uint32_t d;           /* width of a vector */
    uint8_t instance[16]; /* of the edge's process: random, the same on both connections and after reconnecting */
    struct split_cut cut;
    uint8_t run[16]; /* training: the run whose checkpoints are asked for; else zero */
};
struct split_hello_reply {
    uint32_t version, codecs;
    bool installed;  /* false: INSTALL, from `part` on */
    uint64_t client; /* the worker's record of this edge: when it or `instance` changed, all sessions are gone */
    uint32_t max_sessions;
    uint8_t instance[16]; /* of the worker's process */
    uint64_t part;        /* bytes of this half that are there already */
    uint64_t window;      /* payload bytes the edge may send on this connection before WINDOW says more */
    uint64_t max_install; /* bytes of the largest half */
    uint32_t max_rows;    /* rows of the largest request */
    uint32_t n_steps;
    uint64_t steps[SPLIT_MAX_STEPS]; /* training: checkpoints of the run, the newest first */
};

struct split_install {
    uint64_t offset, total;
    uint8_t sha256[32]; /* of the whole file */
    const uint8_t *bytes;
    uint32_t n; /* >= 1; offset + n <= total */
};
struct split_install_reply {
    uint64_t have;
    bool installed;
};

struct split_train_config {
    uint32_t max_rows, max_samples, n_slots, lora_rank, lora_targets;
    float lora_alpha;
    uint64_t seed;
    bool recompute;
    uint8_t run[16];
};
struct split_open {
    enum split_role role;
    uint32_t n_ctx;                  /* serve */
    struct split_train_config train; /* train */
};
struct split_open_reply { /* of a training; that of a session for serving is empty */
    uint64_t steps_done;
    bool fresh; /* nothing was done in this session yet */
    uint32_t n_steps;
    uint64_t steps[SPLIT_MAX_STEPS];
};

/* A piece of a request's or reply's rows. SPLIT_MORE is set exactly when row0 + n_here < n. */
struct split_rows {
    uint32_t pos0;  /* serve */
    uint64_t batch; /* train */
    uint32_t n;     /* rows of the whole; 0 in a reply: the work was stale and dropped, or no gradient was wanted */
    uint32_t row0;  /* the first row here */
    uint32_t n_here;
    enum split_codec codec;
    bool urgent;        /* serve: a decode step */
    bool only_eval;     /* train, FORWARD */
    bool want_grad;     /* train, BACKWARD */
    uint64_t answered;  /* request: all requests of this session with a lower sequence number have been answered */
    uint32_t n_samples; /* train, FORWARD, in the first piece */
    const uint8_t *sample_rows; /* u32 × n_samples, unaligned */
    const uint8_t *rows;
    size_t rows_len;
};

struct split_step {
    bool apply; /* false: asks the norm */
    uint64_t step;
    float lr, beta1, beta2, eps, weight_decay, grad_scale; /* finite; zero when !apply */
    uint64_t t;
};
struct split_step_reply {
    uint64_t step;
    double sumsq;
};

struct split_save {
    uint64_t step;
    bool serve;
    struct split_cut cut;
};

struct split_ping {
    uint64_t token;
    double busy_s; /* reply: seconds computed since the worker started */
};

struct split_error {
    enum split_error_code code;
    char text[SPLIT_MAX_TEXT + 1]; /* printable UTF-8 */
};

/* `to` has room for SPLIT_MAX_PAYLOAD. */
size_t split_hello_encode(uint8_t *to, const struct split_hello *p);
size_t split_hello_reply_encode(uint8_t *to, const struct split_hello_reply *p);
size_t split_install_encode_start(uint8_t *to, const struct split_install *p); /* the bytes follow; not `bytes` */
size_t split_install_reply_encode(uint8_t *to, const struct split_install_reply *p);
size_t split_open_encode(uint8_t *to, const struct split_open *p);
size_t split_open_reply_encode(uint8_t *to, const struct split_open_reply *p);
size_t split_step_encode(uint8_t *to, const struct split_step *p);
size_t split_step_reply_encode(uint8_t *to, const struct split_step_reply *p);
size_t split_save_encode(uint8_t *to, const struct split_save *p);
size_t split_u64_encode(uint8_t *to, uint64_t v); /* LOAD, replies of SAVE and LOAD, WINDOW */
size_t split_ping_encode(uint8_t *to, const struct split_ping *p, bool reply);
size_t split_error_encode(uint8_t *to, unsigned code, const char *text); /* text is cut and cleaned */

/* -EPROTONOSUPPORT: another version. */
int split_hello_decode(struct split_hello *ret, const uint8_t *p, size_t len);
int split_hello_reply_decode(struct split_hello_reply *ret, const uint8_t *p, size_t len);
int split_install_decode(struct split_install *ret, const uint8_t *p, size_t len);
int split_install_reply_decode(struct split_install_reply *ret, const uint8_t *p, size_t len);
int split_open_decode(struct split_open *ret, const uint8_t *p, size_t len);
int split_open_reply_decode(struct split_open_reply *ret, const uint8_t *p, size_t len);
int split_step_decode(struct split_step *ret, const uint8_t *p, size_t len);
int split_step_reply_decode(struct split_step_reply *ret, const uint8_t *p, size_t len);
int split_save_decode(struct split_save *ret, const uint8_t *p, size_t len);
int split_u64_decode(uint64_t *ret, const uint8_t *p, size_t len);
int split_ping_decode(struct split_ping *ret, const uint8_t *p, size_t len, bool reply);
int split_error_decode(struct split_error *ret, const uint8_t *p, size_t len);

/* Rows. The start's size; rows are appended behind it with vec_row_encode. */
#define SPLIT_ROWS_SERVE 24u
#define SPLIT_ROWS_TRAIN 32u
size_t split_rows_encode_start(
    uint8_t *to, enum split_role role, const struct split_rows *p, const uint32_t *sample_rows);
/* h: the frame's header (operation, MORE and REPLY are checked against the payload). */
int split_rows_decode(struct split_rows *ret, enum split_role role, const struct split_header *h, const uint8_t *p);
/* Unpacks the rows of a decoded piece into to [n_here][d]: -EPROTO unless they fill the payload exactly. */
int split_rows_unpack(const struct split_rows *r, uint32_t d, float *to);

#endif
