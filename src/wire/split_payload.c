/* Payloads: straight down, in the order of the operations. */
#include "wire/split_payload.h"

#include "base/bytes.h"

#include <errno.h>
#include <math.h>
#include <string.h>

const char *split_error_name(unsigned code)
{
    static const char *const names[SPLIT_ERR_END] = {"unknown", "version", "malformed", "wrong cut", "wrong step",
        "not installed", "full", "too large", "shape", "stale", "gap", "no session", "order", "configuration", "hash",
        "no space", "busy", "internal", "revoked", "no such checkpoint"};
    return names[code < SPLIT_ERR_END ? code : 0];
}

#define CUT 64u

static void put_cut(uint8_t *to, const struct split_cut *c)
{
    memcpy(to, c->id, 32);
    bytes_put_u32(to + 32, c->head);
    bytes_put_u32(to + 36, c->tail);
    bytes_put_u64(to + 40, c->step);
    memcpy(to + 48, c->run, 16);
}

static void get_cut(struct split_cut *c, const uint8_t *p)
{
    memcpy(c->id, p, 32);
    c->head = bytes_get_u32(p + 32);
    c->tail = bytes_get_u32(p + 36);
    c->step = bytes_get_u64(p + 40);
    memcpy(c->run, p + 48, 16);
}

static bool zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

/* f32 must be among them and nothing unknown: a later version says so in `version`. */
static bool codecs_right(uint32_t codecs)
{
    return (codecs & 1u << SPLIT_F32) && codecs < 1u << (SPLIT_INT8 + 1);
}

/* --- HELLO ---------------------------------------------------------------------------------------------------- */

#define HELLO       112u
#define HELLO_REPLY 112u

size_t split_hello_encode(uint8_t *to, const struct split_hello *p)
{
    bytes_put_u32(to, p->version);
    bytes_put_u32(to + 4, p->codecs);
    to[8] = (uint8_t)p->which;
    to[9] = (uint8_t)p->role;
    to[10] = p->may_install;
    to[11] = 0;
    bytes_put_u32(to + 12, p->d);
    memcpy(to + 16, p->instance, 16);
    put_cut(to + 32, &p->cut);
    memcpy(to + 96, p->run, 16);
    return HELLO;
}

int split_hello_decode(struct split_hello *ret, const uint8_t *p, size_t len)
{
    if (len < 4)
        return -EPROTO;
    if (bytes_get_u32(p) != SPLIT_VERSION)
        return -EPROTONOSUPPORT;
    if (len != HELLO)
        return -EPROTO;
    struct split_hello h = {.version = SPLIT_VERSION, .codecs = bytes_get_u32(p + 4), .d = bytes_get_u32(p + 12)};
    if (!codecs_right(h.codecs) || p[8] > SPLIT_BULK || p[9] > SPLIT_TRAIN || p[10] > 1 || p[11] || h.d < 2)
        return -EPROTO;
    h.which = (enum split_which)p[8];
    h.role = (enum split_role)p[9];
    h.may_install = p[10];
    memcpy(h.instance, p + 16, 16);
    get_cut(&h.cut, p + 32);
    memcpy(h.run, p + 96, 16);
    *ret = h;
    return 0;
}

size_t split_hello_reply_encode(uint8_t *to, const struct split_hello_reply *p)
{
    memset(to, 0, HELLO_REPLY);
    bytes_put_u32(to, p->version);
    bytes_put_u32(to + 4, p->codecs);
    to[8] = p->installed;
    bytes_put_u32(to + 12, p->max_sessions);
    memcpy(to + 16, p->instance, 16);
    bytes_put_u64(to + 32, p->part);
    bytes_put_u64(to + 40, p->window);
    bytes_put_u64(to + 48, p->max_install);
    bytes_put_u32(to + 56, p->max_rows);
    bytes_put_u32(to + 60, p->n_steps);
    for (uint32_t i = 0; i < p->n_steps; i++)
        bytes_put_u64(to + 64 + 8 * i, p->steps[i]);
    bytes_put_u64(to + 96, p->client);
    return HELLO_REPLY;
}

