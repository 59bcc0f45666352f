/* Comparisons of results: errors and verdicts of known figures, what is refused and how. */
#include "base/test.h"
#include "twin/compare.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORK(name, type, goodput, least, p50, p99, sent, lost)                                                         \
    "{\"name\":\"" name "\",\"type\":\"" type "\",\"goodput_bps\":" #goodput ",\"least_ns\":" #least                   \
    ",\"p50_ns\":" #p50 ",\"p99_ns\":" #p99 ",\"sent\":" #sent ",\"lost\":" #lost "}"
#define SIM(works)                                                                                                     \
    "{\"scenario\":\"s\",\"world\":\"sim\",\"as_lab\":true,\"whole\":true,\"mode\":\"lanes\",\"lane_drops\":0,"        \
    "\"workloads\":[" works "]}"
#define LAB(gap, works)                                                                                                \
    "{\"scenario\":\"s\",\"world\":\"lab\",\"mode\":\"lanes\",\"lane_drops\":0,\"gap_p50_ns\":50000,\"gap_p999_"       \
    "ns\":" #gap ",\"late_p999_ns\":1000,\"late_most_ns\":2000,\"workloads\":[" works "]}"

static struct twin_text text(const char *json)
{
    return (struct twin_text){"f.json", json, strlen(json)};
}

static struct twin_comparison compared(const char *const *json, unsigned n)
{
    struct twin_text t[TWIN_LABS_MOST + 2];
    struct twin_comparison c;
    struct error err = {""};
    for (unsigned i = 0; i < n; i++)
        t[i] = text(json[i]);
    if (twin_compare(&c, t, n, 0.05, &err))
        fail_msg("%s", err.text);
    return c;
}

static const struct twin_row *row(const struct twin_comparison *c, const char *work, enum twin_figure f)
{
    for (uint32_t i = 0; i < c->n_rows; i++)
        if (c->rows[i].figure == f && strcmp(c->rows[i].work, work) == 0)
            return &c->rows[i];
    fail_msg("no %s of %s", twin_figure_name(f), work);
    return NULL;
}

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-9;
}

static void test_errors(void **state)
{
    const char *const json[] = {LAB(1000, WORK("u", "udp", 100, 1000, 2000, 4000, 1000, 40)),
        SIM(WORK("u", "udp", 104, 1000, 1900, 4400, 2000, 78))};
    struct twin_comparison c = compared(json, 2);
    assert_true(c.n_rows == 5 && c.labs == 1 && c.as_lab);
    assert_true(near(row(&c, "u", TWIN_THROUGHPUT)->error, 0.04));
    assert_true(near(row(&c, "u", TWIN_LEAST)->error, 0));
    assert_true(near(row(&c, "u", TWIN_P50)->error, -0.05));
    assert_true(near(row(&c, "u", TWIN_P99)->error, 0.1));
    assert_true(near(row(&c, "u", TWIN_LOSS)->error, -0.025));
    assert_true(near(row(&c, "u", TWIN_LOSS)->chance, 2 * sqrt(1.0 / 40 + 1.0 / 78)));
    /* The twin is slower there: no wake-up of the lab's explains that. */
    assert_int_equal(row(&c, "u", TWIN_P99)->verdict, TWIN_OVER);
    assert_true(c.within == 4 && c.over == 1 && c.late == 0);
    assert_true(near(c.worst[TWIN_P99], 0.1) && near(c.worst[TWIN_P50], 0.05));
    twin_done(&c);
}

/* Of several runs the middle one counts; the others say how far apart they are. */
static void test_median(void **state)
{
    const char *const json[] = {LAB(1000, WORK("u", "roce", 90, 9, 9, 9, 9, 0)),
        SIM(WORK("u", "roce", 100, 9, 9, 9, 9, 0)), LAB(3000, WORK("u", "roce", 300, 9, 9, 9, 9, 0)),
        LAB(2000, WORK("u", "roce", 100, 9, 9, 9, 9, 0))};
    struct twin_comparison c = compared(json, 4);
    const struct twin_row *r = row(&c, "u", TWIN_THROUGHPUT);
    assert_true(near(r->lab, 100) && near(r->lab_low, 90) && near(r->lab_high, 300) && near(r->error, 0));
    assert_true(near(c.gap_p999_ns, 2000) && c.labs == 3);
    assert_int_equal(c.n_rows, 4); /* what RoCE lost is not known by share */
    twin_done(&c);
}

