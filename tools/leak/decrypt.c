/* What crossed inside TLS: the plaintext of each connection of a capture, opened with a key log.
 *
 *   decrypt CAPTURE KEYLOG PORT DIR
 *
 * Writes DIR/N-up and DIR/N-down (what the client and what the server sent in connection N) and prints one line of JSON
 * with the bytes of each kind. Exit 0: every record was opened; 2: not everything could be (the numbers say what); a
 * record that had not ended when the capture ended is "tail" and no fault. */
#include "tcp_streams.h"
#include "tls_records.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct connection {
    struct connection *next;
    struct job *job;
    struct tls_connection *tls;
    FILE *out[2];
};

struct job {
    const struct tls_keys *keys;
    const char *dir;
    struct tls_counts counts;
    struct connection *all;
};

static void plain(void *user, int direction, const uint8_t *bytes, size_t len)
{
    struct connection *c = user;
    if (fwrite(bytes, 1, len, c->out[direction]) != len) {
        fprintf(stderr, "decrypt: cannot write the plaintext: %s\n", strerror(errno));
        exit(2);
    }
}

static void *opened(void *user, unsigned number)
{
    static const char *const ways[2] = {"up", "down"};
    struct job *job = user;
    struct connection *c = calloc(1, sizeof(*c));
    if (!c || !(c->tls = tls_connection_create(job->keys, &job->counts, plain, c)))
        abort();
    for (int way = 0; way < 2; way++) {
        char path[4200];
        snprintf(path, sizeof(path), "%.4000s/%u-%s", job->dir, number, ways[way]);
        if (!(c->out[way] = fopen(path, "wb"))) {
            fprintf(stderr, "decrypt: %s: %s\n", path, strerror(errno));
            exit(2);
        }
    }
    c->next = job->all;
    return job->all = c;
}

static void data(void *connection, int direction, const uint8_t *bytes, size_t len)
{
    tls_connection_feed(((struct connection *)connection)->tls, direction, bytes, len);
}

static size_t close_all(struct job *job)
{
    size_t tail = 0;
    for (struct connection *c = job->all, *next; c; c = next) {
        next = c->next;
        tail += tls_connection_rest(c->tls);
        tls_connection_free(c->tls);
        if (fclose(c->out[0]) | fclose(c->out[1])) {
            fprintf(stderr, "decrypt: cannot write the plaintext: %s\n", strerror(errno));
            exit(2);
        }
        free(c);
    }
    return tail;
}

int main(int argc, char **argv)
{
    static const struct tcp_sink sink = {opened, data};
    if (argc != 5)
        return fprintf(stderr, "usage: decrypt CAPTURE KEYLOG PORT DIR\n"), 2;
    struct tls_keys *keys = tls_keys_read(argv[2]);
    struct job job = {.keys = keys, .dir = argv[4]};
    struct tcp_counts t;
    if (!keys || tcp_streams_read(argv[1], (uint16_t)atoi(argv[3]), &sink, &job, &t))
        return 2;
    size_t tail = close_all(&job);
    tls_keys_free(keys);
    struct tls_counts *c = &job.counts;
#define N(x) (unsigned long long)(x)
    printf("{\"connections\":%u,\"packets\":%llu,\"payload\":%llu,\"plain\":%llu,\"handshake\":%llu,\"clear\":%llu,"
           "\"overhead\":%llu,\"tail\":%llu,\"key_updates\":%llu,\"sealed\":%llu,\"missing\":%llu,\"unordered\":%llu,"
           "\"cut\":%llu,\"headless\":%llu,\"repeated\":%llu}\n",
        t.connections, N(t.packets), N(t.payload), N(c->plain), N(c->inner), N(c->clear), N(c->overhead), N(tail),
        N(c->updates), N(c->sealed), N(t.missing), N(t.unordered), N(t.cut), N(t.headless), N(t.repeated));
    return c->sealed || t.missing || t.unordered || t.cut || t.headless || !c->plain ? 2 : 0;
}
