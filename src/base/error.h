/* One clear sentence for a person, carried beside the usual 0 / -errno.
 *
 * A function that can fail for a reason worth telling takes `struct error *err` last (NULL: not wanted) and returns
 * 0 or a negative errno. Three kinds are never mixed: a peer's or file's fault and the environment's are returned
 * this way; our own mistakes are asserted. No byte from a peer, file or user ever reaches an assert. */
#ifndef MERIDIAN_BASE_ERROR_H
#define MERIDIAN_BASE_ERROR_H

struct error {
    char text[1024]; /* what happened and what to do, no newline; "" while nothing failed */
};

/* Writes the sentence and returns -code (code: a positive errno), so `return error_set(err, EINVAL, …);` reads well. */
#define error_set(err, code, ...) (error_write((err), __VA_ARGS__), error_negative(code))

/* Behind error_set, which is a macro so that compilers see that a constant code is never 0 (and warn of nothing). */
__attribute__((format(printf, 2, 3))) void error_write(struct error *err, const char *fmt, ...);
static inline int error_negative(int code)
{
    return -code;
}

/* Puts "context: " before the sentence already there (where and what, from the caller who knows); returns rc as it is. */
__attribute__((format(printf, 3, 4))) int error_prefix(struct error *err, int rc, const char *fmt, ...);

#endif
