#include "base/hex.h"
#include "cloud/authority.h"
#include "cloud/supervisor.h"
#include "os/file.h"

#include <errno.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yyjson.h>

static int path_in(char to[4096], const char *dir, const char *name, struct error *err)
{
    if (snprintf(to, 4096, "%s/%s", dir, name) >= 4096)
        return error_set(err, ENAMETOOLONG, "%s: path too long", dir);
    return 0;
}

static bool get_text(char *to, size_t cap, yyjson_val *o, const char *key)
{
    yyjson_val *v = yyjson_obj_get(o, key);
    size_t len = yyjson_get_len(v);
    if (!yyjson_is_str(v) || len >= cap || strlen(yyjson_get_str(v)) != len)
        return false;
    memcpy(to, yyjson_get_str(v), len + 1);
    return true;
}

int cloud_file_load(struct cloud_file *ret, const char *dir, struct error *err)
{
    char path[4096];
    struct buf text = {0};
    struct cloud_file f;
    int rc = path_in(path, dir, "cloud.json", err);
    if (!rc && access(path, F_OK))
        return error_set(err, ENOENT, "%s: there is no cloud here; meridian cloud invite or cloud run makes one", dir);
    if (!rc)
        rc = file_read(&text, path, 65536, err);
    if (rc)
        return rc;
    yyjson_doc *doc = yyjson_read((const char *)text.data, text.len, 0);
    yyjson_val *o = yyjson_doc_get_root(doc);
    if (!get_text(f.enrol, sizeof(f.enrol), o, "enrol") || !get_text(f.address, sizeof(f.address), o, "address"))
        rc = error_set(err, EINVAL, "%s: damaged; restore it", path);
    else
        *ret = f;
    yyjson_doc_free(doc);
    buf_done(&text);
    return rc;
}

int cloud_file_save(const struct cloud_file *f, const char *dir, struct error *err)
{
    char path[4096];
    size_t len = 0;
    char *text = NULL;
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    int rc = path_in(path, dir, "cloud.json", err);
    if (doc) {
        yyjson_mut_val *o = yyjson_mut_obj(doc);
        yyjson_mut_doc_set_root(doc, o);
        yyjson_mut_obj_add_str(doc, o, "enrol", f->enrol);
        yyjson_mut_obj_add_str(doc, o, "address", f->address);
        text = yyjson_mut_write(doc, YYJSON_WRITE_PRETTY, &len);
    }
    if (!rc)
        rc = text ? file_write(path, text, len, 0600, err) : error_set(err, ENOMEM, "out of memory");
    free(text);
    yyjson_mut_doc_free(doc);
    return rc;
}

int cloud_file_ensure(struct cloud_file *ret, const char *dir, struct error *err)
{
    static const char *const folders[] = {"hospitals", "stores"};
    char path[4096];
    int rc = file_make_dir(dir, 0700, err);
    for (int i = 0; !rc && i < 2; i++)
        if (!(rc = path_in(path, dir, folders[i], err)))
            rc = file_make_dir(path, 0700, err);
    if (!rc)
        rc = authority_ensure(dir, err);
    if (rc)
        return rc;
    rc = cloud_file_load(ret, dir, err);
    if (rc != -ENOENT)
        return rc;
    struct cloud_file f = {.address = ""};
    unsigned char raw[16];
    if (RAND_bytes(raw, sizeof(raw)) != 1)
        return error_set(err, EIO, "no randomness to be had");
    hex_put(f.enrol, raw, sizeof(raw));
    rc = cloud_file_save(&f, dir, err);
    if (!rc)
        *ret = f;
    return rc;
}
