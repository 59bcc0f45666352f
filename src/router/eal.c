#include "router/eal.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_ARGS 64

/* What DPDK writes goes into our log, a line at a time, and only what someone should read. */
static ssize_t log_line(void *cookie, const char *bytes, size_t len)
{
    int level = rte_log_cur_msg_loglevel();
    size_t n = len;
    while (n && (bytes[n - 1] == '\n' || bytes[n - 1] == ' '))
        n--;
    if (!n)
        return (ssize_t)len;
    if (level > 0 && level <= (int)RTE_LOG_ERR)
        log_warn("dpdk: %.*s", (int)n, bytes);
    else
        log_debug("dpdk: %.*s", (int)n, bytes);
    return (ssize_t)len;
}

static void log_to_ours(void)
{
    cookie_io_functions_t io = {.write = log_line};
    FILE *f = fopencookie(NULL, "w", io);
    if (!f)
        return;
    setvbuf(f, NULL, _IOLBF, 4096);
    rte_openlog_stream(f);
}

/* Free hugepages of 2 MiB, in MiB: what --in-memory can use without a mounted hugetlbfs. */
static unsigned long free_huge_mib(void)
{
    FILE *f = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");
    unsigned long pages = 0;
    if (f) {
        if (fscanf(f, "%lu", &pages) != 1)
            pages = 0;
        fclose(f);
    }
    return pages * 2;
}

struct arguments {
    char text[MOST_ARGS][128];
    char *v[MOST_ARGS + 1];
    int n;
};

__attribute__((format(printf, 2, 3))) static void add(struct arguments *a, const char *fmt, ...)
{
    if (a->n == MOST_ARGS)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(a->text[a->n], sizeof(a->text[0]), fmt, args);
    va_end(args);
    a->v[a->n] = a->text[a->n];
    a->v[++a->n] = NULL;
}

static void fill(struct arguments *a, const struct eal_config *cfg, bool huge)
{
    a->n = 0;
    add(a, "meridian");
    add(a, "--no-telemetry");
    if (cfg->lcores) {
        add(a, "--lcores=%s", cfg->lcores);
    } else {
        add(a, "-l");
        add(a, "0");
    }
    /* --in-memory wants hugepages; without them nothing is shared either, but it takes these two words. */
    if (huge) {
        add(a, "--in-memory");
    } else {
        add(a, "--no-huge");
        add(a, "--no-shconf");
        add(a, "--file-prefix=meridian-%.40s-%d", cfg->name, (int)getpid());
    }
    add(a, "-m");
    add(a, "%u", cfg->memory_mib);
    if (!cfg->n_pci)
        add(a, "--no-pci");
    for (size_t i = 0; i < cfg->n_pci; i++) {
        add(a, "-a");
        add(a, "%.100s", cfg->pci[i]);
    }
}

int eal_start(const struct eal_config *cfg, bool *ret_huge, struct error *err)
{
    bool huge = cfg->huge == EAL_HUGE_YES || (cfg->huge == EAL_HUGE_AUTO && free_huge_mib() >= cfg->memory_mib + 64);
    struct arguments *a = malloc(sizeof(*a));
    if (!a)
        return error_set(err, ENOMEM, "no memory");
    fill(a, cfg, huge);
    log_to_ours();
    rte_log_set_global_level(RTE_LOG_NOTICE);
    cpu_set_t before;
    bool affine = sched_getaffinity(0, sizeof(before), &before) == 0;
    int rc = rte_eal_init(a->n, a->v);
    int code = rte_errno;
    /* It ties the thread to one core; only who asked for a core wants that. */
    if (affine && !cfg->lcores)
        sched_setaffinity(0, sizeof(before), &before);
    free(a);
    if (rc < 0)
        return error_set(err, code ? code : EIO, "DPDK does not start%s with %u MiB: %s%s", huge ? " on hugepages" : "",
            cfg->memory_mib, rte_strerror(code), huge ? "; free more hugepages or set memory.huge to no" : "");
    *ret_huge = huge;
    return 0;
}

void eal_stop(void)
{
    rte_eal_cleanup();
}

int eal_thread_register(struct error *err)
{
    if (rte_thread_register() < 0)
        return error_set(err, rte_errno ? rte_errno : EIO, "DPDK takes no more threads: %s", rte_strerror(rte_errno));
    return 0;
}

void eal_thread_unregister(void)
{
    rte_thread_unregister();
}
