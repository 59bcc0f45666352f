/* CSV files of a comparison, and pictures of them by gnuplot. */
#include "sim/report.h"

#include "base/buf.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int save(const char *folder, const char *name, struct buf *b, struct error *err)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int rc = file_write(path, b->data, b->len, 0644, err);
    buf_done(b);
    return rc;
}

/* time_ms, then one column for each mode and workload. */
static int goodput(const char *folder, const struct plan *p, const struct run *runs, struct error *err)
{
    const struct scenario *s = p->scenario;
    struct buf b = {0};
    int rc = buf_append_str(&b, "time_ms");
    for (unsigned m = 0; m < SCENARIO_MODES; m++)
        for (uint32_t w = 0; w < s->n_workloads; w++)
            rc |= buf_printf(&b, ",%s %s", s->workloads[w].name, scenario_mode_name((enum scenario_mode)m));
    for (uint32_t k = 0; k < runs[0].n_samples; k++) {
        rc |= buf_printf(&b, "\n%.4f", (double)(k + 1) * (double)runs[0].step_ns * 1e-6);
        for (unsigned m = 0; m < SCENARIO_MODES; m++)
            for (uint32_t w = 0; w < s->n_workloads; w++) {
                double v = k < runs[m].n_samples ? runs[m].bps[k * s->n_workloads + w] : 0;
                rc |= buf_printf(&b, ",%.4f", v * 1e-9);
            }
    }
    rc |= buf_append_str(&b, "\n");
    if (rc) {
        buf_done(&b);
        return error_set(err, ENOMEM, "no memory");
    }
    return save(folder, "goodput.csv", &b, err);
}

static int summary(const char *folder, const struct plan *p, const struct run *runs, struct error *err)
{
    struct buf b = {0};
    int rc = buf_append_str(&b,
        "workload,mode,goodput_gbps,p50_us,p99_us,p999_us,silence_us,sent,delivered,lost_links,lost_routers,again\n");
    for (uint32_t w = 0; w < p->scenario->n_workloads; w++)
        for (unsigned m = 0; m < SCENARIO_MODES; m++) {
            const struct sim_work_result *x = &runs[m].result.works[w];
            if (x->ran)
                rc |= buf_printf(&b,
                    "%s,%s,%.4f,%.3f,%.3f,%.3f,%.3f,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n",
                    x->name, scenario_mode_name((enum scenario_mode)m), x->goodput_bps * 1e-9, (double)x->p50_ns * 1e-3,
                    (double)x->p99_ns * 1e-3, (double)x->p999_ns * 1e-3, (double)x->silence_ns * 1e-3, x->sent,
                    x->delivered, x->lost_links, x->lost_routers, x->retransmitted);
        }
    if (rc) {
        buf_done(&b);
        return error_set(err, ENOMEM, "no memory");
    }
    return save(folder, "summary.csv", &b, err);
}

static int script(const char *folder, const struct plan *p, struct error *err)
{
    uint32_t n = p->scenario->n_workloads;
    struct buf b = {0};
    int rc = buf_printf(&b,
        "set datafile separator ','\nset key autotitle columnhead outside\nset grid\n"
        "set terminal pngcairo size 1400,500\nset output 'goodput.png'\nset multiplot layout 1,%u title '%s: goodput'\n"
        "set xlabel 'ms'\nset ylabel 'Gbit/s'\nset yrange [0:*]\n",
        SCENARIO_MODES, p->scenario->name);
    for (unsigned m = 0; m < SCENARIO_MODES; m++)
        rc |= buf_printf(&b,
            "set title '%s'\nset key inside\nplot for [i=%u:%u] 'goodput.csv' using 1:i with lines lw 2 "
            "title word(columnhead(i),1)\n",
            scenario_mode_name((enum scenario_mode)m), 2 + m * n, 1 + (m + 1) * n);
    rc |= buf_append_str(&b,
        "unset multiplot\nset output 'latency.png'\nset title 'latency, p99'\nset logscale y\nset yrange [*:*]\n"
        "set ylabel 'us'\nset xlabel ''\nset style data histogram\nset style fill solid 0.6\nset xtics rotate by -30\n"
        "plot 'summary.csv' using 5:xtic(strcol(1).' '.strcol(2)) title 'p99'\n");
    if (rc) {
        buf_done(&b);
        return error_set(err, ENOMEM, "no memory");
    }
    return save(folder, "plot.gp", &b, err);
}

/* True when gnuplot is there and was content. */
static bool draw(const char *folder)
{
    char *argv[] = {(char *)"gnuplot", (char *)"plot.gp", NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status;
    if (posix_spawn_file_actions_init(&actions))
        return false;
    int rc = posix_spawn_file_actions_addchdir_np(&actions, folder);
    rc = rc ? rc : posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    rc = rc ? rc : posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    return rc == 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int report_files(const char *folder, const struct plan *p, const struct run *runs, bool *ret_plots, struct error *err)
{
    int rc = goodput(folder, p, runs, err);
    rc = rc ? rc : summary(folder, p, runs, err);
    rc = rc ? rc : script(folder, p, err);
    *ret_plots = !rc && draw(folder);
    return rc;
}
