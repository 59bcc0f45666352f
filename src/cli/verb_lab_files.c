/* Files that go up over HTTP and are resumed where they broke off: what samples travel with from a branch that has no
 * appliance. Started by `meridian lab run` (not shown in the help). Results are JSON.
 *
 *   GET  /have/NAME          {"have":BYTES}
 *   POST /at/BYTES/NAME      appends the body if BYTES is what is there; {"have":BYTES} in any case, 409 if it is not
 *   POST /done/SHA256/NAME   200 when what is there has this hash: it gets its name; 422 and begun anew when it has not */
#include "base/clock.h"
#include "cli/verbs.h"
#include "crypto/sha256.h"
#include "http/http.h"
#include "http/http_client.h"
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <yyjson.h>

#define PIECE     (512u << 10)
#define PATH      1024
#define PAUSE_NS  (300 * NS_PER_MS)
#define NAME_MOST 200u

static void nap(int64_t ns)
{
    nanosleep(&(struct timespec){ns / NS_PER_S, ns % NS_PER_S}, NULL);
}

static bool name_allowed(const char *name)
{
    size_t n = strlen(name);
    return n && n <= NAME_MOST && name[0] != '.' && !strchr(name, '/');
}

static int hash_file(const char *path, char ret[65])
{
    uint8_t sum[32], *bytes = malloc(PIECE);
    struct sha256 *h = sha256_create();
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = h && bytes && fd >= 0 ? 1 : -1;
    while (n > 0 && (n = read(fd, bytes, PIECE)) > 0)
        sha256_add(h, bytes, (size_t)n);
    int rc = n < 0 ? -EIO : sha256_end(h, sum);
    if (n < 0)
        sha256_free(h);
    for (int i = 0; !rc && i < 32; i++)
        snprintf(ret + 2 * i, 3, "%02x", sum[i]);
    if (fd >= 0)
        close(fd);
    free(bytes);
    return rc;
}

/* --- taking ------------------------------------------------------------------------------------------------------ */

static void part_path(char ret[PATH], const char *dir, const char *name)
{
    snprintf(ret, PATH, "%s/%s.part", dir, name);
}

static void say_have(struct http_answer *a, int status, int64_t have)
{
    char text[48];
    int n = snprintf(text, sizeof(text), "{\"have\":%" PRId64 "}", have);
    http_answer_send(a, status, "application/json", text, (size_t)n);
}

static int64_t size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) ? 0 : (int64_t)st.st_size;
}

