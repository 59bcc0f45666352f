/* The front command. Finds the verb, parses its options, runs it, and turns its one error into one line.
 *
 * Before anything else it makes the process a good neighbour: OpenMP threads that wait may spin only briefly (two
 * processes that spin on two cores run at a twentieth of their speed), which libgomp reads from the environment when it
 * is loaded, so the program sets it and starts itself again once. */
#include "cli/args.h"
#include "split/leaky.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

volatile int cli_interrupted;

static void on_interrupt(int sig)
{
    if (cli_interrupted++)
        _exit(128 + sig);
}

static void bound_spinning(char **argv)
{
    if (getenv("GOMP_SPINCOUNT"))
        return;
    setenv("GOMP_SPINCOUNT", "1000", 1);
    execv("/proc/self/exe", argv);
}

static int usage_failed(const char *what)
{
    fprintf(stderr, "meridian: %s\n", what);
    return 2;
}

static int without_verb(int argc, const char **argv)
{
    if (!strcmp(argv[1], "--version"))
        return puts("meridian " MERIDIAN_VERSION), 0;
    if (!strcmp(argv[1], "help") && argc > 2 && !strcmp(argv[2], "--man"))
        return cli_help_man(), 0;
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || (!strcmp(argv[1], "help") && argc == 2))
        return cli_help_all(), 0;
    int words;
    const struct cli_verb *v = NULL;
    if (!strcmp(argv[1], "help") && (v = cli_verb_find(argv + 2, argc - 2, &words)))
        return cli_help_verb(v), 0;
    char text[256];
    v = cli_verb_near(argv + 1, argc - 1);
    snprintf(text, sizeof(text), "there is no verb \"%.60s\"%s%s%s; meridian --help lists them", argv[1],
        v ? ", did you mean \"" : "", v ? v->name : "", v ? "\"" : "");
    return usage_failed(text);
}

int main(int argc, char **argv)
{
    bound_spinning(argv);
    signal(SIGPIPE, SIG_IGN);
    leaky_warn();
    if (argc < 2)
        return cli_help_all(), 2;
    const char **words = (const char **)argv;
    int n_words;
    const struct cli_verb *verb = cli_verb_find(words + 1, argc - 1, &n_words);
    if (!verb)
        return without_verb(argc, words);
    struct error err = {""};
    struct cli_args args;
    int rc = cli_args_parse(&args, verb, argc - 1 - n_words, words + 1 + n_words, &err);
    if (!rc && args.help)
        return cli_help_verb(verb), 0;
    if (!rc) {
        struct sigaction act = {.sa_handler = on_interrupt};
        sigaction(SIGINT, &act, NULL);
        sigaction(SIGTERM, &act, NULL);
        rc = verb->run(&args, &err);
    }
    if (rc && rc != CLI_QUIET)
        fprintf(stderr, "meridian %s: %s\n", verb->name, err.text[0] ? err.text : strerror(rc < -4095 ? EIO : -rc));
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "meridian %s: cannot write the result: %s\n", verb->name, strerror(errno));
        rc = rc ? rc : CLI_QUIET;
    }
    return rc == 0 ? 0 : rc == CLI_USAGE ? 2 : 1;
}
