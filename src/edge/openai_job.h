/* One generation request between HTTP and engine (internal to openai*.c).
 *
 * Who touches what: the handler's thread fills a job and submits its choices; from then on a choice belongs to the
 * engine's thread, where its callbacks run. `open` counts choices not ended plus one for the handler, and whoever takes it
 * to zero writes the end of the answer. `dead` is set when nobody wants the answer any more. No locks. */
#ifndef MERIDIAN_EDGE_OPENAI_JOB_H
#define MERIDIAN_EDGE_OPENAI_JOB_H

#include "edge/keys.h"
#include "edge/openai.h"
#include "edge/openai_json.h"

#include <stdatomic.h>

struct openai_job;

struct openai_choice {
    struct openai_job *job;
    uint32_t index;
    atomic_bool submitted;
    uint64_t id; /* the engine's, valid once submitted */
    struct openai_text text;
    struct buf out;     /* text let go: of this chunk (stream) or of all (whole) */
    struct buf entries; /* struct openai_entry not written yet */
    uint32_t n_tokens;
    int64_t last_ns; /* of its last token; 0: none yet */
    bool role_sent;
    const char *finish;
};

struct openai_job {
    struct openai *owner;
    struct openai_job *next, *prev; /* in the owner's list */
    struct http_answer *answer;
    struct openai_request rq;
    struct openai_frame frame;
    struct openai_usage usage;
    char key[KEY_NAME_MOST + 1];
    int64_t started_ns;
    struct buf chunk; /* scratch, the engine's thread */
    atomic_uint refs, open;
    atomic_bool dead, failed;
    uint32_t n_choices;
    struct openai_choice choices[];
};

/* Takes the request over. NULL: no memory. One reference, and `open` is 1 + n_choices. */
struct openai_job *openai_job_create(struct openai *owner, struct openai_request *rq, struct http_answer *a);
struct openai_job *openai_job_ref(struct openai_job *j);
void openai_job_unref(struct openai_job *j); /* the last one tells the owner: openai_job_gone_from */

/* The engine's callbacks; user is the choice. */
bool openai_job_on_token(void *user, const struct engine_token *t);
void openai_job_on_end(void *user, enum engine_end why, const char *text);

void openai_job_close(struct openai_job *j);  /* one of `open` less */
void openai_job_cancel(struct openai_job *j); /* cancels at the engine whatever is submitted; any thread */
/* The answer becomes this error (or the stream ends with it); once. */
void openai_job_fail(struct openai_job *j, const struct openai_error *e);

/* openai.c */
struct engine *openai_engine(struct openai *o);
const struct openai_config *openai_config_of(const struct openai *o);
void openai_job_forget(struct openai_job *j); /* takes it out of the list and counts its key down */

#endif
