#include "base/test.h"
#include "cli/args.h"

#include <string.h>

static int run_nothing(const struct cli_args *args, struct error *err)
{
    return 0;
}

static const struct cli_option options[] = {
    {"listen", "ADDR:PORT", "[::]:7443", "where"},
    {"count", "N", NULL, "how many"},
    {"size", "BYTES", "1k", "how big"},
    {"json", NULL, NULL, "machine-readable"},
    {NULL},
};
static const struct cli_verb verb = {"Test", "cloud run", "s", "NAME [MORE]", 1, 2, "a", "e", options, run_nothing};
static const struct cli_verb shorter = {"Test", "cloud", "s", "", 0, 0, "a", "e", NULL, run_nothing};
const struct cli_verb *const cli_verbs[] = {&shorter, &verb, NULL};

static int parse(struct cli_args *a, struct error *err, const char **argv)
{
    int n = 0;
    while (argv[n])
        n++;
    return cli_args_parse(a, &verb, n, argv, err);
}

static void values_defaults_and_operands(void **state)
{
    struct cli_args a;
    struct error err = {""};
    const char *argv[] = {"one", "--count=7", "--json", "--size", "2M", "--", "--two", NULL};
    assert_int_equal(parse(&a, &err, argv), 0);
    uint64_t count = 0, size = 0;
    assert_int_equal(cli_u64(&a, "count", 1, 10, &count, &err), 0);
    assert_int_equal(cli_size(&a, "size", 0, 1 << 30, &size, &err), 0);
    assert_int_equal(count, 7);
    assert_int_equal(size, 2 << 20);
    assert_string_equal(cli_str(&a, "listen"), "[::]:7443");
    assert_true(cli_flag(&a, "json"));
    assert_false(cli_flag(&a, "listen"));
    assert_int_equal(cli_n_operands(&a), 2);
    assert_string_equal(cli_operand(&a, 0), "one");
    assert_string_equal(cli_operand(&a, 1), "--two");
}

static void wrong_command_lines_say_what_is_wrong(void **state)
{
    static const struct {
        const char *argv[4];
        const char *says;
    } rows[] = {
        {{"x", "--nope", NULL}, "--nope"},
        {{"x", "--json=1", NULL}, "takes no value"},
        {{"x", "--count", NULL}, "--count N"},
        {{NULL}, "usage"},
        {{"a", "b", "c", NULL}, "usage"},
        {{"a", "-c", NULL}, "-c"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cli_args a;
        struct error err = {""};
        const char *argv[4];
        memcpy(argv, rows[i].argv, sizeof(argv));
        assert_int_equal(parse(&a, &err, argv), CLI_USAGE);
        assert_non_null(strstr(err.text, rows[i].says));
    }
}

static void numbers_out_of_range_are_refused(void **state)
{
    static const char *const bad[] = {"-1", "11", "0", "7x", "", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct cli_args a;
        struct error err = {""};
        const char *argv[] = {"x", "--count", bad[i], NULL};
        uint64_t v = 5;
        assert_int_equal(parse(&a, &err, argv), 0);
        assert_int_equal(cli_u64(&a, "count", 1, 10, &v, &err), CLI_USAGE);
        assert_int_equal(v, 5);
    }
}

static void the_longest_verb_wins_and_typos_get_a_hint(void **state)
{
    int words;
    const char *argv[] = {"cloud", "run", "x"}, *typo[] = {"cluod", "run"}, *far[] = {"router", "show"};
    assert_ptr_equal(cli_verb_find(argv, 3, &words), &verb);
    assert_int_equal(words, 2);
    assert_ptr_equal(cli_verb_find(argv, 1, &words), &shorter);
    assert_ptr_equal(cli_verb_near(typo, 2), &verb);
    assert_null(cli_verb_near(far, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_defaults_and_operands),
        cmocka_unit_test(wrong_command_lines_say_what_is_wrong),
        cmocka_unit_test(numbers_out_of_range_are_refused),
        cmocka_unit_test(the_longest_verb_wins_and_typos_get_a_hint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