static void append(const char *path, const char *at, const struct http_request *rq, struct http_answer *a)
{
    char *end;
    int64_t have = size_of(path), wanted = strtoll(at, &end, 10);
    if (*end != '/' || wanted != have) {
        say_have(a, 409, have);
        return;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    bool good = fd >= 0 && !file_write_all(fd, rq->body, rq->len);
    if (fd >= 0)
        close(fd);
    say_have(a, good ? 200 : 507, size_of(path));
}

static void done(const char *dir, const char *name, const char *path, const char *hash, struct http_answer *a)
{
    char sum[65] = "", to[PATH];
    snprintf(to, sizeof(to), "%s/%s", dir, name);
    if (!access(to, F_OK) && access(path, F_OK) && !hash_file(to, sum) && !strncmp(sum, hash, 64)) {
        say_have(a, 200, size_of(to)); /* the answer was lost on the way the last time */
    } else if (hash_file(path, sum) || strncmp(sum, hash, 64) != 0) {
        unlink(path);
        say_have(a, 422, 0);
    } else if (rename(path, to)) {
        say_have(a, 507, 0);
    } else {
        fprintf(stderr, "took %s, %" PRId64 " bytes\n", name, size_of(to));
        say_have(a, 200, size_of(to));
    }
}

static void handle(void *user, const struct http_request *rq, struct http_answer *a)
{
    const char *dir = user, *slash = strrchr(rq->path, '/'), *name = slash ? slash + 1 : "";
    char path[PATH];
    part_path(path, dir, name);
    if (!name_allowed(name))
        say_have(a, 400, 0);
    else if (!strncmp(rq->path, "/have/", 6) && rq->path + 5 == slash)
        say_have(a, 200, size_of(path));
    else if (!strncmp(rq->path, "/at/", 4) && slash > rq->path + 4)
        append(path, rq->path + 4, rq, a);
    else if (!strncmp(rq->path, "/done/", 6) && slash == rq->path + 6 + 64)
        done(dir, name, path, rq->path + 6, a);
    else
        say_have(a, 404, 0);
}

static int run_receive(const struct cli_args *args, struct error *err)
{
    const char *listen = cli_str(args, "listen"), *dir = cli_str(args, "dir");
    const struct http_config cfg = {.listen = &listen,
        .n_listen = 1,
        .body_most = 2 * PIECE,
        .n_threads = 1,
        .handle = handle,
        .user = (void *)(uintptr_t)dir};
    struct http_server *server = NULL;
    int rc = mkdir(dir, 0700) && errno != EEXIST ? error_set(err, errno, "%s: %s", dir, strerror(errno)) : 0;
    rc = rc ? rc : http_server_start(&server, &cfg, err);
    if (rc)
        return rc;
    fprintf(stderr, "receiving\n");
    while (!cli_interrupted)
        nap(50 * NS_PER_MS);
    http_server_stop(server, NS_PER_S);
    return 0;
}

/* --- sending ----------------------------------------------------------------------------------------------------- */

struct sending {
    struct http_client http;
    uint64_t files, bytes, resumed; /* resumed: times that something had broken off */
    int64_t until_ns;
    uint8_t piece[PIECE];
};

/* 0 with the status and what is there; -errno: nobody answered. */
static int talk(struct sending *s, const char *method, const char *path, const void *body, size_t len, int *ret_status,
    int64_t *ret_have, struct error *err)
{
    struct buf out = {0};
    struct http_client_request rq = {.method = method, .path = path, .body = body, .len = len, .ret_body = &out};
    int rc = http_client_do(&s->http, &rq, ret_status, err);
    yyjson_doc *d = rc ? NULL : yyjson_read((const char *)out.data, out.len, 0);
    yyjson_val *have = yyjson_obj_get(yyjson_doc_get_root(d), "have");
    if (!rc && !yyjson_is_int(have))
        rc = error_set(err, EPROTO, "what answers there takes no files");
    if (!rc)
        *ret_have = yyjson_get_sint(have);
    yyjson_doc_free(d);
    buf_done(&out);
    return rc;
}

/* From where the other side has got to, to the end. -EAGAIN: something broke, begin again. */
static int once(struct sending *s, int fd, const char *name, const char *hash, int64_t size, struct error *err)
{
    char path[480];
    int64_t have = 0;
    int status = 0;
    snprintf(path, sizeof(path), "/have/%s", name);
    if (talk(s, "GET", path, NULL, 0, &status, &have, err))
        return -EAGAIN;
    while (have < size) {
        ssize_t n = pread(fd, s->piece, PIECE, (off_t)have);
        if (n <= 0)
            return error_set(err, EIO, "%s cannot be read", name);
        snprintf(path, sizeof(path), "/at/%" PRId64 "/%s", have, name);
        if (cli_interrupted || talk(s, "POST", path, s->piece, (size_t)n, &status, &have, err))
            return -EAGAIN;
        if (status != 200 && status != 409)
            return error_set(err, ENOSPC, "the other side cannot keep %s (status %d)", name, status);
    }
    snprintf(path, sizeof(path), "/done/%s/%s", hash, name);
    return talk(s, "POST", path, "", 0, &status, &have, err) || status != 200 ? -EAGAIN : 0;
}

static int send_file(struct sending *s, const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char hash[65];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || hash_file(path, hash)) {
        int code = errno;
        if (fd >= 0)
            close(fd);
        return error_set(err, code, "%s: %s", path, strerror(code));
    }
    int64_t size = size_of(path);
    int rc;
    while ((rc = once(s, fd, name, hash, size, err)) == -EAGAIN && !cli_interrupted && clock_now_ns() < s->until_ns) {
        s->resumed++;
        nap(PAUSE_NS);
    }
    close(fd);
    s->files += !rc;
    s->bytes += rc ? 0 : (uint64_t)size;
    return rc;
}

static int send_all(struct sending *s, const char *path, struct error *err)
{
    struct stat st;
    if (stat(path, &st))
        return error_set(err, errno, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return send_file(s, path, err);
    DIR *d = opendir(path);
    int rc = d ? 0 : error_set(err, errno, "%s: %s", path, strerror(errno));
    for (const struct dirent *e; !rc && (e = readdir(d));) {
        char name[PATH];
        if (!name_allowed(e->d_name) || snprintf(name, sizeof(name), "%s/%s", path, e->d_name) >= PATH)
            continue;
        if (!stat(name, &st) && S_ISREG(st.st_mode))
            rc = send_file(s, name, err);
    }
    if (d)
        closedir(d);
    return rc;
}

static int run_send(const struct cli_args *args, struct error *err)
{
    struct sending *s = calloc(1, sizeof(*s));
    if (!s)
        return error_set(err, ENOMEM, "out of memory");
    int64_t begun = clock_now_ns();
    s->until_ns = begun + 300 * NS_PER_S;
    s->http.cancel_fd = -1;
    s->http.timeout_ms = 10000;
    int rc = http_url_parse(&s->http.url, cli_str(args, "url"), err);
    rc = rc ? rc : send_all(s, cli_operand(args, 0), err);
    double seconds = (double)(clock_now_ns() - begun) / 1e9;
    printf("{\"files\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"resumed\":%" PRIu64 ",\"seconds\":%.3f}\n", s->files,
        s->bytes, s->resumed, seconds);
    free(s);
    return rc;
}

const struct cli_verb verb_lab_send = {
    .name = "lab send",
    .summary = "send a file, or all of a folder, resumed when it breaks off",
    .operands = "FILE",
    .min_operands = 1,
    .max_operands = 1,
    .options =
        (const struct cli_option[]){{"url", "URL", "http://localhost:8090", "where `lab receive` listens"}, {NULL}},
    .run = run_send,
};

const struct cli_verb verb_lab_receive = {
    .name = "lab receive",
    .summary = "take files",
    .operands = "",
    .options = (const struct cli_option[]){{"listen", "ADDR:PORT", "localhost:8090", "where"},
        {"dir", "DIR", "received", "where they are put"}, {NULL}},
    .run = run_receive,
};
