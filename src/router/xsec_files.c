#include "router/xsec_files.h"

#include "os/file.h"
#include "router/identity.h"

#include <errno.h>

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
