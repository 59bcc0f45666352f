/* Verdicts, choosing rows, paths into JSON, reports: with tables of the test's own. */
#include "base/test.h"

#include "accept/accept.h"
#include "accept/json_path.h"
#include "accept/runner.h"
#include "os/file.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yyjson.h>

const struct accept_run accept_runs[] = {
    {"good", ACCEPT_JSON, ACCEPT_SIMULATED,
        "echo {\"drops\":0,\"hosts\":[{\"name\":\"a\",\"p\":3},{\"name\":\"b\",\"p\":5}]}", NULL, 1, 1, NULL},
    {"lab", ACCEPT_TEST, ACCEPT_LAB, "true", "false", 1, 1, NULL},
    {"skips", ACCEPT_TEST, ACCEPT_LIVE, "tests/skips", "", 1, 1, NULL},
    {"mute", ACCEPT_JSON, ACCEPT_LIVE, "true", NULL, 1, 1, NULL},
    {"missing", ACCEPT_JSON, ACCEPT_LIVE, "no-such-program", NULL, 1, 1, NULL},
    {"bench", ACCEPT_FIGURES, ACCEPT_EMULATED, "ls /", NULL, 1, 1, "area"},
    {"endless", ACCEPT_TEST, ACCEPT_LIVE, "sleep 1000", NULL, 1, 1, NULL},
};
const size_t accept_n_runs = sizeof(accept_runs) / sizeof(*accept_runs);
enum { GOOD, LAB, SKIPS, MUTE, MISSING, BENCH, ENDLESS, RUNS };

const struct accept_row accept_clauses[] = {
    {"L1", "no <loss>", "phrase & number", "0", "ran \"it\"", {{"good", "drops", "drops", ACCEPT_EQUAL, 0}}, NULL,
        NULL},
    {"L2", "both", "p", "g", NULL,
        {{"good", "hosts[b].p", "p of b", ACCEPT_MOST, 4}, {"lab", "", "lab test", ACCEPT_EQUAL, 1}}, NULL, NULL},
    {"X1", "unbuilt", "p", "g", NULL, {{0}}, "not built: X1", NULL},
    {"X2", "nothing", "p", "g", NULL, {{0}}, NULL, NULL},
};
const size_t accept_n_clauses = sizeof(accept_clauses) / sizeof(*accept_clauses);
const struct accept_row accept_figures[] = {
    {"F7", "seven", "p", "g", NULL, {{"bench", "area/speed", "speed", ACCEPT_LEAST, 2}}, NULL, NULL},
    {"F12", "twelve", "p", "g", NULL, {{"skips", "", "test", ACCEPT_EQUAL, 1}}, NULL, NULL},
    {"F13", "printed", "p", "g", NULL, {{"good", "drops", "drops", ACCEPT_PRINTED, 0}}, "not built: the rest", NULL},
};
const size_t accept_n_figures = sizeof(accept_figures) / sizeof(*accept_figures);

static struct yyjson_doc *doc(const char *text)
{
    yyjson_doc *d = yyjson_read(text, strlen(text), 0);
    assert_non_null(d);
    return d;
}

static void test_paths(void **state)
{
    yyjson_doc *d = doc("{\"n\":2.5,\"t\":true,\"no\":null,\"s\":\"x\",\"o\":{\"in\":7},\"list\":[{\"name\":\"a "
                        "b\",\"v\":3,\"met\":true},"
                        "{\"figure\":\"x/y\",\"v\":-1,\"met\":false}],\"empty\":[],\"deep\":[[1],[2,3]]}");
    static const struct {
        const char *path;
        double want;
    } good[] = {{"n", 2.5}, {"t", 1}, {"o.in", 7}, {"list[a b].v", 3}, {"list[x/y].v", -1}, {"list[0].v", 3},
        {"list[*].v", -1}, {"list[+].v", 3}, {"list[*].met", 0}, {"deep[1][0]", 2}};
    static const char *const bad[] = {"", "x", "no", "s", "o", "o.in.x", "list[c].v", "list[2].v", "list[].v", "list[0",
        "n[0]", "empty[*]", "list[*].name", "list[*].none", "deep[+]", "o.", "[0]"};
    double v;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        if (!json_path_number(yyjson_doc_get_root(d), good[i].path, &v))
            fail_msg("%s leads nowhere", good[i].path);
        if (v != good[i].want)
            fail_msg("%s: %g", good[i].path, v);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (json_path_number(yyjson_doc_get_root(d), bad[i], &v))
            fail_msg("%s: %g", bad[i], v);
    assert_false(json_path_number(NULL, "n", &v));
    yyjson_doc_free(d);
}

