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
__attribute__((format(printf, 3, 4))) int error_set(struct error *err, int code, const char *fmt, ...);

/* Puts "context: " before the sentence already there (where and what, from the caller who knows); returns rc as it is. */
__attribute__((format(printf, 3, 4))) int error_prefix(struct error *err, int rc, const char *fmt, ...);

#endif
