/* Checkpoints. Layout, little-endian:
 *
 *   "MERITRN1", u32 length of the identity, identity, u64 step, run [16], weights, m, v (arenas as they lie in memory),
 *   SHA-256 of everything before it.
 *
 * The identity says what the numbers mean: cut, parts, adapters, every parameter's name and shape, and a fingerprint of
 * the frozen weights that were computed with. Two trainers with the same identity can take over each other's numbers. */
#include "compute/train_impl.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "crypto/sha256.h"
#include "os/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC     "MERITRN1"
#define HEAD      12        /* magic and length of the identity */
#define SAMPLE    4096      /* bytes of each end of a frozen tensor in the fingerprint */
#define PIECE     (1 << 20) /* bytes written and hashed at once */
#define STEP_SIZE (8 + 16)

/* --- identity -------------------------------------------------------------------------------------------------------- */

static void add_tensor(struct sha256 *h, const struct gguf_tensor *t)
{
    size_t n = t->size < SAMPLE ? t->size : SAMPLE;
    sha256_add(h, t->name, strlen(t->name));
    sha256_add(h, &t->type, sizeof t->type);
    sha256_add(h, t->data, n);
    sha256_add(h, (const char *)t->data + t->size - n, n);
}

/* Of what is used but not trained: such weights are not in the checkpoint, so they must be the same when it is loaded. */
static int frozen_fingerprint(const struct train *x, uint8_t ret[32])
{
    struct sha256 *h = sha256_create();
    if (!h)
        return -ENOMEM;
    for (uint32_t i = 0; i < x->n_parts; i++)
        for (uint32_t j = 0; j < x->parts[i].n_blocks; j++)
            for (uint32_t k = 0; k < N_MATS; k++)
                if (!x->parts[i].blocks[j].m[k].w)
                    add_tensor(h, x->parts[i].blocks[j].m[k].t);
    if (x->embed.t && !x->embed.w)
        add_tensor(h, x->embed.t);
    if (x->output.t && !x->output.w)
        add_tensor(h, x->output.t);
    return sha256_end(h, ret);
}

static void put_u32(struct buf *b, uint32_t v)
{
    uint8_t raw[4];
    bytes_put_u32(raw, v);
    buf_append(b, raw, 4);
}

static void put_parts(const struct train *x, struct buf *b)
{
    put_u32(b, x->n_parts);
    for (uint32_t i = 0; i < x->n_parts; i++) {
        const struct part *p = &x->parts[i];
        put_u32(b, p->span.first);
        put_u32(b, p->span.last);
        put_u32(b, (uint32_t)p->span.embed | (uint32_t)p->span.output << 1 | (uint32_t)p->freeze << 2);
    }
    uint32_t alpha;
    memcpy(&alpha, &x->cfg.lora_alpha, 4);
    put_u32(b, x->cfg.lora_rank);
    put_u32(b, x->cfg.lora_rank ? alpha : 0);
}

static void put_params(const struct train *x, struct buf *b)
{
    put_u32(b, x->n_params);
    for (uint32_t i = 0; i < x->n_params; i++) {
        const struct param *p = &x->params[i];
        buf_append(b, p->name, strlen(p->name) + 1);
        put_u32(b, p->n_out);
        put_u32(b, p->n_in);
    }
}

#define CUT_SIZE (4 + 32 + 4 + 4) /* the identity begins with the cut */

static int make_identity(const struct train *x, struct buf *b, struct error *err)
{
    uint8_t frozen[32];
    int rc = frozen_fingerprint(x, frozen);
    if (rc == 0)
        rc = buf_reserve(b, 1024 + sizeof(struct param) * (size_t)x->n_params); /* nothing below can fail */
    if (rc < 0)
        return error_set(err, -rc, "a checkpoint's identity could not be made");
    put_u32(b, x->p.cut.part);
    buf_append(b, x->p.cut.id, sizeof x->p.cut.id);
    put_u32(b, x->p.cut.head);
    put_u32(b, x->p.cut.tail);
    put_parts(x, b);
    put_params(x, b);
    buf_append(b, frozen, sizeof frozen);
    return 0;
}

/* --- saving ---------------------------------------------------------------------------------------------------------- */

struct sink {
    struct file_new file;
    struct sha256 *hash;
};

