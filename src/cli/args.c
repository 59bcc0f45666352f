/* Options may stand anywhere, as --name VALUE or --name=VALUE; "--" ends them; a lone "-" is an operand. */
#include "cli/args.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int option_index(const struct cli_verb *verb, const char *name, size_t len)
{
    for (int i = 0; verb->options && verb->options[i].name; i++) {
        assert(i < CLI_MAX_OPTIONS);
        if (strlen(verb->options[i].name) == len && !memcmp(verb->options[i].name, name, len))
            return i;
    }
    return -1;
}

static const struct cli_option *option_lettered(const struct cli_verb *verb, char letter)
{
    for (const struct cli_option *o = verb->options; o && o->name; o++)
        if (o->letter == letter)
            return o;
    return NULL;
}

static int take_option(struct cli_args *a, const char *word, const char *next, bool *ret_took_next, struct error *err)
{
    const char *name = word + 2, *equals = strchr(name, '=');
    size_t len = equals ? (size_t)(equals - name) : strlen(name);
    *ret_took_next = false;
    if (len == 4 && !memcmp(name, "help", 4)) {
        a->help = true;
        return 0;
    }
    int i = option_index(a->verb, name, len);
    if (i < 0)
        return error_set(err, 0, "there is no option --%.*s; see meridian %s --help", (int)len, name, a->verb->name),
               CLI_USAGE;
    const struct cli_option *o = &a->verb->options[i];
    if (!o->arg) {
        if (equals)
            return error_set(err, 0, "--%s takes no value", o->name), CLI_USAGE;
        a->values[i] = "";
        return 0;
    }
    if (!equals && !next)
        return error_set(err, 0, "--%s needs a value: --%s %s", o->name, o->name, o->arg), CLI_USAGE;
    a->values[i] = equals ? equals + 1 : next;
    *ret_took_next = !equals;
    return 0;
}

int cli_args_parse(struct cli_args *ret, const struct cli_verb *verb, int argc, const char **argv, struct error *err)
{
    struct cli_args a = {.verb = verb, .operands = argv};
    bool only_operands = false;
    for (int i = 0; i < argc; i++) {
        if (!only_operands && !strcmp(argv[i], "--")) {
            only_operands = true;
        } else if (!only_operands && (!strcmp(argv[i], "-h"))) {
            a.help = true;
        } else if (!only_operands && !strncmp(argv[i], "--", 2)) {
            bool took = false;
            int rc = take_option(&a, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &took, err);
            if (rc)
                return rc;
            i += took;
        } else if (!only_operands && argv[i][0] == '-' && argv[i][1] && !argv[i][2] &&
                   option_lettered(verb, argv[i][1]) && !option_lettered(verb, argv[i][1])->arg) {
            a.values[option_lettered(verb, argv[i][1]) - verb->options] = "";
        } else if (!only_operands && argv[i][0] == '-' && argv[i][1]) {
            return error_set(
                       err, 0, "options are spelled out: %s is none; see meridian %s --help", argv[i], verb->name),
                   CLI_USAGE;
        } else {
            argv[a.n_operands++] = argv[i];
        }
    }
    if (!a.help && (a.n_operands < (size_t)verb->min_operands ||
                       (verb->max_operands >= 0 && a.n_operands > (size_t)verb->max_operands)))
        return error_set(err, 0, "usage: meridian %s %s%s; see --help", verb->name, verb->options ? "[OPTION...] " : "",
                   verb->operands),
               CLI_USAGE;
    *ret = a;
    return 0;
}

static int declared(const struct cli_args *args, const char *option)
{
    int i = option_index(args->verb, option, strlen(option));
    assert(i >= 0);
    return i;
}

const char *cli_str(const struct cli_args *args, const char *option)
{
    int i = declared(args, option);
    return args->values[i] ? args->values[i] : args->verb->options[i].fallback;
}

bool cli_flag(const struct cli_args *args, const char *option)
{
    return args->values[declared(args, option)] != NULL;
}

size_t cli_n_operands(const struct cli_args *args)
{
    return args->n_operands;
}

const char *cli_operand(const struct cli_args *args, size_t i)
{
    return i < args->n_operands ? args->operands[i] : NULL;
}

