/* For tests: an engine and a tokenizer without a model, linked in place of the real ones. A token is a byte (256 is the
 * only control token), and every request is answered with the engine's script, a token for each testing_engine_step. */
#ifndef MERIDIAN_EDGE_TESTING_ENGINE_H
#define MERIDIAN_EDGE_TESTING_ENGINE_H

#include "model/tokenizer.h"
#include "split/engine.h"

#define TESTING_VOCAB 257

struct engine *testing_engine_create(void);
void testing_engine_script(struct engine *e, const void *bytes, size_t len); /* borrowed; then ENGINE_STOP */
void testing_engine_context(struct engine *e, uint32_t context);
void testing_engine_refuse(struct engine *e, int code);         /* submit returns -code; 0: accepts again */
void testing_engine_refuse_after(struct engine *e, unsigned n); /* accepts n more, then -EBUSY */
void testing_engine_link(struct engine *e, bool up);
/* One token for each request in order of submission, or its end. Returns how many go on. */
unsigned testing_engine_step(struct engine *e);
void testing_engine_fail(struct engine *e, const char *text); /* ends every request with ENGINE_FAILED */
unsigned testing_engine_running(struct engine *e);
unsigned testing_engine_cancelled(struct engine *e);                /* so far */
const struct engine_request *testing_engine_last(struct engine *e); /* as submitted; tokens are the engine's copy */
/* Steps on a thread of its own until testing_engine_free, with pause_us between steps. */
void testing_engine_run(struct engine *e, unsigned pause_us);
void testing_engine_hurry(struct engine *e); /* from now on without a pause */
void testing_engine_free(struct engine *e);

const struct tokenizer *testing_tokenizer(void);

#endif