static int sink_put(struct sink *s, const void *bytes, uint64_t len)
{
    for (uint64_t at = 0, n; at < len; at += n) {
        n = len - at < PIECE ? len - at : PIECE;
        sha256_add(s->hash, (const char *)bytes + at, n);
        int rc = file_write_all(s->file.fd, (const char *)bytes + at, n);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int put_all(const struct train *x, struct sink *s, const struct buf *identity, const struct model_cut *cut)
{
    uint8_t head[HEAD], step[STEP_SIZE], digest[32];
    const float *arenas[] = {x->w, x->m, x->v};
    memcpy(head, MAGIC, 8);
    bytes_put_u32(head + 8, (uint32_t)identity->len);
    bytes_put_u64(step, cut->step);
    memcpy(step + 8, cut->run, 16);
    int rc = sink_put(s, head, sizeof head);
    if (rc == 0)
        rc = sink_put(s, identity->data, identity->len);
    if (rc == 0)
        rc = sink_put(s, step, sizeof step);
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = sink_put(s, arenas[i], x->n_weights * sizeof(float));
    struct sha256 *hash = s->hash;
    s->hash = NULL;
    int hashed = sha256_end(hash, digest);
    if (rc == 0)
        rc = hashed;
    return rc == 0 ? file_write_all(s->file.fd, digest, sizeof digest) : rc;
}

int train_save(const struct train *x, const char *path, const struct model_cut *cut, struct error *err)
{
    struct buf identity = {0};
    struct sink s = {.hash = NULL};
    int rc = make_identity(x, &identity, err);
    if (rc == 0)
        rc = file_new_open(&s.file, path, 0600, err);
    if (rc < 0) {
        buf_done(&identity);
        return rc;
    }
    s.hash = sha256_create();
    rc = s.hash ? put_all(x, &s, &identity, cut) : -ENOMEM;
    buf_done(&identity);
    if (rc < 0) {
        file_new_abandon(&s.file);
        return error_set(err, -rc, "checkpoint %s could not be written: %s", path, strerror(-rc));
    }
    return file_new_commit(&s.file, err);
}

/* --- loading --------------------------------------------------------------------------------------------------------- */

static int not_whole(const char *path, struct error *err)
{
    return error_set(err, EINVAL, "%s is damaged or not complete: use the checkpoint before it", path);
}

static int check_identity(const struct train *x, const uint8_t *theirs, size_t len, const struct buf *ours,
    const char *path, struct error *err)
{
    if (len == ours->len && memcmp(theirs, ours->data, len) == 0)
        return 0;
    if (len < CUT_SIZE || memcmp(theirs, ours->data, CUT_SIZE) != 0) {
        char name[48];
        model_cut_name(&x->p.cut, name);
        return error_set(
            err, EINVAL, "%s is a checkpoint of another cut than %s (%s)", path, gguf_file_name(x->f), name);
    }
    return error_set(err, EINVAL,
        "%s is a checkpoint of another training than this: parts, frozen weights or adapters differ", path);
}

/* The file's size, digest and identity; nothing in it is used before. */
static int check_file(
    const struct train *x, const struct file_map *m, const struct buf *ours, const char *path, struct error *err)
{
    uint8_t digest[32];
    if (m->size < HEAD || memcmp(m->data, MAGIC, 8) != 0)
        return error_set(err, EINVAL, "%s is not a training checkpoint", path);
    uint64_t len = bytes_get_u32(m->data + 8);
    if (m->size < HEAD + len + STEP_SIZE + 32)
        return not_whole(path, err);
    int rc = sha256_of(m->data, m->size - 32, digest);
    if (rc < 0)
        return error_set(err, -rc, "%s could not be checked", path);
    if (memcmp(digest, m->data + m->size - 32, 32) != 0)
        return not_whole(path, err);
    rc = check_identity(x, m->data + HEAD, len, ours, path, err);
    if (rc == 0 && m->size != HEAD + len + STEP_SIZE + 3 * x->n_weights * sizeof(float) + 32)
        rc = not_whole(path, err);
    return rc;
}

static void take_over(struct train *x, const uint8_t *at, struct model_cut *ret_cut)
{
    float *arenas[] = {x->w, x->m, x->v};
    *ret_cut = x->p.cut;
    ret_cut->step = bytes_get_u64(at);
    memcpy(ret_cut->run, at + 8, 16);
    at += STEP_SIZE;
    for (int i = 0; i < 3 && x->n_weights; i++, at += x->n_weights * sizeof(float))
        memcpy(arenas[i], at, x->n_weights * sizeof(float));
    train_grad_zero(x);
    for (uint32_t i = 0; i < x->n_parts; i++)
        for (uint32_t j = 0; j < x->parts[i].n_slots; j++)
            x->parts[i].slots[j].state = SLOT_FREE;
}

int train_load(struct train *x, const char *path, struct model_cut *ret_cut, struct error *err)
{
    struct buf ours = {0};
    struct file_map m = {0};
    int rc = make_identity(x, &ours, err);
    if (rc == 0)
        rc = file_map_open(&m, path, err);
    if (rc == 0) {
        rc = check_file(x, &m, &ours, path, err);
        if (rc == 0)
            take_over(x, m.data + HEAD + ours.len, ret_cut);
        file_map_close(&m);
    }
    buf_done(&ours);
    return rc;
}
