/* Where a worker keeps things: installed halves, pieces of halves that are being installed, and checkpoints of training
 * runs, each named by what it is. A folder of its own; names are made here from numbers, never from a peer's words.
 *
 *   DIR/halves/ID-STEP-RUN.gguf        DIR/halves/ID-STEP-RUN.part
 *   DIR/runs/ID-RUN/step-STEP.state */
#ifndef MERIDIAN_SPLIT_STORE_H
#define MERIDIAN_SPLIT_STORE_H

#include "base/error.h"
#include "model/params.h"

#include <stdbool.h>
#include <stdint.h>

#define STORE_PATH      1024
#define STORE_MAX_STEPS 4

struct store {
    char dir[768];
};

int store_open(struct store *ret, const char *dir, struct error *err); /* makes the folders */

void store_half_path(const struct store *s, const struct model_cut *cut, char ret[STORE_PATH]);
void store_part_path(const struct store *s, const struct model_cut *cut, char ret[STORE_PATH]);
bool store_half_has(const struct store *s, const struct model_cut *cut);
/* Any half that is there, the newest file first, for a sentence about what is. part, head and tail are not known. */
bool store_half_newest(const struct store *s, struct model_cut *ret);
/* After this half was written by training: keeps it and the newest before it of the same run, and all others. */
void store_halves_prune(const struct store *s, const struct model_cut *cut);
/* Removes other parts than this one: a worker installs one half at a time. cut NULL: all. */
void store_parts_clear(const struct store *s, const struct model_cut *keep);
uint64_t store_part_size(const struct store *s, const struct model_cut *cut); /* bytes there; 0: none */
uint64_t store_free_bytes(const struct store *s);                             /* of the file system */

/* Checkpoints of one run of one cut. */
int store_run_make(const struct store *s, const uint8_t id[32], const uint8_t run[16], struct error *err);
void store_step_path(
    const struct store *s, const uint8_t id[32], const uint8_t run[16], uint64_t step, char ret[STORE_PATH]);
/* The newest first; how many. */
uint32_t store_run_steps(
    const struct store *s, const uint8_t id[32], const uint8_t run[16], uint64_t ret[STORE_MAX_STEPS]);
/* After `step` was written: keeps it and the newest before it; what is newer belongs to a future that was given up. */
void store_run_prune(const struct store *s, const uint8_t id[32], const uint8_t run[16], uint64_t step);
/* After `step` was loaded: no checkpoint of the future that ended with it may pass for one that the campus knows. */
void store_run_forget_after(const struct store *s, const uint8_t id[32], const uint8_t run[16], uint64_t step);

#endif
