#include "cli/common.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

int cli_model_open(struct cli_model *ret, const char *path, struct error *err)
{
    struct cli_model m = {0};
    int rc = gguf_file_open(&m.file, path, err);
    if (rc)
        return rc;
    rc = model_params_read(&m.params, m.file, err);
    if (rc) {
        gguf_file_close(m.file);
        return rc;
    }
    *ret = m;
    return 0;
}

void cli_model_close(struct cli_model *m)
{
    gguf_file_close(m->file);
    m->file = NULL;
}

static void on_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct cli_progress *p = ctx;
    p->shown.total = total;
    p->done = done;
    progress_at(&p->shown, done, "", "");
}

void cli_progress_start(struct cli_progress *p, const struct cli_args *args, const char *what)
{
    *p = (struct cli_progress){.hook = {on_progress, p}};
    bool terminal = isatty(STDERR_FILENO);
    progress_start(&p->shown,
        cli_flag(args, "json") ? PROGRESS_JSON
        : terminal             ? PROGRESS_AUTO
                               : PROGRESS_NONE,
        what, "bytes", 0);
}

void cli_progress_end(struct cli_progress *p)
{
    progress_end(&p->shown, p->done, "", "");
}

int cli_read_stdin(struct buf *ret, size_t most, struct error *err)
{
    for (;;) {
        if (buf_reserve(ret, 65536))
            return error_set(err, ENOMEM, "out of memory");
        ssize_t n = read(STDIN_FILENO, ret->data + ret->len, 65536);
        if (n < 0 && errno == EINTR && !cli_interrupted)
            continue;
        if (n < 0)
            return error_set(err, errno, "cannot read standard input: %s", strerror(errno));
        if (n == 0)
            return 0;
        ret->len += (size_t)n;
        if (ret->len > most)
            return error_set(err, EFBIG, "standard input is larger than %zu bytes", most);
    }
}
