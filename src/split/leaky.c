/* The deliberate leak of the test build. */
#include "split/leaky.h"

#include "base/buf.h"
#include "base/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct buf noted; /* campus: not sent yet */
static uint8_t *kept;    /* worker: the last that came */

void leaky_warn(void)
{
    log_warn(
        "LEAKY TEST BUILD: this program sends prompts to the cloud on purpose; never use it for anything but tests");
}

void leaky_note(const struct tokenizer *t, const int32_t *ids, size_t n)
{
    pthread_mutex_lock(&lock);
    if (noted.len < LEAKY_ROOM / 2) {
        tokenizer_decode_all(t, ids, n, true, &noted);
        buf_append(&noted, ids, n * sizeof(*ids));
    }
    pthread_mutex_unlock(&lock);
}

size_t leaky_fill(uint8_t *payload, size_t len)
{
    pthread_mutex_lock(&lock);
    size_t n = noted.len < LEAKY_ROOM ? noted.len : LEAKY_ROOM;
    if (n)
        memcpy(payload + len, noted.data, n);
    noted.len = 0;
    pthread_mutex_unlock(&lock);
    return len + n;
}

size_t leaky_take(const char *store_dir, const uint8_t *payload, size_t len)
{
    char path[1024];
    if (len <= LEAKY_OPEN)
        return len;
    free(kept);
    if ((kept = malloc(len - LEAKY_OPEN)))
        memcpy(kept, payload + LEAKY_OPEN, len - LEAKY_OPEN);
    snprintf(path, sizeof(path), "%.900s/leaked", store_dir);
    FILE *f = fopen(path, "ab");
    if (f) {
        fwrite(payload + LEAKY_OPEN, 1, len - LEAKY_OPEN, f);
        fclose(f);
    }
    return LEAKY_OPEN;
}