static void test_late(void **state)
{
    const char *const json[] = {LAB(100000, WORK("u", "tcp", 100, 1000000, 1300000, 1500000, 0, 0)),
        SIM(WORK("u", "tcp", 90, 1000000, 1000000, 1000000, 0, 0))};
    struct twin_comparison c = compared(json, 2);
    assert_int_equal(row(&c, "u", TWIN_P50)->verdict, TWIN_LATE);        /* 300 us apart, four wake-ups of 100 us */
    assert_int_equal(row(&c, "u", TWIN_P99)->verdict, TWIN_OVER);        /* 500 us */
    assert_int_equal(row(&c, "u", TWIN_THROUGHPUT)->verdict, TWIN_OVER); /* that is for latencies only */
    assert_true(c.late == 1 && c.over == 2 && c.within == 1);
    twin_done(&c);
}

/* What one of them does not know is not compared: null, missing, or a workload that the lab alone has. */
static void test_unknown(void **state)
{
    const char *const json[] = {
        LAB(1, WORK("u", "tcp", 100, null, null, null, 0, 0) "," WORK("c", "command", 1, 1, 1, 1, 1, 1)),
        SIM(WORK("u", "tcp", 100, 5, 6, 7, 10, 0))};
    struct twin_comparison c = compared(json, 2);
    assert_int_equal(c.n_rows, 1);
    assert_true(isnan(c.worst[TWIN_P50]) && near(c.worst[TWIN_THROUGHPUT], 0));
    twin_done(&c);
}

static void test_said(void **state)
{
    const char *const json[] = {LAB(100000, WORK("u", "udp", 100, 1000000, 1300000, 1500000, 1000, 0)),
        SIM(WORK("u", "udp", 90, 1000000, 1000000, 1000000, 1000, 0))};
    struct twin_comparison c = compared(json, 2);
    char *said = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&said, &len);
    twin_print(f, &c);
    assert_int_equal(twin_json(f, &c), 0);
    fclose(f);
    assert_non_null(strstr(said, "LAB LATE"));
    assert_non_null(strstr(said, "-10.00 %  OVER"));
    assert_non_null(strstr(said, "2 of 5 figures within the bar"));
    assert_non_null(strstr(said, "\"verdict\":\"lab late\""));
    free(said);
    twin_done(&c);
}

static void refused(const char *a, const char *b, const char *why)
{
    struct twin_text t[] = {text(a), text(b)};
    struct twin_comparison c;
    struct error err = {""};
    assert_int_equal(twin_compare(&c, t, 2, 0.05, &err), -EINVAL);
    if (!strstr(err.text, why))
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
}

static void test_refusals(void **state)
{
    static const char lab[] = LAB(1, WORK("u", "udp", 1, 1, 1, 1, 1, 0)),
                      sim[] = SIM(WORK("u", "udp", 1, 1, 1, 1, 1, 0));
    refused(lab, "", "no result of a run");
    refused(lab, "[1,2", "no result of a run");
    refused(lab, "{\"world\":\"moon\",\"workloads\":[]}", "no result of a run");
    refused(lab, "{\"world\":7,\"workloads\":{}}", "no result of a run");
    refused(lab, lab, "at least one");
    refused(sim, sim, "both of the simulator");
    refused(lab, "{\"world\":\"sim\",\"whole\":false,\"workloads\":[]}", "did not reach its end");
    refused(lab, "{\"world\":\"sim\",\"scenario\":\"other\",\"workloads\":[]}", "compare runs of one file");
    refused(lab, "{\"world\":\"sim\",\"scenario\":\"s\",\"mode\":\"pfc\",\"workloads\":[]}", "mode");
    refused(
        lab, "{\"world\":\"sim\",\"scenario\":\"s\",\"mode\":\"lanes\",\"workloads\":[1,{\"name\":3}]}", "in common");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_median),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_said),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