int split_hello_reply_decode(struct split_hello_reply *ret, const uint8_t *p, size_t len)
{
    if (len < 4)
        return -EPROTO;
    if (bytes_get_u32(p) != SPLIT_VERSION)
        return -EPROTONOSUPPORT;
    if (len != HELLO_REPLY)
        return -EPROTO;
    struct split_hello_reply r = {
        .version = SPLIT_VERSION,
        .codecs = bytes_get_u32(p + 4),
        .installed = p[8],
        .max_sessions = bytes_get_u32(p + 12),
        .part = bytes_get_u64(p + 32),
        .window = bytes_get_u64(p + 40),
        .max_install = bytes_get_u64(p + 48),
        .max_rows = bytes_get_u32(p + 56),
        .n_steps = bytes_get_u32(p + 60),
        .client = bytes_get_u64(p + 96),
    };
    if (!codecs_right(r.codecs) || p[8] > 1 || !zero(p + 9, 3) || r.n_steps > SPLIT_MAX_STEPS ||
        !zero(p + 64 + 8 * r.n_steps, 8 * (SPLIT_MAX_STEPS - r.n_steps)) || !zero(p + 104, 8))
        return -EPROTO;
    memcpy(r.instance, p + 16, 16);
    for (uint32_t i = 0; i < r.n_steps; i++)
        r.steps[i] = bytes_get_u64(p + 64 + 8 * i);
    *ret = r;
    return 0;
}

/* --- INSTALL -------------------------------------------------------------------------------------------------- */

#define INSTALL 48u

size_t split_install_encode_start(uint8_t *to, const struct split_install *p)
{
    bytes_put_u64(to, p->offset);
    bytes_put_u64(to + 8, p->total);
    memcpy(to + 16, p->sha256, 32);
    return INSTALL;
}

int split_install_decode(struct split_install *ret, const uint8_t *p, size_t len)
{
    if (len <= INSTALL)
        return -EPROTO;
    struct split_install i = {.offset = bytes_get_u64(p), .total = bytes_get_u64(p + 8), .bytes = p + INSTALL};
    i.n = (uint32_t)(len - INSTALL);
    if (i.offset >= i.total || i.n > i.total - i.offset)
        return -EPROTO;
    memcpy(i.sha256, p + 16, 32);
    *ret = i;
    return 0;
}

size_t split_install_reply_encode(uint8_t *to, const struct split_install_reply *p)
{
    memset(to, 0, 16);
    bytes_put_u64(to, p->have);
    to[8] = p->installed;
    return 16;
}

int split_install_reply_decode(struct split_install_reply *ret, const uint8_t *p, size_t len)
{
    if (len != 16 || p[8] > 1 || !zero(p + 9, 7))
        return -EPROTO;
    *ret = (struct split_install_reply){bytes_get_u64(p), p[8]};
    return 0;
}

/* --- OPEN ----------------------------------------------------------------------------------------------------- */

#define OPEN_SERVE 8u
#define OPEN_TRAIN 56u
#define OPEN_REPLY 48u

size_t split_open_encode(uint8_t *to, const struct split_open *p)
{
    memset(to, 0, OPEN_TRAIN);
    to[0] = (uint8_t)p->role;
    if (p->role == SPLIT_SERVE) {
        bytes_put_u32(to + 4, p->n_ctx);
        return OPEN_SERVE;
    }
    const struct split_train_config *t = &p->train;
    to[1] = t->recompute;
    bytes_put_u32(to + 4, t->max_rows);
    bytes_put_u32(to + 8, t->max_samples);
    bytes_put_u32(to + 12, t->n_slots);
    bytes_put_u32(to + 16, t->lora_rank);
    bytes_put_u32(to + 20, t->lora_targets);
    bytes_put_f32(to + 24, t->lora_alpha);
    bytes_put_u64(to + 32, t->seed);
    memcpy(to + 40, t->run, 16);
    return OPEN_TRAIN;
}

