/* What several verbs share: opening a model with one error, progress of file work, the --json and --threads options. */
#ifndef MERIDIAN_CLI_COMMON_H
#define MERIDIAN_CLI_COMMON_H

#include "base/buf.h"
#include "cli/verb.h"
#include "model/gguf_file.h"
#include "model/gguf_write.h"
#include "model/params.h"
#include "os/progress.h"

#define CLI_OPTION_JSON    {"json", NULL, NULL, "print the result and the progress as JSON, for machines"}
#define CLI_OPTION_THREADS {"threads", "N", NULL, "threads to compute with (default: the machine's cores)"}
#define CLI_OPTION_KEYLOG                                                                                              \
    {"unsafe-keylog", "FILE", NULL, "write TLS secrets there (tests only: whoever reads it can read the traffic)"}

/* A model file opened and understood. */
struct cli_model {
    struct gguf_file *file;
    struct model_params params;
};
int cli_model_open(struct cli_model *ret, const char *path, struct error *err);
void cli_model_close(struct cli_model *m);

/* Progress in bytes for functions that take a struct gguf_progress. Borrow `.hook` while the work runs. */
struct cli_progress {
    struct progress shown;
    struct gguf_progress hook;
    uint64_t done;
};
void cli_progress_start(struct cli_progress *p, const struct cli_args *args, const char *what);
void cli_progress_end(struct cli_progress *p);

/* stdin to its end, at most `most` bytes. */
int cli_read_stdin(struct buf *ret, size_t most, struct error *err);

#endif
