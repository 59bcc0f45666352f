/* From the file's strings to a scenario's plain values: the getters and the place that errors name. Internal. */
#ifndef MERIDIAN_SCENARIO_RESOLVE_H
#define MERIDIAN_SCENARIO_RESOLVE_H

#include "scenario/file.h"
#include "scenario/scenario.h"
#include "scenario/units.h"

/* Where we are: "links 3 (north)". Getters leave *ret alone when the text was not given. */
struct place {
    const char *section;
    uint32_t i;
    const char *name;
    struct error *err;
};

/* -EINVAL; the sentence is `place: KEY TEXT <what>`. */
int place_bad(const struct place *p, const char *key, const char *text, const char *what);
int place_missing(const struct place *p, const char *key);

int get_rate(const struct place *p, const char *key, const char *text, uint64_t *ret);
int get_bytes(const struct place *p, const char *key, const char *text, uint64_t *ret);
int get_time(const struct place *p, const char *key, const char *text, int64_t *ret);
int get_km(const struct place *p, const char *key, const char *text, double *ret);
int get_share(const struct place *p, const char *key, const char *text, double *ret);
int get_truth(const struct place *p, const char *key, const char *text, bool *ret);
int get_u32(const struct place *p, const char *key, const char *text, uint32_t least, uint32_t most, uint32_t *ret);
int get_u64(const struct place *p, const char *key, const char *text, uint64_t *ret);
/* names: ends with NULL; the sentence lists them. */
int get_choice(const struct place *p, const char *key, const char *text, const char *const *names, uint32_t *ret);
int get_class(const struct place *p, const char *key, const char *text, enum scenario_class *ret);
/* An index by name; `find` is one of scenario_*_find. */
int get_name(const struct place *p, const char *key, const char *text, const struct scenario *s,
    uint32_t (*find)(const struct scenario *, const char *), const char *what, uint32_t *ret);

/* A name that a person may use in other places: present, of letters, digits, '-', '_', '.'. */
int check_name(const struct place *p, const char *text);
/* Shell-style '*' and '?'. */
bool name_matches(const char *pattern, const char *name);

int resolve_quality(const struct place *at, const struct file_fault *in, struct scenario_quality *q);
int resolve_topology(struct scenario *s, struct file_scenario *f, struct error *err); /* sites … paths */
int resolve_paths(struct scenario *s, struct file_scenario *f, struct error *err);
int resolve_programs(struct scenario *s, struct file_scenario *f, struct error *err); /* and setup */
int resolve_work(struct scenario *s, struct file_scenario *f, struct error *err);     /* workloads, faults */
int resolve_expect(struct scenario *s, struct file_scenario *f, struct error *err);

#endif
