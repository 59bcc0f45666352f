/* ggml's own loader (ggml_backend_load_all) also loads BLAS and whatever GPU drivers are installed, into every worker.
 * So we look for the CPU libraries where ggml keeps them, ask each for its score, load the best, and fall back to
 * ggml's loader only when that finds nothing. */
#include "compute/cpu.h"

#include "base/log.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct cpu the_cpu;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void quiet(enum ggml_log_level level, const char *text, void *user)
{
    if (level == GGML_LOG_LEVEL_ERROR)
        log_error("ggml: %.*s", (int)strcspn(text, "\n"), text);
}

static int score_of(const char *path)
{
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return 0;
    int (*score)(void) = (int (*)(void))dlsym(lib, "ggml_backend_score");
    int s = score ? score() : 0;
    dlclose(lib);
    return s;
}

/* Loads the libggml-cpu-*.so of this folder that suits this machine best, if there is one. */
static void load_best(const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return;
    char best[512] = "", path[512];
    int best_score = 0;
    for (struct dirent *e; (e = readdir(dir));) {
        size_t n = strlen(e->d_name);
        if (strncmp(e->d_name, "libggml-cpu", 11) != 0 || n < 3 || strcmp(e->d_name + n - 3, ".so") != 0)
            continue;
        if (snprintf(path, sizeof path, "%s/%s", folder, e->d_name) >= (int)sizeof path)
            continue;
        int s = score_of(path);
        if (s > best_score) {
            best_score = s;
            memcpy(best, path, sizeof best);
        }
    }
    closedir(dir);
    if (best[0])
        ggml_backend_load(best);
}

/* Debian puts the backends into <libdir>/ggml/backends0, beside libggml itself. */
static void load(void)
{
    Dl_info info;
    char folder[400];
    if (dladdr((void *)ggml_backend_load, &info) && info.dli_fname) {
        const char *slash = strrchr(info.dli_fname, '/');
        int n = slash ? (int)(slash - info.dli_fname) : 0;
        if (slash && snprintf(folder, sizeof folder, "%.*s/ggml/backends0", n, info.dli_fname) < (int)sizeof folder)
            load_best(folder);
    }
    if (!ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU))
        ggml_backend_load_all();
}

static ggml_backend_buffer_type_t find_repack(ggml_backend_reg_t reg, ggml_backend_dev_t dev)
{
    ggml_backend_dev_get_extra_bufts_t get =
        (ggml_backend_dev_get_extra_bufts_t)ggml_backend_reg_get_proc_address(reg, "ggml_backend_dev_get_extra_bufts");
    ggml_backend_buffer_type_t *list = get ? get(dev) : NULL;
    for (; list && *list; list++)
        if (strcmp(ggml_backend_buft_name(*list), "CPU_REPACK") == 0)
            return *list;
    return NULL;
}

static void find(void)
{
    ggml_log_set(quiet, NULL);
    if (!ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU))
        load();
    ggml_backend_dev_t dev = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (!dev)
        return;
    ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(dev);
    the_cpu.plain = ggml_backend_dev_buffer_type(dev);
    the_cpu.repack = find_repack(reg, dev);
    the_cpu.set_n_threads =
        (ggml_backend_set_n_threads_t)ggml_backend_reg_get_proc_address(reg, "ggml_backend_set_n_threads");
    *(void **)&the_cpu.threadpool_new = ggml_backend_reg_get_proc_address(reg, "ggml_threadpool_new");
    *(void **)&the_cpu.threadpool_free = ggml_backend_reg_get_proc_address(reg, "ggml_threadpool_free");
    *(void **)&the_cpu.set_threadpool = ggml_backend_reg_get_proc_address(reg, "ggml_backend_cpu_set_threadpool");
    if (the_cpu.set_n_threads)
        the_cpu.dev = dev;
}

int cpu_get(const struct cpu **ret, struct error *err)
{
    pthread_once(&once, find);
    if (!the_cpu.dev)
        return error_set(err, ENOENT, "no ggml CPU backend was found; install libggml0 (0.27 or later) and try again");
    *ret = &the_cpu;
    return 0;
}

uint32_t cpu_cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (uint32_t)n : 1;
}
