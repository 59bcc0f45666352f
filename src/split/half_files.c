/* Halves from installed model files. */
#include "split/half_model.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static int open_cloud(struct gguf_file **ret, struct model_params *p, const char *path, struct error *err)
{
    int rc = gguf_file_open(ret, path, err);
    if (rc)
        return rc;
    rc = model_params_read(p, *ret, err);
    if (!rc && p->cut.part != MODEL_CLOUD)
        rc = error_set(err, EBADMSG, "this file is not the cloud's half of a cut model");
    if (rc)
        gguf_file_close(*ret);
    return rc;
}

static int files_check(const char *path, const struct model_cut *cut, struct error *err)
{
    struct gguf_file *f;
    struct model_params p;
    int rc = open_cloud(&f, &p, path, err);
    if (rc)
        return -EBADMSG;
    gguf_file_close(f);
    char has[48], wanted[48];
    model_cut_name(&p.cut, has);
    model_cut_name(cut, wanted);
    if (memcmp(p.cut.id, cut->id, 32) || p.cut.head != cut->head || p.cut.tail != cut->tail ||
        p.cut.step != cut->step || memcmp(p.cut.run, cut->run, 16))
        return error_set(err, EBADMSG,
            "the file to install is the cloud's half %s, the edge's half is %s: use two halves of one cut, run and "
            "step",
            has, wanted);
    return 0;
}

static int check_memory(const char *path, uint64_t more, uint64_t memory_bytes, struct error *err)
{
    struct stat st;
    if (!memory_bytes || stat(path, &st) || (uint64_t)st.st_size + more <= memory_bytes)
        return 0;
    return error_set(err, ENOMEM, "this half needs %.1f GB and may have %.1f GB: give the worker more memory",
        ((double)st.st_size + (double)more) / 1e9, (double)memory_bytes / 1e9);
}

static int files_serve(struct half_infer **ret, const char *path, uint64_t kv_bytes, uint64_t memory_bytes,
    uint32_t n_threads, uint32_t max_sessions, struct error *err)
{
    struct gguf_file *f;
    struct model_params p;
    int rc = check_memory(path, kv_bytes, memory_bytes, err);
    if (!rc)
        rc = open_cloud(&f, &p, path, err);
    if (rc)
        return rc;
    struct span span = span_middle(&p);
    uint64_t row = (uint64_t)(span.last - span.first) * 2 * p.n_head_kv * p.head_dim * 2; /* f16 keys and values */
    struct infer_config cfg = {
        .n_threads = n_threads, .max_rows = 256, .kv_rows = row ? kv_bytes / row : 0, .max_seqs = max_sessions};
    rc = half_infer_create(ret, f, &p, span, &cfg, err);
    if (rc)
        gguf_file_close(f);
    else
        half_infer_own(*ret, f);
    return rc;
}

static int files_train(struct half_train **ret, struct model_cut *ret_cut, const char *path,
    const struct split_train_config *c, uint64_t memory_bytes, uint32_t n_threads, struct error *err)
{
    struct gguf_file *f;
    struct model_params p;
    int rc = check_memory(path, 0, memory_bytes, err);
    if (!rc)
        rc = open_cloud(&f, &p, path, err);
    if (rc)
        return rc;
    struct train_config cfg = {.n_threads = n_threads,
        .max_rows = c->max_rows,
        .max_samples = c->max_samples,
        .lora_rank = c->lora_rank,
        .lora_alpha = c->lora_alpha,
        .lora_targets = c->lora_targets,
        .seed = c->seed,
        .recompute = c->recompute};
    rc = half_train_create(ret, f, &p, span_middle(&p), &cfg, c->n_slots, err);
    if (rc) {
        gguf_file_close(f);
        return rc;
    }
    half_train_own(*ret, f);
    *ret_cut = p.cut;
    return 0;
}

const struct service_halves half_files = {files_check, files_serve, files_train};
