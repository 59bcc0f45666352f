/* Which rows are wanted. */
#include "accept/accept.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct accept_row *row_at(size_t i)
{
    return i < accept_n_clauses ? &accept_clauses[i] : &accept_figures[i - accept_n_clauses];
}

static size_t row_count(void)
{
    return accept_n_clauses + accept_n_figures;
}

/* "L1" is L1, "L" every L row, "figure 7", "fig7" and "7" are F7. */
static bool matches(const char *word, const char *id)
{
    if (strcasecmp(word, id) == 0 || (word[0] && !word[1] && strncasecmp(word, id, 1) == 0))
        return true;
    if (strncasecmp(word, "fig", 3) == 0)
        word += strncasecmp(word, "figure", 6) == 0 ? 6 : 3;
    word += strspn(word, " ");
    return id[0] == 'F' && *word && strcmp(word, id + 1) == 0;
}

static int unknown(const char *word, struct error *err)
{
    char near[200] = "";
    for (size_t i = 0; i < row_count(); i++) {
        const char *id = row_at(i)->id;
        if (strncasecmp(id, word, 1) == 0 && strlen(near) + strlen(id) + 3 < sizeof(near)) {
            strcat(near, *near ? ", " : "");
            strcat(near, id);
        }
    }
    return error_set(err, EINVAL, "there is no row \"%s\"; %s%s%s", word, *near ? "there are " : "", near,
        *near ? "" : "families are S, A, L, T, X, R, G and F (figures); see meridian accept --list");
}

int accept_rows_choose(struct accept_rows *ret, const char *only, struct error *err)
{
    size_t n = row_count();
    bool *wanted = calloc(n, sizeof(*wanted));
    char *words = only ? strdup(only) : NULL, *save = NULL;
    *ret = (struct accept_rows){calloc(n, sizeof(*ret->row)), 0};
    int rc = !wanted || !ret->row || (only && !words) ? error_set(err, ENOMEM, "out of memory") : 0;
    for (char *w = !rc && only ? strtok_r(words, ",", &save) : NULL; w && !rc; w = strtok_r(NULL, ",", &save)) {
        bool any = false;
        w += strspn(w, " ");
        for (size_t i = 0; i < n; i++)
            if (matches(w, row_at(i)->id))
                wanted[i] = any = true;
        rc = any ? 0 : unknown(w, err);
    }
    for (size_t i = 0; i < n && !rc; i++)
        if (!only || wanted[i])
            ret->row[ret->n++] = row_at(i);
    if (!rc && !ret->n)
        rc = error_set(err, EINVAL, "--only names no row");
    free(wanted);
    free(words);
    if (rc)
        accept_rows_done(ret);
    return rc;
}

void accept_rows_done(struct accept_rows *r)
{
    free(r->row);
    *r = (struct accept_rows){0};
}

bool accept_run_wanted(const struct accept_run *run, const struct accept_rows *rows, bool quick)
{
    if (quick && run->quick && !*run->quick)
        return false;
    for (size_t i = 0; i < rows->n; i++)
        for (const struct accept_check *c = rows->row[i]->checks; c < rows->row[i]->checks + ACCEPT_CHECKS && c->run;
            c++)
            if (strcmp(c->run, run->name) == 0)
                return true;
    return false;
}
