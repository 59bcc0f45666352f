#include "os/progress.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void progress_start(struct progress *p, enum progress_mode mode, const char *what, const char *unit, uint64_t total)
{
    *p = (struct progress){.mode = mode, .what = what, .unit = unit, .total = total, .started_ns = clock_now_ns()};
    p->terminal = mode == PROGRESS_AUTO && isatty(STDERR_FILENO);
}

static void duration(char *to, size_t cap, double seconds)
{
    if (seconds < 60)
        snprintf(to, cap, "%.0f s", seconds);
    else if (seconds < 3600)
        snprintf(to, cap, "%.0f min %02.0f s", (double)(long)(seconds / 60), (double)((long)seconds % 60));
    else
        snprintf(to, cap, "%.0f h %02.0f min", (double)(long)(seconds / 3600), (double)((long)seconds % 3600 / 60));
}

static void show(struct progress *p, uint64_t done, const char *figures, const char *figures_json, bool last)
{
    double seconds = (double)(clock_now_ns() - p->started_ns) / NS_PER_S;
    double rate = seconds > 0.2 ? (double)done / seconds : 0; /* earlier it would be noise */
    double left = rate > 0 && p->total > done ? (double)(p->total - done) / rate : 0;
    if (p->mode == PROGRESS_JSON) {
        fprintf(stderr,
            "{\"progress\":\"%s\",\"unit\":\"%s\",\"done\":%llu,\"total\":%llu,\"per_second\":%.2f,\"seconds\":%.1f,"
            "\"seconds_left\":%.0f,\"ended\":%s%s%s}\n",
            p->what, p->unit, (unsigned long long)done, (unsigned long long)p->total, rate, seconds, left,
            last ? "true" : "false", figures_json[0] ? "," : "", figures_json);
        return;
    }
    char bar[21], time_text[32];
    if (!p->total) {
        duration(time_text, sizeof(time_text), seconds);
        fprintf(stderr, "%s%s %llu %s, %.1f/s, %s%s%s%s", p->terminal ? "\r\033[K" : "", p->what,
            (unsigned long long)done, p->unit, rate, time_text, figures[0] ? "; " : "", figures,
            p->terminal && !last ? "" : "\n");
        fflush(stderr);
        return;
    }
    int full = (int)(20 * done / p->total);
    for (int i = 0; i < 20; i++)
        bar[i] = i < full ? '#' : '.';
    bar[20] = 0;
    duration(time_text, sizeof(time_text), last ? seconds : left);
    fprintf(stderr, "%s%s [%s] %llu/%llu %s, %.1f/s, %s %s%s%s%s", p->terminal ? "\r\033[K" : "", p->what, bar,
        (unsigned long long)done, (unsigned long long)p->total, p->unit, rate, time_text, last ? "in all" : "left",
        figures[0] ? "; " : "", figures, p->terminal && !last ? "" : "\n");
    fflush(stderr);
}

void progress_at(struct progress *p, uint64_t done, const char *figures, const char *figures_json)
{
    int64_t now = clock_now_ns();
    int64_t every = p->terminal ? NS_PER_S / 10 : 2 * NS_PER_S;
    if (p->mode == PROGRESS_NONE || now - p->shown_ns < every)
        return;
    p->shown_ns = now;
    show(p, done, figures, figures_json, false);
}

void progress_end(struct progress *p, uint64_t done, const char *figures, const char *figures_json)
{
    if (p->mode != PROGRESS_NONE)
        show(p, done, figures, figures_json, true);
}