static int open_train_decode(struct split_train_config *ret, const uint8_t *p)
{
    struct split_train_config t = {
        .recompute = p[1],
        .max_rows = bytes_get_u32(p + 4),
        .max_samples = bytes_get_u32(p + 8),
        .n_slots = bytes_get_u32(p + 12),
        .lora_rank = bytes_get_u32(p + 16),
        .lora_targets = bytes_get_u32(p + 20),
        .lora_alpha = bytes_get_f32(p + 24),
        .seed = bytes_get_u64(p + 32),
    };
    if (p[1] > 1 || p[2] || p[3] || !t.max_rows || t.max_rows > SPLIT_MAX_POS || !t.max_samples ||
        t.max_samples > SPLIT_MAX_SAMPLES || t.max_samples > t.max_rows || !t.n_slots || t.n_slots > 64 ||
        t.lora_rank > 4096 || t.lora_targets > 127 || !isfinite(t.lora_alpha) || !zero(p + 28, 4))
        return -EPROTO;
    memcpy(t.run, p + 40, 16);
    *ret = t;
    return 0;
}

int split_open_decode(struct split_open *ret, const uint8_t *p, size_t len)
{
    struct split_open o = {0};
    if (len == OPEN_SERVE && p[0] == SPLIT_SERVE && !p[1] && !p[2] && !p[3]) {
        o.role = SPLIT_SERVE;
        o.n_ctx = bytes_get_u32(p + 4);
        if (!o.n_ctx || o.n_ctx > SPLIT_MAX_POS)
            return -EPROTO;
    } else if (len == OPEN_TRAIN && p[0] == SPLIT_TRAIN) {
        o.role = SPLIT_TRAIN;
        if (open_train_decode(&o.train, p))
            return -EPROTO;
    } else {
        return -EPROTO;
    }
    *ret = o;
    return 0;
}

size_t split_open_reply_encode(uint8_t *to, const struct split_open_reply *p)
{
    memset(to, 0, OPEN_REPLY);
    bytes_put_u64(to, p->steps_done);
    to[8] = p->fresh;
    bytes_put_u32(to + 12, p->n_steps);
    for (uint32_t i = 0; i < p->n_steps; i++)
        bytes_put_u64(to + 16 + 8 * i, p->steps[i]);
    return OPEN_REPLY;
}

int split_open_reply_decode(struct split_open_reply *ret, const uint8_t *p, size_t len)
{
    if (len != OPEN_REPLY)
        return -EPROTO;
    struct split_open_reply r = {.steps_done = bytes_get_u64(p), .fresh = p[8], .n_steps = bytes_get_u32(p + 12)};
    if (p[8] > 1 || !zero(p + 9, 3) || r.n_steps > SPLIT_MAX_STEPS ||
        !zero(p + 16 + 8 * r.n_steps, 8 * (SPLIT_MAX_STEPS - r.n_steps)))
        return -EPROTO;
    for (uint32_t i = 0; i < r.n_steps; i++)
        r.steps[i] = bytes_get_u64(p + 16 + 8 * i);
    *ret = r;
    return 0;
}

/* --- rows ------------------------------------------------------------------------------------------------------ */

enum { URGENT = 1, ONLY_EVAL = 1, WANT_GRAD = 2 };

size_t split_rows_encode_start(
    uint8_t *to, enum split_role role, const struct split_rows *p, const uint32_t *sample_rows)
{
    if (role == SPLIT_SERVE) {
        bytes_put_u32(to, p->pos0);
        bytes_put_u32(to + 4, p->n);
        bytes_put_u32(to + 8, p->row0);
        bytes_put_u16(to + 12, (uint16_t)p->n_here);
        to[14] = (uint8_t)p->codec;
        to[15] = p->urgent ? URGENT : 0;
        bytes_put_u64(to + 16, p->answered);
        return SPLIT_ROWS_SERVE;
    }
    bytes_put_u64(to, p->batch);
    bytes_put_u32(to + 8, p->n);
    bytes_put_u32(to + 12, p->row0);
    bytes_put_u16(to + 16, (uint16_t)p->n_here);
    to[18] = (uint8_t)p->codec;
    to[19] = (uint8_t)((p->only_eval ? ONLY_EVAL : 0) | (p->want_grad ? WANT_GRAD : 0));
    bytes_put_u32(to + 20, p->n_samples);
    bytes_put_u64(to + 24, p->answered);
    for (uint32_t i = 0; i < p->n_samples; i++)
        bytes_put_u32(to + SPLIT_ROWS_TRAIN + 4 * i, sample_rows[i]);
    return SPLIT_ROWS_TRAIN + 4 * p->n_samples;
}

