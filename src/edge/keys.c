/* A line is "NAME SALT HASH MADE", salt and hash in hex. HASH = SHA-256(SALT || KEY). */
#include "edge/keys.h"

#include "base/buf.h"
#include "base/hex.h"
#include "base/log.h"
#include "os/file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_MOST (1 << 20)
#define KEY_MOST  256 /* a longer one is not ours */

static int hash_key(const uint8_t salt[16], const char *key, uint8_t ret[32])
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    int ok = c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) && EVP_DigestUpdate(c, salt, 16) &&
             EVP_DigestUpdate(c, key, strlen(key)) && EVP_DigestFinal_ex(c, ret, NULL);
    EVP_MD_CTX_free(c);
    return ok ? 0 : -EIO;
}

static bool get_hex(uint8_t *to, size_t n, const char *from)
{
    if (strlen(from) != 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!isxdigit((unsigned char)from[2 * i]) || !isxdigit((unsigned char)from[2 * i + 1]))
            return false;
        char two[3] = {from[2 * i], from[2 * i + 1], 0};
        to[i] = (uint8_t)strtoul(two, NULL, 16);
    }
    return true;
}

static bool name_is_good(const char *name)
{
    size_t n = strlen(name);
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("-_.", *p))
            return false;
    return n >= 1 && n <= KEY_NAME_MOST;
}

static int parse_line(struct key_entry *e, const char *line)
{
    char name[KEY_NAME_MOST + 1], salt[33], hash[65];
    if (sscanf(line, "%64s %32s %64s %" SCNd64, name, salt, hash, &e->made) != 4 || !name_is_good(name))
        return -EINVAL;
    memcpy(e->name, name, sizeof(name));
    return get_hex(e->salt, 16, salt) && get_hex(e->hash, 32, hash) ? 0 : -EINVAL;
}

static int parse_file(struct buf *text, const char *path, struct key_entry **ret, size_t *ret_n, struct error *err)
{
    struct buf list = {0};
    char *save, *line = strtok_r((char *)text->data, "\n", &save);
    int rc = 0;
    for (size_t number = 1; line && !rc; line = strtok_r(NULL, "\n", &save), number++) {
        struct key_entry e = {0};
        if (line[0] == '#')
            continue;
        if (parse_line(&e, line) || list.len / sizeof(e) == KEYS_MOST)
            rc = error_set(err, EINVAL,
                "%s: entry %zu is not a key entry; remove that line and make the key again with `meridian edge key "
                "add`",
                path, number);
        else if (buf_append(&list, &e, sizeof(e)))
            rc = error_set(err, ENOMEM, "no memory");
    }
    if (rc) {
        buf_done(&list);
        return rc;
    }
    *ret = (struct key_entry *)(void *)list.data;
    *ret_n = list.len / sizeof(struct key_entry);
    return 0;
}

int keys_file_list(const char *path, struct key_entry **ret, size_t *ret_n, struct error *err)
{
    struct buf text = {0};
    *ret = NULL;
    *ret_n = 0;
    if (access(path, F_OK) && errno == ENOENT)
        return 0;
    int rc = file_read(&text, path, FILE_MOST, err);
    if (!rc && buf_append(&text, "", 1))
        rc = error_set(err, ENOMEM, "no memory");
    if (!rc)
        rc = parse_file(&text, path, ret, ret_n, err);
    buf_done(&text);
    return rc;
}

static int write_list(const char *path, const struct key_entry *list, size_t n, struct error *err)
{
    struct buf b = {0};
    int rc = buf_append_str(
        &b, "# meridian edge API keys: name, salt, SHA-256(salt, key), time made. No key can be read from this.\n");
    for (size_t i = 0; i < n && !rc; i++) {
        char salt[33], hash[65];
        hex_put(salt, list[i].salt, 16);
        hex_put(hash, list[i].hash, 32);
        rc = buf_printf(&b, "%s %s %s %" PRId64 "\n", list[i].name, salt, hash, list[i].made);
    }
    rc = rc ? error_set(err, ENOMEM, "no memory") : file_write(path, b.data, b.len, 0600, err);
    buf_done(&b);
    return rc;
}

/* Two `key add` at once must not lose one: the lock file stays beside the keys. */
static int lock_file(const char *path, struct error *err)
{
    char lock[4096];
    if (snprintf(lock, sizeof(lock), "%s.lock", path) >= (int)sizeof(lock))
        return error_set(err, ENAMETOOLONG, "the path %.100s… is too long", path);
    int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX)) {
        int rc = error_set(err, errno, "%s: %s", lock, strerror(errno));
        if (fd >= 0)
            close(fd);
        return rc;
    }
    return fd;
}

static int make_key(struct key_entry *e, const char *name, char ret[64])
{
    uint8_t secret[32];
    if (RAND_bytes(secret, sizeof(secret)) != 1 || RAND_bytes(e->salt, sizeof(e->salt)) != 1)
        return -EIO;
    memcpy(ret, "mk-", 3);
    static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz"; /* Crockford: no i, l, o, u */
    int bits = 0, n = 3;
    uint32_t acc = 0;
    for (size_t i = 0; i < sizeof(secret); i++) {
        acc = acc << 8 | secret[i];
        for (bits += 8; bits >= 5; bits -= 5)
            ret[n++] = digits[acc >> (bits - 5) & 31];
    }
    ret[n++] = digits[acc << (5 - bits) & 31];
    ret[n] = 0;
    OPENSSL_cleanse(secret, sizeof(secret));
    snprintf(e->name, sizeof(e->name), "%s", name);
    e->made = time(NULL);
    return hash_key(e->salt, ret, e->hash);
}

