#include "router/identity.h"

#include "base/buf.h"
#include "base/hex.h"
#include "crypto/curve25519.h"
#include "os/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static int parse(const char *text, size_t len, uint8_t ret[32])
{
    if (len < 64 || strspn(text, "0123456789abcdef") != 64 || strspn(text + 64, "\n") != len - 64)
        return -EINVAL;
    for (int i = 0; i < 32; i++) {
        unsigned v;
        if (sscanf(text + 2 * i, "%2x", &v) != 1)
            return -EINVAL;
        ret[i] = (uint8_t)v;
    }
    return 0;
}

static int make(const char *path, uint8_t ret[32], struct error *err)
{
    char text[66];
    if (getrandom(ret, 32, 0) != 32)
        return error_set(err, EIO, "the kernel gives no random bytes");
    hex_put(text, ret, 32);
    strcat(text, "\n");
    int rc = file_write(path, text, 65, 0600, err);
    explicit_bzero(text, sizeof(text));
    return rc;
}

int identity_read(const char *path, uint8_t ret_seed[32], struct error *err)
{
    struct stat st;
    if (stat(path, &st))
        return error_set(err, errno, "%s: %s", path, strerror(errno));
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        return error_set(err, EPERM, "%s: others may read this key; chmod 600 it, or better make a new one", path);
    struct buf b = {0};
    int rc = file_read(&b, path, 4096, err);
    if (!rc && parse(buf_str(&b), b.len, ret_seed))
        rc = error_set(err, EINVAL, "%s: this is no key (64 hexadecimal digits)", path);
    if (b.data)
        explicit_bzero(b.data, b.len);
    buf_done(&b);
    return rc;
}

int identity_load(const char *path, uint8_t ret_seed[32], bool *ret_made, struct error *err)
{
    *ret_made = access(path, F_OK) != 0 && errno == ENOENT;
    return *ret_made ? make(path, ret_seed, err) : identity_read(path, ret_seed, err);
}

int identity_public(const uint8_t seed[32], uint8_t ret[32], struct error *err)
{
    struct ed25519 *k;
    if (ed25519_create(&k, seed))
        return error_set(err, ENOMEM, "no memory");
    memcpy(ret, ed25519_public(k), 32);
    ed25519_free(k);
    return 0;
}
