#include "router/xsec_state.h"

#include "base/bytes.h"
#include "crypto/sha256.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD   22u
#define RECORD (HEAD + XSEC_REVOCATIONS_MOST + 32u)

_Static_assert(RECORD <= XSEC_STATE_PLACE, "a record fits its place");

static int encode(uint8_t to[RECORD], const struct xsec_state *s)
{
    memset(to, 0, RECORD);
    memcpy(to, "XSS1", 4);
    bytes_put_be64(to + 4, s->count);
    bytes_put_be64(to + 12, s->generation);
    bytes_put_be16(to + 20, s->list_len);
    memcpy(to + HEAD, s->list, s->list_len);
    return sha256_of(to, RECORD - 32, to + RECORD - 32);
}

static bool decode(struct xsec_state *ret, const uint8_t *from)
{
    uint8_t sum[32];
    if (sha256_of(from, RECORD - 32, sum) || memcmp(from, "XSS1", 4) != 0 || memcmp(sum, from + RECORD - 32, 32) != 0 ||
        bytes_get_be16(from + 20) > XSEC_REVOCATIONS_MOST)
        return false;
    ret->count = bytes_get_be64(from + 4);
    ret->generation = bytes_get_be64(from + 12);
    ret->list_len = bytes_get_be16(from + 20);
    memcpy(ret->list, from + HEAD, ret->list_len);
    return true;
}

static int make(const char *path, uid_t uid, gid_t gid, struct error *err)
{
    uint8_t bytes[XSEC_STATE_PLACE + RECORD] = {0};
    if (encode(bytes, &(struct xsec_state){.count = 0}))
        return error_set(err, EIO, "%s: no checksum could be made", path);
    int rc = file_write(path, bytes, sizeof bytes, 0600, err);
    if (rc == 0 && geteuid() == 0 && chown(path, uid, gid))
        rc = error_set(err, errno, "%s: %s", path, strerror(errno));
    return rc;
}

static int load(struct xsec_state *s, const char *path, struct error *err)
{
    uint8_t bytes[XSEC_STATE_PLACE + RECORD] = {0};
    struct xsec_state place[2] = {{0}};
    ssize_t n = pread(s->fd, bytes, sizeof bytes, 0);
    if (n < 0)
        return error_set(err, errno, "%s: %s", path, strerror(errno));
    bool first = decode(&place[0], bytes), second = decode(&place[1], bytes + XSEC_STATE_PLACE);
    if (!first && !second)
        return error_set(err, EINVAL,
            "%s: this is no state of xSEC, or it was destroyed; remove it, and this router begins anew with the wall "
            "clock",
            path);
    int which = first && second ? place[1].count > place[0].count : second;
    place[which].fd = s->fd;
    *s = place[which];
    return 0;
}

int xsec_state_open(struct xsec_state *ret, const char *path, uid_t uid, gid_t gid, struct error *err)
{
    struct xsec_state s = {.fd = -1};
    int rc = access(path, F_OK) && errno == ENOENT ? make(path, uid, gid, err) : 0;
    if (rc)
        return rc;
    s.fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (s.fd < 0)
        return error_set(err, errno, "%s: %s", path, strerror(errno));
    rc = load(&s, path, err);
    if (rc)
        close(s.fd);
    else
        *ret = s;
    return rc;
}

void xsec_state_close(struct xsec_state *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

static int keep(struct xsec_state *s, struct xsec_state *next)
{
    uint8_t bytes[RECORD];
    next->count = s->count + 1;
    if (encode(bytes, next))
        return -EIO;
    off_t at = (off_t)(next->count % 2) * XSEC_STATE_PLACE;
    for (size_t done = 0; done < sizeof bytes;) {
        ssize_t n = pwrite(s->fd, bytes + done, sizeof bytes - done, at + (off_t)done);
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    if (fdatasync(s->fd))
        return -errno;
    *s = *next;
    return 0;
}

int xsec_state_keep_generation(struct xsec_state *s, uint64_t generation)
{
    struct xsec_state next = *s;
    next.generation = generation;
    return keep(s, &next);
}

int xsec_state_keep_list(struct xsec_state *s, const uint8_t *list, size_t len)
{
    struct xsec_state next = *s;
    if (len > sizeof next.list)
        return -EINVAL;
    memset(next.list, 0, sizeof next.list);
    memcpy(next.list, list, len);
    next.list_len = (uint16_t)len;
    return keep(s, &next);
}
