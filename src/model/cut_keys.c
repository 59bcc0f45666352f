/* The keys by which a file says which half of which cut it is. */
#include "model/cut.h"

#include "base/hex.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void model_cut_write(struct gguf_write *w, const struct model_cut *cut)
{
    static const char *const keys[] = {"part", "id", "head", "tail", "step", "run", "tensors"};
    char text[65];
    if (cut->part == MODEL_WHOLE) {
        for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
            snprintf(text, sizeof(text), "meridian.cut.%s", keys[i]);
            gguf_write_drop(w, text);
        }
        return;
    }
    gguf_write_str(w, "meridian.cut.part", cut->part == MODEL_EDGE ? "edge" : "cloud");
    hex_put(text, cut->id, sizeof(cut->id));
    gguf_write_str(w, "meridian.cut.id", text);
    gguf_write_u32(w, "meridian.cut.head", cut->head);
    gguf_write_u32(w, "meridian.cut.tail", cut->tail);
    gguf_write_u64(w, "meridian.cut.step", cut->step);
    hex_put(text, cut->run, sizeof(cut->run));
    gguf_write_str(w, "meridian.cut.run", text);
}

static int unusable(const struct gguf_file *f, const char *key, struct error *err)
{
    return error_set(
        err, EINVAL, "%s: key %s is missing or makes no sense; the file is corrupt", gguf_file_name(f), key);
}

static int read_hex(const struct gguf_file *f, const char *key, uint8_t *to, size_t n, struct error *err)
{
    struct gguf_str s;
    if (gguf_file_str(f, key, &s) || s.len != 2 * n)
        return unusable(f, key, err);
    for (size_t i = 0; i < 2 * n; i++) {
        static const char digits[] = "0123456789abcdef";
        const char *at = s.s[i] ? strchr(digits, s.s[i]) : NULL;
        if (!at)
            return unusable(f, key, err);
        to[i / 2] = (uint8_t)(to[i / 2] << 4 | (at - digits));
    }
    return 0;
}

static bool str_is(struct gguf_str s, const char *word)
{
    return s.len == strlen(word) && !memcmp(s.s, word, s.len);
}

int model_cut_read(struct model_cut *ret, const struct gguf_file *f, struct error *err)
{
    struct gguf_str part;
    struct model_cut cut = {.part = MODEL_WHOLE};
    int rc = gguf_file_str(f, "meridian.cut.part", &part);
    if (rc == -ENOENT) {
        *ret = cut;
        return 0;
    }
    if (rc || (!str_is(part, "edge") && !str_is(part, "cloud")))
        return unusable(f, "meridian.cut.part", err);
    cut.part = str_is(part, "edge") ? MODEL_EDGE : MODEL_CLOUD;
    rc = read_hex(f, "meridian.cut.id", cut.id, sizeof(cut.id), err);
    if (!rc)
        rc = read_hex(f, "meridian.cut.run", cut.run, sizeof(cut.run), err);
    if (!rc && (gguf_file_u32(f, "meridian.cut.head", &cut.head) || cut.head > 1 << 16))
        rc = unusable(f, "meridian.cut.head", err);
    if (!rc && (gguf_file_u32(f, "meridian.cut.tail", &cut.tail) || cut.tail > 1 << 16))
        rc = unusable(f, "meridian.cut.tail", err);
    if (!rc && gguf_file_u64(f, "meridian.cut.step", &cut.step))
        rc = unusable(f, "meridian.cut.step", err);
    if (!rc)
        *ret = cut;
    return rc;
}