static int add_locked(const char *path, const char *name, char ret[64], struct error *err)
{
    struct key_entry *list;
    size_t n;
    int rc = keys_file_list(path, &list, &n, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < n && !rc; i++)
        if (!strcmp(list[i].name, name))
            rc = error_set(
                err, EEXIST, "there is a key named %s already; remove it first, or choose another name", name);
    if (!rc && n == KEYS_MOST)
        rc = error_set(err, ENOSPC, "%s holds %d keys, which is the most; remove some", path, KEYS_MOST);
    struct key_entry *more = rc ? NULL : realloc(list, (n + 1) * sizeof(*list));
    if (more) {
        list = more;
        memset(&list[n], 0, sizeof(*list));
        rc = make_key(&list[n], name, ret) ? error_set(err, EIO, "no random numbers from the system") : 0;
        if (!rc)
            rc = write_list(path, list, n + 1, err);
    } else if (!rc) {
        rc = error_set(err, ENOMEM, "no memory");
    }
    free(list);
    return rc;
}

int keys_file_add(const char *path, const char *name, char ret[64], struct error *err)
{
    if (!name_is_good(name))
        return error_set(err, EINVAL, "a key's name is 1 to %d letters, digits, \"-\", \"_\" or \".\"", KEY_NAME_MOST);
    int fd = lock_file(path, err);
    if (fd < 0)
        return fd;
    int rc = add_locked(path, name, ret, err);
    close(fd);
    return rc;
}

int keys_file_remove(const char *path, const char *name, struct error *err)
{
    int fd = lock_file(path, err);
    if (fd < 0)
        return fd;
    struct key_entry *list = NULL;
    size_t n = 0, kept = 0;
    int rc = keys_file_list(path, &list, &n, err);
    for (size_t i = 0; i < n && !rc; i++)
        if (strcmp(list[i].name, name))
            list[kept++] = list[i];
    if (!rc && kept == n)
        rc = error_set(err, ENOENT, "there is no key named %.64s; `meridian edge key list` shows them", name);
    if (!rc)
        rc = write_list(path, list, kept, err);
    free(list);
    close(fd);
    return rc;
}

/* --- the running edge --- */

struct keys {
    pthread_mutex_t lock;
    char *path;
    struct key_entry *list;
    size_t n;
    struct stat seen; /* of the file the list came from; zero: there was none */
};

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Under the lock. A file that cannot be read keeps the keys we have: an edge never opens up by accident. */
static int refresh(struct keys *k, struct error *err)
{
    struct stat now = {0};
    if (!k->path)
        return 0;
    if (stat(k->path, &now))
        memset(&now, 0, sizeof(now));
    if (same_file(&now, &k->seen))
        return 0;
    struct key_entry *list;
    size_t n;
    int rc = keys_file_list(k->path, &list, &n, err);
    k->seen = now;
    if (rc)
        return rc;
    free(k->list);
    k->list = list;
    k->n = n;
    return 0;
}

static void refresh_or_log(struct keys *k)
{
    struct error err;
    if (refresh(k, &err))
        log_error("%s; the keys read before stay in force", err.text);
}

int keys_open(struct keys **ret, const char *path, struct error *err)
{
    struct keys *k = calloc(1, sizeof(*k));
    if (!k || (path && !(k->path = strdup(path)))) {
        free(k);
        return error_set(err, ENOMEM, "no memory");
    }
    pthread_mutex_init(&k->lock, NULL);
    int rc = refresh(k, err);
    if (rc) {
        keys_close(k);
        return rc;
    }
    *ret = k;
    return 0;
}

void keys_close(struct keys *k)
{
    if (!k)
        return;
    pthread_mutex_destroy(&k->lock);
    free(k->list);
    free(k->path);
    free(k);
}

bool keys_any(struct keys *k)
{
    pthread_mutex_lock(&k->lock);
    refresh_or_log(k);
    bool any = k->n > 0;
    pthread_mutex_unlock(&k->lock);
    return any;
}

bool keys_check(struct keys *k, const char *authorization, char ret_name[KEY_NAME_MOST + 1])
{
    if (!authorization || strncasecmp(authorization, "Bearer ", 7))
        return false;
    const char *key = authorization + 7;
    key += strspn(key, " ");
    if (strlen(key) > KEY_MOST)
        return false;
    size_t found = SIZE_MAX;
    pthread_mutex_lock(&k->lock);
    refresh_or_log(k);
    for (size_t i = 0; i < k->n; i++) {
        uint8_t hash[32];
        if (!hash_key(k->list[i].salt, key, hash) && !CRYPTO_memcmp(hash, k->list[i].hash, 32))
            found = i;
    }
    if (found != SIZE_MAX)
        memcpy(ret_name, k->list[found].name, KEY_NAME_MOST + 1);
    pthread_mutex_unlock(&k->lock);
    return found != SIZE_MAX;
}
