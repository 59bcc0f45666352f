/* Checkpoints: step-N.state (weights and optimiser of the campus's parts) and step-N.json (that it counts, and where the
 * data and the best result stand). The middle keeps its own under the same N.
 *
 * A step counts from the moment its .json is there. It is written last, so a crash at any point leaves the one before. */
#include "split/trainer_inner.h"

#include "base/hex.h"
#include "os/file.h"
#include "split/lora_result.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yyjson.h>

#define MOST_JSON 65536u

static void path_of(char to[4096], const char *dir, uint64_t step, const char *kind)
{
    snprintf(to, 4096, "%s/step-%" PRIu64 ".%s", dir, step, kind);
}

static bool hex_parse(uint8_t *to, size_t n, const char *hex)
{
    if (!hex || strlen(hex) != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned v;
        if (sscanf(hex + 2 * i, "%2x", &v) != 1)
            return false;
        to[i] = (uint8_t)v;
    }
    return true;
}

/* --- the note ---------------------------------------------------------------------------------------------------- */

static int note_write(struct trainer *t, struct error *err)
{
    char path[4096], run[33] = "", hash[17];
    const struct trainer_state *st = &t->st;
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *o = yyjson_mut_obj(doc);
    yyjson_mut_doc_set_root(doc, o);
    hex_put(run, st->run, 16);
    snprintf(hash, sizeof(hash), "%016" PRIx64, dataset_hash(t->data));
    yyjson_mut_obj_add_uint(doc, o, "format", 1);
    yyjson_mut_obj_add_str(doc, o, "run", run);
    yyjson_mut_obj_add_uint(doc, o, "step", st->step);
    yyjson_mut_obj_add_uint(doc, o, "epoch", st->cursor.epoch);
    yyjson_mut_obj_add_uint(doc, o, "at", st->cursor.at);
    yyjson_mut_obj_add_uint(doc, o, "rows", st->rows);
    if (!isnan(st->best_loss))
        yyjson_mut_obj_add_real(doc, o, "best_loss", st->best_loss);
    yyjson_mut_obj_add_uint(doc, o, "best_step", st->best_step);
    yyjson_mut_obj_add_uint(doc, o, "accumulate", t->cfg.accumulate);
    yyjson_mut_obj_add_str(doc, o, "data", hash);
    yyjson_mut_obj_add_str(doc, o, "settings", t->cfg.fingerprint);
    size_t len = 0;
    char *text = yyjson_mut_write(doc, YYJSON_WRITE_PRETTY, &len);
    path_of(path, t->cfg.dir, st->step, "json");
    int rc = text ? file_write(path, text, len, 0600, err) : error_set(err, ENOMEM, "no memory for a checkpoint");
    free(text);
    yyjson_mut_doc_free(doc);
    return rc;
}

static uint64_t number(yyjson_val *o, const char *key)
{
    return yyjson_get_uint(yyjson_obj_get(o, key));
}

static int note_parse(
    const char *path, const struct buf *b, struct trainer_state *ret, yyjson_doc **ret_doc, struct error *err)
{
    yyjson_doc *doc = yyjson_read((const char *)b->data, b->len, 0);
    yyjson_val *o = yyjson_doc_get_root(doc), *best = yyjson_obj_get(o, "best_loss");
    struct trainer_state st = {
        .step = number(o, "step"),
        .rows = number(o, "rows"),
        .cursor = {.epoch = number(o, "epoch"), .at = number(o, "at")},
        .best_loss = yyjson_is_num(best) ? yyjson_get_num(best) : NAN,
        .best_step = number(o, "best_step"),
    };
    if (number(o, "format") != 1 || !hex_parse(st.run, 16, yyjson_get_str(yyjson_obj_get(o, "run")))) {
        yyjson_doc_free(doc);
        return error_set(err, EINVAL, "%s is not a note of a checkpoint: remove it to use an older one", path);
    }
    *ret = st;
    *ret_doc = doc;
    return 0;
}

/* Reads the note of `step`; the caller frees *ret_doc. */
static int note_read(const char *dir, uint64_t step, struct trainer_state *ret, yyjson_doc **ret_doc, struct error *err)
{
    char path[4096];
    struct buf b = {0};
    path_of(path, dir, step, "json");
    int rc = file_read(&b, path, MOST_JSON, err);
    if (!rc)
        rc = note_parse(path, &b, ret, ret_doc, err);
    if (!rc && ret->step != step) {
        yyjson_doc_free(*ret_doc);
        rc = error_set(
            err, EINVAL, "%s is the note of step %" PRIu64 ": remove it to use an older one", path, ret->step);
    }
    buf_done(&b);
    return rc;
}

