/* From how many columns on does a product's rounding no longer depend on their number?
 *
 * ggml takes other kernels for few columns than for many: CPU_REPACK works on four at a time and rounds what is left
 * over differently, and products with 256-wide blocks change kernels at eight. Which and where is ggml's own matter and
 * changes with version and processor, so we find out by trying, once per kind. */
#ifndef MERIDIAN_COMPUTE_COLUMNS_H
#define MERIDIAN_COMPUTE_COLUMNS_H

#include "compute/cpu.h"

#include <stdbool.h>
#include <stdint.h>

#define COLUMNS_MOST 64u

/* The least multiple of 4 so that every product of at least as many columns, in multiples of 4, gives a column the same
 * bits; 0 when there is none up to COLUMNS_MOST. Thread-safe; tried once, some milliseconds. */
uint32_t columns_least(const struct cpu *cpu, enum ggml_type type, bool repack);

#endif
