/* The log of a daemon: one line an event, to stderr, as text or as JSON lines. Never prompts, tokens, vectors or keys.
 * Thread-safe. Levels: error (someone must act), warn (something was rejected or retried), info (state changes), debug. */
#ifndef MERIDIAN_BASE_LOG_H
#define MERIDIAN_BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Process-wide. `who` (may be NULL) stands before each line, e.g. "cloud/worker hospital-a"; it is copied. */
void log_setup(enum log_level most, bool json, const char *who);

__attribute__((format(printf, 2, 3))) void log_write(enum log_level level, const char *fmt, ...);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* For faults a peer can repeat at will: true when this one should be written (at most `per_second` a second);
 * the caller owns the struct, zeroed at first. *ret_skipped: how many were held back since the last written. */
struct log_limit {
    long long window; /* second of the current window */
    unsigned in_window, skipped;
};
bool log_limit_pass(struct log_limit *limit, unsigned per_second, unsigned *ret_skipped);

#endif