/* A run goes on only with what it was begun with: anything else would be another run under its name. */
static int note_fits(const struct trainer *t, yyjson_doc *doc, struct error *err)
{
    yyjson_val *o = yyjson_doc_get_root(doc);
    const char *data = yyjson_get_str(yyjson_obj_get(o, "data"));
    const char *settings = yyjson_get_str(yyjson_obj_get(o, "settings"));
    char hash[17];
    snprintf(hash, sizeof(hash), "%016" PRIx64, dataset_hash(t->data));
    if (!data || strcmp(data, hash))
        return error_set(
            err, EINVAL, "the data (or how it is split and batched) differs from what this run was begun with");
    if (number(o, "accumulate") != t->cfg.accumulate)
        return error_set(err, EINVAL, "this run was begun with %" PRIu64 " micro-batches a step, not %u",
            number(o, "accumulate"), t->cfg.accumulate);
    if (!settings || strcmp(settings, t->cfg.fingerprint))
        return error_set(err, EINVAL, "this run was begun with other settings: %s; now: %s", settings ? settings : "?",
            t->cfg.fingerprint);
    return 0;
}

/* --- which there are --------------------------------------------------------------------------------------------- */

/* Notes in `dir`, the newest first. */
static int scan(const char *dir, uint64_t ret[16], uint32_t *ret_n, struct error *err)
{
    DIR *d = opendir(dir);
    uint32_t n = 0;
    if (!d)
        return error_set(err, errno, "%s cannot be read: %s", dir, strerror(errno));
    for (struct dirent *e; (e = readdir(d));) {
        uint64_t step;
        int end = 0;
        if (sscanf(e->d_name, "step-%" SCNu64 ".json%n", &step, &end) != 1 || !end || e->d_name[end])
            continue;
        uint32_t at = n < 16 ? n++ : 15;
        for (; at > 0 && ret[at - 1] < step; at--)
            ret[at] = ret[at - 1];
        ret[at] = step;
    }
    closedir(d);
    *ret_n = n;
    return 0;
}

int trainer_scan(struct trainer *t, struct error *err)
{
    uint64_t steps[16];
    uint32_t n = 0;
    int rc = scan(t->cfg.dir, steps, &n, err);
    if (rc)
        return rc;
    t->n_generations = n < 2 ? n : 2;
    memcpy(t->generations, steps, sizeof(uint64_t) * t->n_generations);
    return 0;
}

int trainer_find(const char *dir, uint8_t ret_run[16], uint64_t *ret_step, struct error *err)
{
    uint64_t steps[16];
    uint32_t n = 0;
    struct trainer_state st;
    yyjson_doc *doc;
    int rc = scan(dir, steps, &n, err);
    if (!rc && !n)
        rc = error_set(err, ENOENT, "%s holds no checkpoint to resume from", dir);
    if (!rc)
        rc = note_read(dir, steps[0], &st, &doc, err);
    if (rc)
        return rc;
    yyjson_doc_free(doc);
    memcpy(ret_run, st.run, 16);
    *ret_step = st.step;
    return 0;
}

static void remove_generation(const char *dir, uint64_t step)
{
    char path[4096];
    path_of(path, dir, step, "json");
    unlink(path);
    path_of(path, dir, step, "state");
    unlink(path);
}

/* Keeps the newest two; what is newer than now belongs to a future that was given up. */
static void prune(struct trainer *t)
{
    uint64_t steps[16];
    uint32_t n = 0, kept = 0;
    if (scan(t->cfg.dir, steps, &n, NULL))
        return;
    for (uint32_t i = 0; i < n; i++) {
        if (steps[i] > t->st.step || kept == 2)
            remove_generation(t->cfg.dir, steps[i]);
        else
            t->generations[kept++] = steps[i];
    }
    t->n_generations = kept;
}

/* --- taking and going back --------------------------------------------------------------------------------------- */

static struct model_cut cut_at(const struct trainer *t, uint64_t step)
{
    struct model_cut cut = t->p->cut;
    cut.step += step;
    if (step)
        memcpy(cut.run, t->cfg.run, sizeof(cut.run));
    return cut;
}

/* Notes that are newer than now are taken away first: their weights are about to be replaced. */
static void forget_future(const struct trainer *t)
{
    uint64_t steps[16];
    uint32_t n = 0;
    if (scan(t->cfg.dir, steps, &n, NULL))
        return;
    for (uint32_t i = 0; i < n; i++)
        if (steps[i] >= t->st.step)
            remove_generation(t->cfg.dir, steps[i]);
}