static struct accept_judgement judge(const char *id, struct accept_outcome *o)
{
    struct accept_rows rows;
    struct accept_judgement j;
    assert_int_equal(accept_rows_choose(&rows, id, NULL), 0);
    assert_int_equal(rows.n, 1);
    accept_judge(&j, rows.row[0], o);
    accept_rows_done(&rows);
    return j;
}

static void test_verdicts(void **state)
{
    struct accept_outcome o[RUNS] = {0};
    assert_int_equal(judge("L1", o).verdict, ACCEPT_UNTRIED);
    o[GOOD] = (struct accept_outcome){
        .end = ACCEPT_DONE, .result = doc("{\"drops\":0,\"hosts\":[{\"name\":\"b\",\"p\":4}]}")};
    struct accept_judgement j = judge("L1", o);
    assert_int_equal(j.verdict, ACCEPT_MET);
    assert_int_equal(j.label, ACCEPT_SIMULATED);
    assert_string_equal(j.why, "");
    assert_int_equal(judge("L2", o).verdict, ACCEPT_UNTRIED); /* half of it */
    o[LAB] = (struct accept_outcome){.end = ACCEPT_FAILED, .status = 1, .why = "it hurt"};
    j = judge("L2", o);
    assert_int_equal(j.verdict, ACCEPT_NOT_MET);
    assert_non_null(strstr(j.why, "it hurt"));
    assert_true(j.findings[0].holds && !j.findings[1].holds);
    o[LAB].end = ACCEPT_DONE;
    assert_int_equal(judge("L2", o).verdict, ACCEPT_MET);
    assert_int_equal(judge("X1", o).verdict, ACCEPT_NOT_MET);
    assert_string_equal(judge("X1", o).why, "not built: X1");
    assert_string_equal(judge("X2", o).why, "not built");
    j = judge("F13", o); /* what is missing counts, although the figure is there */
    assert_int_equal(j.verdict, ACCEPT_NOT_MET);
    assert_true(j.findings[0].holds);
    o[SKIPS] = (struct accept_outcome){.end = ACCEPT_SKIPPED, .status = 77, .why = "no kernel for it"};
    j = judge("F12", o);
    assert_int_equal(j.verdict, ACCEPT_NOT_HERE);
    assert_non_null(strstr(j.why, "no kernel for it"));
    yyjson_doc_free(o[GOOD].result);
}

static void test_figures(void **state)
{
    static const struct {
        const char *text;
        enum accept_verdict want;
    } rows[] = {{"[{\"figure\":\"area/speed\",\"value\":2}]", ACCEPT_MET},
        {"[{\"figure\":\"area/speed\",\"value\":1.99}]", ACCEPT_NOT_MET},
        {"[{\"figure\":\"area/speed\",\"value\":null}]", ACCEPT_NOT_MET}, {"[]", ACCEPT_NOT_MET},
        {"[{\"figure\":\"area/other\",\"value\":9}]", ACCEPT_NOT_MET}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct accept_outcome o[RUNS] = {[BENCH] = {.end = ACCEPT_DONE, .result = doc(rows[i].text)}};
        assert_int_equal(judge("F7", o).verdict, rows[i].want);
        yyjson_doc_free(o[BENCH].result);
    }
}

static void test_choice(void **state)
{
    struct accept_rows r;
    struct error err;
    assert_int_equal(accept_rows_choose(&r, NULL, &err), 0);
    assert_int_equal(r.n, 7);
    accept_rows_done(&r);
    assert_int_equal(accept_rows_choose(&r, "x, l1,fig7,L1", &err), 0);
    assert_int_equal(r.n, 4);
    assert_string_equal(r.row[0]->id, "L1");
    assert_string_equal(r.row[3]->id, "F7");
    assert_true(accept_run_wanted(&accept_runs[BENCH], &r, true));
    assert_false(accept_run_wanted(&accept_runs[LAB], &r, false));
    accept_rows_done(&r);
    assert_int_equal(accept_rows_choose(&r, "figure 12", &err), 0);
    assert_string_equal(r.row[0]->id, "F12");
    assert_true(accept_run_wanted(&accept_runs[SKIPS], &r, false));
    assert_false(accept_run_wanted(&accept_runs[SKIPS], &r, true)); /* too long for a quick one */
    accept_rows_done(&r);
    assert_int_equal(accept_rows_choose(&r, "L9", &err), -EINVAL);
    assert_non_null(strstr(err.text, "\"L9\""));
    assert_non_null(strstr(err.text, "L1, L2"));
    assert_int_equal(accept_rows_choose(&r, "quux", &err), -EINVAL);
    assert_non_null(strstr(err.text, "--list"));
    assert_int_equal(accept_rows_choose(&r, "", &err), -EINVAL);
}

