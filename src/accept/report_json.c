/* The report for machines (docs/accept.md has its members). */
#include "accept/accept.h"
#include "accept/runner.h"

#include <errno.h>
#include <stdlib.h>
#include <yyjson.h>

static yyjson_mut_val *text(yyjson_mut_doc *d, const char *s)
{
    return s ? yyjson_mut_strcpy(d, s) : yyjson_mut_null(d);
}

static yyjson_mut_val *check(
    yyjson_mut_doc *d, const struct accept_check *c, const struct accept_finding *f, bool quick)
{
    static const char *const relations[] = {"==", "<=", ">=", "printed"};
    const struct accept_run *run = accept_run_find(c->run);
    yyjson_mut_val *o = yyjson_mut_obj(d);
    yyjson_mut_obj_add_strcpy(d, o, "what", c->what);
    yyjson_mut_obj_add_str(d, o, "relation", relations[c->relation]);
    yyjson_mut_obj_add_real(d, o, "goal", c->bound);
    yyjson_mut_obj_add_val(d, o, "value", f->there ? yyjson_mut_real(d, f->value) : yyjson_mut_null(d));
    yyjson_mut_obj_add_bool(d, o, "holds", f->holds);
    yyjson_mut_obj_add_val(d, o, "why", text(d, *f->why ? f->why : NULL));
    yyjson_mut_obj_add_strcpy(d, o, "run", run->name);
    yyjson_mut_obj_add_strcpy(d, o, "command", accept_run_command(run, quick));
    return o;
}

static yyjson_mut_val *row(yyjson_mut_doc *d, const struct accept_row *r, const struct accept_judgement *j, bool quick)
{
    yyjson_mut_val *o = yyjson_mut_obj(d), *checks = yyjson_mut_arr(d);
    yyjson_mut_obj_add_strcpy(d, o, "id", r->id);
    yyjson_mut_obj_add_strcpy(d, o, "title", r->title);
    yyjson_mut_obj_add_str(d, o, "verdict", accept_verdict_name(j->verdict));
    yyjson_mut_obj_add_val(d, o, "why", text(d, *j->why ? j->why : NULL));
    yyjson_mut_obj_add_val(d, o, "label", j->n ? text(d, accept_label_name(j->label)) : yyjson_mut_null(d));
    yyjson_mut_obj_add_strcpy(d, o, "standard", r->standard);
    yyjson_mut_obj_add_strcpy(d, o, "goal", r->goal);
    yyjson_mut_obj_add_val(d, o, "done", text(d, r->did));
    for (unsigned i = 0; i < j->n; i++)
        yyjson_mut_arr_append(checks, check(d, &r->checks[i], &j->findings[i], quick));
    yyjson_mut_obj_add_val(d, o, "checks", checks);
    return o;
}

static yyjson_mut_val *run(yyjson_mut_doc *d, const struct accept_run *u, const struct accept_outcome *o, bool quick)
{
    static const char *const ends[] = {"not run", "done", "failed", "cannot run here", "given up"};
    yyjson_mut_val *v = yyjson_mut_obj(d);
    yyjson_mut_obj_add_strcpy(d, v, "name", u->name);
    yyjson_mut_obj_add_str(d, v, "end", ends[o->end]);
    yyjson_mut_obj_add_sint(d, v, "status", o->status);
    yyjson_mut_obj_add_real(d, v, "seconds", o->seconds);
    yyjson_mut_obj_add_strcpy(d, v, "command", accept_run_command(u, quick));
    yyjson_mut_obj_add_str(d, v, "label", accept_label_name(u->label));
    return v;
}

static void about(yyjson_mut_doc *d, yyjson_mut_val *root, const struct accept_about *a)
{
    char at[40];
    strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", gmtime(&a->started));
    yyjson_mut_obj_add_strcpy(d, root, "started", at);
    yyjson_mut_obj_add_real(d, root, "seconds", a->seconds);
    yyjson_mut_obj_add_strcpy(d, root, "commit", a->commit);
    yyjson_mut_obj_add_strcpy(d, root, "machine", a->machine);
    yyjson_mut_obj_add_real(d, root, "load_before", a->load_before);
    yyjson_mut_obj_add_real(d, root, "load_after", a->load_after);
    yyjson_mut_obj_add_bool(d, root, "quick", a->quick);
    yyjson_mut_obj_add_bool(d, root, "interrupted", a->interrupted);
}

int accept_write_json(FILE *to, const struct accept_rows *rows, const struct accept_result *r)
{
    yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
    if (!d)
        return -ENOMEM;
    yyjson_mut_val *root = yyjson_mut_obj(d), *list = yyjson_mut_arr(d), *runs = yyjson_mut_arr(d);
    yyjson_mut_doc_set_root(d, root);
    about(d, root, &r->about);
    for (unsigned v = 0; v < ACCEPT_VERDICTS; v++)
        yyjson_mut_obj_add_uint(d, root, accept_verdict_name((enum accept_verdict)v), r->count[v]);
    for (size_t i = 0; i < rows->n; i++)
        yyjson_mut_arr_append(list, row(d, rows->row[i], &r->judgements[i], r->about.quick));
    for (size_t i = 0; i < accept_n_runs; i++)
        if (accept_run_wanted(&accept_runs[i], rows, r->about.quick))
            yyjson_mut_arr_append(runs, run(d, &accept_runs[i], &r->outcomes[i], r->about.quick));
    yyjson_mut_obj_add_val(d, root, "rows", list);
    yyjson_mut_obj_add_val(d, root, "runs", runs);
    size_t len;
    char *s = yyjson_mut_write(d, YYJSON_WRITE_PRETTY_TWO_SPACES, &len);
    int rc = s && fwrite(s, 1, len, to) == len && fputc('\n', to) != EOF ? 0 : -ENOMEM;
    free(s);
    yyjson_mut_doc_free(d);
    return rc;
}