static int serve_start_decode(struct split_rows *r, const uint8_t *p)
{
    r->pos0 = bytes_get_u32(p);
    r->n = bytes_get_u32(p + 4);
    r->row0 = bytes_get_u32(p + 8);
    r->n_here = bytes_get_u16(p + 12);
    r->codec = p[14] <= SPLIT_INT8 ? (enum split_codec)p[14] : SPLIT_F32;
    r->urgent = p[15] & URGENT;
    r->answered = bytes_get_u64(p + 16);
    return p[14] > SPLIT_INT8 || p[15] > URGENT || r->pos0 > SPLIT_MAX_POS ? -EPROTO : 0;
}

static int train_start_decode(struct split_rows *r, const uint8_t *p, const struct split_header *h)
{
    r->batch = bytes_get_u64(p);
    r->n = bytes_get_u32(p + 8);
    r->row0 = bytes_get_u32(p + 12);
    r->n_here = bytes_get_u16(p + 16);
    r->codec = p[18] <= SPLIT_INT8 ? (enum split_codec)p[18] : SPLIT_F32;
    r->only_eval = p[19] & ONLY_EVAL;
    r->want_grad = p[19] & WANT_GRAD;
    r->n_samples = bytes_get_u32(p + 20);
    r->answered = bytes_get_u64(p + 24);
    bool request = !(h->flags & SPLIT_REPLY), first = request && h->op == SPLIT_FORWARD && !r->row0;
    unsigned flags = !request ? 0 : h->op == SPLIT_FORWARD ? ONLY_EVAL : WANT_GRAD;
    if (p[18] > SPLIT_INT8 || (p[19] & ~flags) || r->n_samples > SPLIT_MAX_SAMPLES || first != (r->n_samples > 0))
        return -EPROTO;
    return 0;
}

int split_rows_decode(struct split_rows *ret, enum split_role role, const struct split_header *h, const uint8_t *p)
{
    struct split_rows r = {0};
    size_t start = role == SPLIT_SERVE ? SPLIT_ROWS_SERVE : SPLIT_ROWS_TRAIN;
    if (h->len < start || (role == SPLIT_SERVE && h->op != SPLIT_FORWARD))
        return -EPROTO;
    if (role == SPLIT_SERVE ? serve_start_decode(&r, p) : train_start_decode(&r, p, h))
        return -EPROTO;
    bool reply = h->flags & SPLIT_REPLY, more = h->flags & SPLIT_MORE;
    if (r.n > SPLIT_MAX_POS || r.row0 > r.n || r.n_here > r.n - r.row0 || more != (r.n_here < r.n - r.row0) ||
        (!r.n_here && !(reply && !r.n)) || (reply && r.answered))
        return -EPROTO;
    if (r.n_samples > (h->len - start) / 4)
        return -EPROTO;
    r.sample_rows = p + start;
    r.rows = p + start + 4 * r.n_samples;
    r.rows_len = h->len - start - 4 * r.n_samples;
    *ret = r;
    return 0;
}

int split_rows_unpack(const struct split_rows *r, uint32_t d, float *to)
{
    const uint8_t *p = r->rows;
    size_t left = r->rows_len;
    for (uint32_t i = 0; i < r->n_here; i++) {
        ssize_t n = vec_row_decode(r->codec, to + (size_t)i * d, d, p, left);
        if (n < 0)
            return -EPROTO;
        p += n;
        left -= (size_t)n;
    }
    return left ? -EPROTO : 0;
}

/* --- STEP, SAVE, LOAD ------------------------------------------------------------------------------------------ */

#define STEP 48u
#define SAVE 80u

size_t split_step_encode(uint8_t *to, const struct split_step *p)
{
    memset(to, 0, STEP);
    to[0] = p->apply;
    bytes_put_u64(to + 8, p->step);
    if (p->apply) {
        bytes_put_f32(to + 16, p->lr);
        bytes_put_f32(to + 20, p->beta1);
        bytes_put_f32(to + 24, p->beta2);
        bytes_put_f32(to + 28, p->eps);
        bytes_put_f32(to + 32, p->weight_decay);
        bytes_put_f32(to + 36, p->grad_scale);
        bytes_put_u64(to + 40, p->t);
    }
    return STEP;
}

