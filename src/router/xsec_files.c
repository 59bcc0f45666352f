#include "router/xsec_files.h"

#include "os/file.h"
#include "router/identity.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define GENERATION "generation"
#define LIST       "revoked"

static int load(enum xsec_file want, uint8_t to[XSEC_FILE_MOST], size_t *ret_len, const char *path, struct error *err)
{
    struct buf text = {0};
    enum xsec_file kind;
    int rc = file_read(&text, path, 1 << 16, err);
    if (rc == 0 && xsec_text_decode(&kind, to, ret_len, buf_str(&text), text.len))
        rc = error_set(err, EINVAL, "%s: this is no %s of xSEC, or it was cut", path, xsec_file_name(want));
    else if (rc == 0 && kind != want)
        rc = error_set(err, EINVAL, "%s: this is a %s, not a %s", path, xsec_file_name(kind), xsec_file_name(want));
    buf_done(&text);
    return rc;
}

int xsec_kit_load(struct xsec_kit *ret, const char *path, struct error *err)
{
    uint8_t bytes[XSEC_FILE_MOST];
    size_t len;
    int rc = load(XSEC_FILE_KIT, bytes, &len, path, err);
    if (rc == 0 && xsec_kit_decode(ret, bytes, len))
        rc = error_set(err, EINVAL, "%s: this kit was cut or changed: run `meridian xsec enrol` again", path);
    return rc;
}

int xsec_list_load(uint8_t ret[XSEC_REVOCATIONS_MOST], size_t *ret_len, const char *path, struct error *err)
{
    uint8_t bytes[XSEC_FILE_MOST];
    struct xsec_revocations r;
    size_t len;
    int rc = load(XSEC_FILE_LIST, bytes, &len, path, err);
    if (rc == 0 && xsec_revocations_decode(&r, bytes, len))
        rc = error_set(err, EINVAL, "%s: this list was cut or changed", path);
    if (rc)
        return rc;
    memcpy(ret, bytes, len);
    *ret_len = len;
    return 0;
}

int xsec_psk_load(uint8_t ret[32], const char *path, struct error *err)
{
    return identity_read(path, ret, err);
}

/* --- between two lives --------------------------------------------------------------------------------------------------- */

static int place(char to[4096], const char *state, const char *file, struct error *err)
{
    if (snprintf(to, 4096, "%s/%s", state, file) >= 4096)
        return error_set(err, ENAMETOOLONG, "%.60s…: this path is too long", state);
    return 0;
}

int xsec_generation_load(uint64_t *ret, const char *state, struct error *err)
{
    char path[4096], *end;
    struct buf text = {0};
    uint64_t generation = 0;
    int rc = file_make_dir(state, 0700, err);
    rc = rc ? rc : place(path, state, GENERATION, err);
    rc = rc ? rc : file_read(&text, path, 64, err);
    if (rc == 0) {
        errno = 0;
        generation = strtoull(buf_str(&text), &end, 10);
        if (errno || end == buf_str(&text) || *end != '\n' || end[1] || text.data[0] == '-')
            rc = error_set(err, EINVAL,
                "%s: this is no generation; without it a key could be used twice: if it is lost, remove the file and "
                "the wall clock will serve",
                path);
    }
    buf_done(&text);
    if (rc && rc != -ENOENT)
        return rc;
    *ret = generation;
    return 0;
}

int xsec_generation_keep(const char *state, uint64_t generation, struct error *err)
{
    char path[4096], text[32];
    int n = snprintf(text, sizeof text, "%" PRIu64 "\n", generation);
    int rc = place(path, state, GENERATION, err);
    return rc ? rc : file_write(path, text, (size_t)n, 0600, err);
}

int xsec_list_keep(const char *state, const uint8_t *list, size_t len, struct error *err)
{
    char path[4096];
    struct buf text = {0};
    int rc = place(path, state, LIST, err);
    if (rc == 0 && xsec_text_encode(&text, XSEC_FILE_LIST, list, len))
        rc = error_set(err, ENOMEM, "not enough memory");
    rc = rc ? rc : file_write(path, text.data, text.len, 0600, err);
    buf_done(&text);
    return rc;
}
