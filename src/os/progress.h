/* Progress of long work: on a terminal one line that redraws (bar, rate, time left, a few figures), elsewhere a line
 * now and then, with --json one JSON object a line. To stderr; results go to stdout. */
#ifndef MERIDIAN_OS_PROGRESS_H
#define MERIDIAN_OS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum progress_mode { PROGRESS_AUTO, PROGRESS_JSON, PROGRESS_NONE };

struct progress {
    enum progress_mode mode;
    const char *what, *unit; /* borrowed; e.g. "training", "tokens" */
    uint64_t total;          /* in `unit`; 0: unknown */
    int64_t started_ns, shown_ns;
    bool terminal;
};

void progress_start(struct progress *p, enum progress_mode mode, const char *what, const char *unit, uint64_t total);

/* Shows at most ten times a second on a terminal, every two seconds elsewhere. `figures` ("" for none) is shown behind
 * the bar as it is; `figures_json` ("" or `"loss":1.2,"busy":0.9`) goes into the JSON object. */
void progress_at(struct progress *p, uint64_t done, const char *figures, const char *figures_json);
void progress_end(struct progress *p, uint64_t done, const char *figures, const char *figures_json);

#endif