/* --- real commands ------------------------------------------------------------------------------------------------- */

static char folder[64];
static volatile int interrupted;

static void no_tick(void *user, const struct accept_run *run, double seconds)
{
    if (user && seconds > 0.1)
        interrupted = 1;
}

static void test_runs(void **state)
{
    struct accept_place p = {"/", folder, false, &interrupted, no_tick, NULL};
    struct accept_outcome o;
    double v;
    assert_int_equal(accept_run_make(&o, &accept_runs[GOOD], &p), 0);
    assert_int_equal(o.end, ACCEPT_DONE);
    assert_true(json_path_number(yyjson_doc_get_root(o.result), "hosts[a].p", &v) && v == 3);
    accept_outcome_done(&o);
    assert_int_equal(accept_run_make(&o, &accept_runs[LAB], &p), 0);
    assert_int_equal(o.end, ACCEPT_DONE);
    p.quick = true;
    assert_int_equal(accept_run_make(&o, &accept_runs[LAB], &p), 0);
    assert_int_equal(o.end, ACCEPT_FAILED);
    assert_int_equal(o.status, 1);
    assert_int_equal(accept_run_make(&o, &accept_runs[MUTE], &p), 0);
    assert_int_equal(o.end, ACCEPT_FAILED);
    assert_int_equal(accept_run_make(&o, &accept_runs[MISSING], &p), 0);
    assert_int_equal(o.status, 127);
    assert_non_null(strstr(o.why, "no-such-program"));
    assert_int_equal(accept_run_make(&o, &accept_runs[BENCH], &p), 0); /* ends well, but wrote nothing */
    assert_int_equal(o.end, ACCEPT_FAILED);
    p.user = &p;
    assert_int_equal(accept_run_make(&o, &accept_runs[ENDLESS], &p), -EINTR);
    assert_int_equal(o.end, ACCEPT_NOT_RUN);
    assert_true(o.seconds < 20);
    interrupted = 0;
}

static void test_reports(void **state)
{
    struct accept_rows rows;
    assert_int_equal(accept_rows_choose(&rows, NULL, NULL), 0);
    struct accept_outcome o[RUNS] = {[GOOD] = {.end = ACCEPT_DONE, .result = doc("{\"drops\":1}")},
        [LAB] = {.end = ACCEPT_FAILED, .status = 1, .why = "<script>alert('x')</script> & \"more\""}};
    struct accept_judgement j[7];
    struct accept_result r = {
        .outcomes = o, .judgements = j, .about = {.commit = "<c>", .machine = "m&m", .interrupted = true}};
    for (size_t i = 0; i < rows.n; i++) {
        accept_judge(&j[i], rows.row[i], o);
        r.count[j[i].verdict]++;
    }
    char *text = NULL;
    size_t len;
    FILE *f = open_memstream(&text, &len);
    assert_int_equal(accept_write_html(f, &rows, &r), 0);
    fclose(f);
    assert_null(strstr(text, "<script>"));
    assert_null(strstr(text, "<loss>"));
    assert_null(strstr(text, "<c>"));
    assert_non_null(strstr(text, "no &lt;loss&gt;"));
    assert_non_null(strstr(text, "drops: 1, not equal to 0"));
    assert_null(strstr(text, "http")); /* nothing is fetched */
    free(text);
    f = open_memstream(&text, &len);
    assert_int_equal(accept_write_json(f, &rows, &r), 0);
    fclose(f);
    yyjson_doc *d = yyjson_read(text, len, 0);
    assert_non_null(d);
    double v;
    assert_true(json_path_number(yyjson_doc_get_root(d), "rows[0].checks[0].value", &v) && v == 1);
    assert_true(json_path_number(yyjson_doc_get_root(d), "rows[0].checks[0].holds", &v) && v == 0);
    assert_string_equal(
        yyjson_get_str(yyjson_ptr_get(d ? yyjson_doc_get_root(d) : NULL, "/rows/0/verdict")), "not met");
    yyjson_doc_free(d);
    free(text);
    yyjson_doc_free(o[GOOD].result);
    accept_rows_done(&rows);
}

int main(void)
{
    snprintf(folder, sizeof(folder), "/tmp/meridian-accept-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_paths), cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_figures), cmocka_unit_test(test_choice), cmocka_unit_test(test_runs),
        cmocka_unit_test(test_reports)};
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command) ? 1 : rc;
}