static int unsigned_value(const struct cli_args *args, const char *option, bool suffixes, uint64_t least, uint64_t most,
    uint64_t *ret, struct error *err)
{
    const char *text = cli_str(args, option);
    if (!text)
        return 0;
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    uint64_t unit = 1;
    if (suffixes && *end && strchr("kKmMgG", *end))
        unit = *end == 'k' || *end == 'K' ? 1024 : *end == 'm' || *end == 'M' ? 1 << 20 : 1 << 30, end++;
    if (text[0] < '0' || text[0] > '9' || *end || errno || v > UINT64_MAX / unit || v * unit < least || v * unit > most)
        return error_set(err, 0, "--%s must be a number from %llu to %llu%s, not \"%s\"", option,
                   (unsigned long long)least, (unsigned long long)most, suffixes ? " (k, M, G allowed)" : "", text),
               CLI_USAGE;
    *ret = v * unit;
    return 0;
}

int cli_u64(
    const struct cli_args *args, const char *option, uint64_t least, uint64_t most, uint64_t *ret, struct error *err)
{
    return unsigned_value(args, option, false, least, most, ret, err);
}

int cli_u32(
    const struct cli_args *args, const char *option, uint32_t least, uint32_t most, uint32_t *ret, struct error *err)
{
    uint64_t v = *ret;
    int rc = unsigned_value(args, option, false, least, most, &v, err);
    *ret = (uint32_t)v;
    return rc;
}

int cli_size(
    const struct cli_args *args, const char *option, uint64_t least, uint64_t most, uint64_t *ret, struct error *err)
{
    return unsigned_value(args, option, true, least, most, ret, err);
}

int cli_f64(const struct cli_args *args, const char *option, double least, double most, double *ret, struct error *err)
{
    const char *text = cli_str(args, option);
    if (!text)
        return 0;
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !(v >= least && v <= most))
        return error_set(err, 0, "--%s must be a number from %g to %g, not \"%s\"", option, least, most, text),
               CLI_USAGE;
    *ret = v;
    return 0;
}

int cli_need(const struct cli_args *args, const char *option, const char **ret, struct error *err)
{
    int i = declared(args, option);
    *ret = cli_str(args, option);
    if (*ret)
        return 0;
    return error_set(err, 0, "--%s %s is needed; see meridian %s --help", option, args->verb->options[i].arg,
               args->verb->name),
           CLI_USAGE;
}

/* --- finding the verb ------------------------------------------------------------------------------------------- */

static int words_matched(const char *name, const char *const *argv, int argc)
{
    int words = 0;
    while (*name) {
        size_t len = strcspn(name, " ");
        if (words >= argc || strlen(argv[words]) != len || memcmp(argv[words], name, len))
            return 0;
        words++;
        name += len + (name[len] == ' ');
    }
    return words;
}

const struct cli_verb *cli_verb_find(const char *const *argv, int argc, int *ret_words)
{
    const struct cli_verb *best = NULL;
    *ret_words = 0;
    for (size_t i = 0; cli_verbs[i]; i++) {
        int words = words_matched(cli_verbs[i]->name, argv, argc);
        if (words > *ret_words) {
            best = cli_verbs[i];
            *ret_words = words;
        }
    }
    return best;
}

/* Levenshtein distance, both texts short. */
static size_t distance(const char *a, const char *b)
{
    size_t row[64], n = strlen(b);
    if (n >= 63)
        return 99;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; *a; i++, a++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = corner + (*a != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            corner = row[j];
            row[j] = best;
        }
    }
    return row[n];
}

const struct cli_verb *cli_verb_near(const char *const *argv, int argc)
{
    char typed[64] = "";
    if (argc > 0)
        strncat(typed, argv[0], 30);
    if (argc > 1 && argv[1][0] != '-')
        strcat(typed, " "), strncat(typed, argv[1], 30);
    const struct cli_verb *best = NULL;
    size_t least = 4;
    for (size_t i = 0; cli_verbs[i]; i++) {
        size_t d = distance(typed, cli_verbs[i]->name);
        if (d < least && cli_verbs[i]->section)
            least = d, best = cli_verbs[i];
    }
    return best;
}