int trainer_save(struct trainer *t, struct error *err)
{
    char path[4096];
    struct model_cut cut = cut_at(t, t->st.step);
    forget_future(t);
    path_of(path, t->cfg.dir, t->st.step, "state");
    int rc = train_save(t->edge, path, &cut, err);
    if (rc)
        return rc;
    if (t->middle && t->st.step) { /* step 0 it has: it is what was installed */
        rc = t->middle->ops->save(t->middle, t->st.step, &cut, false);
        if (rc)
            return error_set(err, -rc, "the cloud cannot be asked for a checkpoint: %s", strerror(-rc));
        rc = trainer_await(t, TRAIN_SAVED, t->st.step, err);
        if (rc)
            return rc;
    }
    rc = note_write(t, err);
    if (rc)
        return rc;
    prune(t);
    t->saved_step = t->st.step;
    return 0;
}

static bool middle_has(const struct trainer *t, uint64_t step, bool any)
{
    if (any || !step || !t->middle)
        return true;
    for (uint32_t i = 0; i < t->n_lost_steps; i++)
        if (t->lost_steps[i] == step)
            return true;
    return false;
}

static int load(struct trainer *t, uint64_t step, struct error *err)
{
    char path[4096];
    struct trainer_state st;
    struct model_cut cut;
    yyjson_doc *doc;
    int rc = note_read(t->cfg.dir, step, &st, &doc, err);
    if (rc)
        return rc;
    rc = note_fits(t, doc, err);
    yyjson_doc_free(doc);
    if (!rc && memcmp(st.run, t->cfg.run, 16))
        rc = error_set(err, EINVAL, "%s holds another run", t->cfg.dir);
    path_of(path, t->cfg.dir, step, "state");
    if (!rc)
        rc = train_load(t->edge, path, &cut, err);
    if (!rc && cut.step != t->p->cut.step + step)
        rc = error_set(err, EBADMSG, "%s is of another step than its name says", path);
    if (!rc && t->middle) {
        rc = t->middle->ops->load(t->middle, step);
        if (rc)
            return error_set(
                err, -rc, "the cloud cannot be asked to go back to step %" PRIu64 ": %s", step, strerror(-rc));
        rc = trainer_await(t, TRAIN_LOADED, step, err);
    }
    if (!rc)
        t->st = st;
    return rc;
}

int trainer_restore(struct trainer *t, bool any, struct error *err)
{
    trainer_pipe_drop(t);
    int rc = trainer_scan(t, err);
    for (uint32_t i = 0; !rc && i < t->n_generations; i++)
        if (middle_has(t, t->generations[i], any)) {
            rc = load(t, t->generations[i], err);
            trainer_pipe_drop(t);
            if (!rc)
                prune(t);
            t->saved_step = t->st.step;
            return rc;
        }
    return rc ? rc
              : error_set(err, ENOENT,
                    "the cloud lost its checkpoints: none of those in %s is there any more; begin again without "
                    "--resume",
                    t->cfg.dir);
}

/* --- results ----------------------------------------------------------------------------------------------------- */

/* DIR/edge.gguf, edge-best.gguf, model.gguf, … and with adapters edge-adapter.gguf beside. */
static int export_campus(struct trainer *t, bool best, const struct model_cut *cut, struct error *err)
{
    char model[4096], adapter[4096];
    const char *what = t->middle ? "edge" : "model", *which = best ? "-best" : "";
    snprintf(model, sizeof(model), "%s/%s%s.gguf", t->cfg.dir, what, which);
    snprintf(adapter, sizeof(adapter), "%s/%s-adapter%s.gguf", t->cfg.dir, what, which);
    if (!t->cfg.lora)
        return train_export(t->edge, model, cut, t->cfg.keep_types, err);
    if (!t->cfg.base)
        return train_export_lora(t->edge, adapter, cut, err);
    return lora_result_write(t->edge, t->cfg.base, adapter, model, cut, t->cfg.keep_types, err);
}

int trainer_export(struct trainer *t, bool best, struct error *err)
{
    struct model_cut cut = cut_at(t, t->st.step);
    int rc = export_campus(t, best, &cut, err);
    if (rc || !t->middle)
        return rc;
    rc = t->middle->ops->save(t->middle, t->st.step, &cut, true);
    return rc ? error_set(err, -rc, "the cloud cannot be asked for its half: %s", strerror(-rc))
              : trainer_await(t, TRAIN_SAVED, t->st.step, err);
}
