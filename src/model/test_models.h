/* For tests: a folder of their own and tiny models in it. */
#ifndef MERIDIAN_MODEL_TEST_MODELS_H
#define MERIDIAN_MODEL_TEST_MODELS_H

#include "base/test.h"
#include "model/init.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char test_folder[] = "/tmp/meridian-model-test-XXXXXX";

__attribute__((unused)) static int test_folder_make(void **state)
{
    return mkdtemp(test_folder) ? 0 : -1;
}

__attribute__((unused)) static int test_folder_remove(void **state)
{
    DIR *dir = opendir(test_folder);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", test_folder, e->d_name);
        if (e->d_name[0] != '.')
            unlink(path);
    }
    if (dir)
        closedir(dir);
    return rmdir(test_folder);
}

/* A path in the folder; the last 64 stay valid. */
__attribute__((unused)) static const char *test_path(const char *name)
{
    static char paths[64][512];
    static int at;
    at = (at + 1) % 64;
    snprintf(paths[at], sizeof(paths[at]), "%s/%s", test_folder, name);
    return paths[at];
}

/* 5 blocks, every tensor noisy. */
__attribute__((unused)) static struct model_init test_tiny(enum model_arch arch)
{
    return (struct model_init){.arch = arch,
        .d = 64,
        .n_block = 5,
        .n_head = 4,
        .n_head_kv = 2,
        .d_ff = 96,
        .n_ctx = 128,
        .tied = arch == MODEL_QWEN2,
        .rough = true,
        .seed = 7,
        .name = "tiny canary-name"};
}

__attribute__((unused)) static void test_make(const struct model_init *cfg, const char *path)
{
    struct error err = {""};
    if (model_init(cfg, path, NULL, &err))
        fail_msg("%s", err.text);
}

__attribute__((unused)) static struct gguf_file *test_open(const char *path)
{
    struct gguf_file *f = NULL;
    struct error err = {""};
    if (gguf_file_open(&f, path, &err))
        fail_msg("%s", err.text);
    return f;
}

/* Copies a file; `change` (may be NULL) may set and drop keys, `drop` (may be NULL) names a tensor to leave out. */
__attribute__((unused)) static void test_copy(
    const char *from, const char *to, void (*change)(struct gguf_write *w), const char *drop)
{
    struct gguf_file *f = test_open(from);
    struct gguf_write *w = NULL;
    struct error err = {""};
    assert_int_equal(gguf_write_create(&w, &err), 0);
    gguf_write_keys_of(w, f, NULL, NULL);
    if (change)
        change(w);
    for (size_t i = 0; i < gguf_file_n_tensors(f); i++)
        if (!drop || strcmp(gguf_file_tensor_at(f, i)->name, drop))
            gguf_write_tensor_like(w, gguf_file_tensor_at(f, i));
    assert_int_equal(gguf_write_open(w, to, 0600, NULL, &err), 0);
    for (size_t i = 0; i < gguf_file_n_tensors(f); i++) {
        const struct gguf_tensor *t = gguf_file_tensor_at(f, i);
        if (!drop || strcmp(t->name, drop))
            assert_int_equal(gguf_write_data(w, t->data, t->size, &err), 0);
    }
    assert_int_equal(gguf_write_commit(w, &err), 0);
    gguf_write_free(w);
    gguf_file_close(f);
}

#endif
