/* Running a short command to its end: `ip`, mostly. No shell. */
#ifndef MERIDIAN_LAB_COMMAND_H
#define MERIDIAN_LAB_COMMAND_H

#include "base/buf.h"
#include "base/error.h"

/* argv ends with NULL; argv[0] is looked up on PATH. 0 when it exits with 0; else -EIO with a sentence that quotes what it
 * said on stderr, or -errno when it could not be started. `output` (NULL: thrown away) is appended what it wrote to stdout,
 * `input` (NULL: nothing) is what it reads. */
int lab_command(const char *const *argv, const char *input, struct buf *output, struct error *err);

/* ip, with these words: lab_ip(err, "netns", "add", name, NULL). */
__attribute__((sentinel)) int lab_ip(struct error *err, ...);

#endif
