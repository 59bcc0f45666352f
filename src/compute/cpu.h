/* The one ggml CPU backend of this process: found once, for kernels only (never BLAS, never a GPU).
 *
 * ggml keeps a library per kind of processor and loads it at run time; we choose the best by its own score without
 * loading anything else. CPU_REPACK, where present, is the buffer type that keeps weights in the order in which the
 * matrix kernels read them. */
#ifndef MERIDIAN_COMPUTE_CPU_H
#define MERIDIAN_COMPUTE_CPU_H

#include "base/error.h"

#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <ggml.h>
#include <stdint.h>

struct cpu {
    ggml_backend_dev_t dev;
    ggml_backend_buffer_type_t plain;
    ggml_backend_buffer_type_t repack; /* NULL: this ggml has none */
    ggml_backend_set_n_threads_t set_n_threads;
    ggml_threadpool_t (*threadpool_new)(struct ggml_threadpool_params *params);
    void (*threadpool_free)(ggml_threadpool_t pool);
    void (*set_threadpool)(ggml_backend_t backend, ggml_threadpool_t pool);
};

/* Thread-safe, the same answer each time. Call it before a process gives up its right to open files. -ENOENT when no
 * CPU backend is installed. The struct lives as long as the process. */
int cpu_get(const struct cpu **ret, struct error *err);

/* Processors this process may use, at least 1. */
uint32_t cpu_cores(void);

#endif