int split_step_decode(struct split_step *ret, const uint8_t *p, size_t len)
{
    if (len != STEP || p[0] > 1 || !zero(p + 1, 7) || (!p[0] && !zero(p + 16, 32)))
        return -EPROTO;
    struct split_step s = {
        .apply = p[0],
        .step = bytes_get_u64(p + 8),
        .lr = bytes_get_f32(p + 16),
        .beta1 = bytes_get_f32(p + 20),
        .beta2 = bytes_get_f32(p + 24),
        .eps = bytes_get_f32(p + 28),
        .weight_decay = bytes_get_f32(p + 32),
        .grad_scale = bytes_get_f32(p + 36),
        .t = bytes_get_u64(p + 40),
    };
    if (!isfinite(s.lr) || !isfinite(s.beta1) || !isfinite(s.beta2) || !isfinite(s.eps) || !isfinite(s.weight_decay) ||
        !isfinite(s.grad_scale) || (s.apply && !s.t))
        return -EPROTO;
    *ret = s;
    return 0;
}

size_t split_step_reply_encode(uint8_t *to, const struct split_step_reply *p)
{
    bytes_put_u64(to, p->step);
    bytes_put_f64(to + 8, p->sumsq);
    return 16;
}

int split_step_reply_decode(struct split_step_reply *ret, const uint8_t *p, size_t len)
{
    if (len != 16)
        return -EPROTO;
    *ret = (struct split_step_reply){bytes_get_u64(p), bytes_get_f64(p + 8)};
    return 0;
}

size_t split_save_encode(uint8_t *to, const struct split_save *p)
{
    memset(to, 0, 16);
    bytes_put_u64(to, p->step);
    to[8] = p->serve;
    put_cut(to + 16, &p->cut);
    return SAVE;
}

int split_save_decode(struct split_save *ret, const uint8_t *p, size_t len)
{
    if (len != SAVE || p[8] > 1 || !zero(p + 9, 7))
        return -EPROTO;
    ret->step = bytes_get_u64(p);
    ret->serve = p[8];
    get_cut(&ret->cut, p + 16);
    return 0;
}

size_t split_u64_encode(uint8_t *to, uint64_t v)
{
    bytes_put_u64(to, v);
    return 8;
}

int split_u64_decode(uint64_t *ret, const uint8_t *p, size_t len)
{
    if (len != 8)
        return -EPROTO;
    *ret = bytes_get_u64(p);
    return 0;
}

/* --- PING, ERROR ----------------------------------------------------------------------------------------------- */

size_t split_ping_encode(uint8_t *to, const struct split_ping *p, bool reply)
{
    bytes_put_u64(to, p->token);
    if (!reply)
        return 8;
    bytes_put_f64(to + 8, p->busy_s);
    return 16;
}

int split_ping_decode(struct split_ping *ret, const uint8_t *p, size_t len, bool reply)
{
    if (len != (reply ? 16 : 8))
        return -EPROTO;
    struct split_ping g = {bytes_get_u64(p), reply ? bytes_get_f64(p + 8) : 0};
    if (!isfinite(g.busy_s))
        return -EPROTO;
    *ret = g;
    return 0;
}

static bool printable(uint8_t c)
{
    return c >= 0x20 && c != 0x7f;
}

size_t split_error_encode(uint8_t *to, unsigned code, const char *text)
{
    size_t n = strnlen(text, SPLIT_MAX_TEXT);
    bytes_put_u16(to, (uint16_t)code);
    bytes_put_u16(to + 2, 0);
    for (size_t i = 0; i < n; i++)
        to[4 + i] = printable((uint8_t)text[i]) ? (uint8_t)text[i] : ' ';
    return 4 + n;
}

int split_error_decode(struct split_error *ret, const uint8_t *p, size_t len)
{
    if (len < 4 || len > 4 + SPLIT_MAX_TEXT || !bytes_get_u16(p) || bytes_get_u16(p) >= SPLIT_ERR_END ||
        bytes_get_u16(p + 2))
        return -EPROTO;
    for (size_t i = 4; i < len; i++)
        if (!printable(p[i]))
            return -EPROTO;
    ret->code = (enum split_error_code)bytes_get_u16(p);
    memcpy(ret->text, p + 4, len - 4);
    ret->text[len - 4] = 0;
    return 0;
}
