#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static enum log_level most_level = LOG_LEVEL_INFO;
static bool as_json;
static char who_text[64];

void log_setup(enum log_level most, bool json, const char *who)
{
    pthread_mutex_lock(&lock);
    most_level = most;
    as_json = json;
    snprintf(who_text, sizeof(who_text), "%s", who ? who : "");
    pthread_mutex_unlock(&lock);
}

/* Control characters would let one event look like two lines; quotes would break the JSON. */
static void escape(char *to, size_t cap, const char *from, bool json)
{
    size_t n = 0;
    for (; *from && n + 7 < cap; from++) {
        unsigned char c = (unsigned char)*from;
        if (c < 0x20 || c == 0x7f)
            n += (size_t)snprintf(to + n, cap - n, "\\u%04x", c);
        else if (json && (c == '"' || c == '\\'))
            to[n++] = '\\', to[n++] = (char)c;
        else
            to[n++] = (char)c;
    }
    to[n] = 0;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    if (level > most_level)
        return;
    char text[1024], safe[2048], stamp[32];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
    int ms = (int)(now.tv_nsec / 1000000);
    pthread_mutex_lock(&lock);
    escape(safe, sizeof(safe), text, as_json);
    if (as_json)
        fprintf(stderr, "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"who\":\"%s\",\"text\":\"%s\"}\n", stamp, ms,
            level_names[level], who_text, safe);
    else
        fprintf(
            stderr, "%s.%03dZ %-5s %s%s%s\n", stamp, ms, level_names[level], who_text, who_text[0] ? ": " : "", safe);
    fflush(stderr);
    pthread_mutex_unlock(&lock);
}

bool log_limit_pass(struct log_limit *limit, unsigned per_second, unsigned *ret_skipped)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    pthread_mutex_lock(&lock);
    if (limit->window != now.tv_sec) {
        limit->window = now.tv_sec;
        limit->in_window = 0;
    }
    bool pass = limit->in_window < per_second;
    if (pass) {
        limit->in_window++;
        *ret_skipped = limit->skipped;
        limit->skipped = 0;
    } else {
        limit->skipped++;
    }
    pthread_mutex_unlock(&lock);
    return pass;
}
