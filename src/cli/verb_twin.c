/* `meridian twin compare`: the simulator's result beside the lab's. */
#include "base/buf.h"
#include "cli/common.h"
#include "cli/verbs.h"
#include "os/file.h"
#include "scenario/units.h"
#include "twin/compare.h"

#include <errno.h>
#include <stdlib.h>

#define RESULT_MOST (64u << 20)
#define TEXTS       (TWIN_LABS_MOST + 2)

static int compared(
    const struct cli_args *args, const struct twin_text *texts, unsigned n, double bar, struct error *err)
{
    struct twin_comparison c;
    int rc = twin_compare(&c, texts, n, bar, err);
    if (rc)
        return rc;
    if (cli_flag(args, "json"))
        rc = twin_json(stdout, &c) ? error_set(err, ENOMEM, "no memory") : 0;
    else
        twin_print(stdout, &c);
    bool all = c.within == c.n_rows;
    twin_done(&c);
    return rc ? rc : all ? 0 : CLI_QUIET;
}

static int run(const struct cli_args *args, struct error *err)
{
    struct buf *files = calloc(TEXTS, sizeof(*files));
    struct twin_text texts[TEXTS];
    unsigned n = 0;
    double bar = 0;
    int rc = files ? 0 : error_set(err, ENOMEM, "no memory");
    if (!rc && units_share(cli_str(args, "bar"), &bar)) {
        error_set(err, EINVAL, "--bar %s is no share; write for example --bar \"5 %%\"", cli_str(args, "bar"));
        rc = CLI_USAGE;
    }
    for (const char *name; !rc && n < TEXTS && (name = cli_operand(args, n)) != NULL; n++) {
        rc = file_read(&files[n], name, RESULT_MOST, err);
        texts[n] = (struct twin_text){name, (const char *)files[n].data, files[n].len};
    }
    rc = rc ? rc : compared(args, texts, n, bar, err);
    for (unsigned i = 0; files && i < TEXTS; i++)
        buf_done(&files[i]);
    free(files);
    return rc;
}

const struct cli_verb verb_twin_compare = {
    .section = "Network",
    .name = "twin compare",
    .summary = "how far the simulator's figures are from the lab's",
    .operands = "SIM.json LAB.json...",
    .min_operands = 2,
    .max_operands = TEXTS,
    .about =
        "Puts a result of `meridian sim run --as-lab --json` beside one or several of `meridian lab run --json` of the "
        "same "
        "scenario:\n"
        "throughput, latency and loss of every workload, the error of each, and how late the lab's machine woke its\n"
        "programs, which limits what a lab can say about latency. Ends with 0 when every figure is within the bar.",
    .example = "meridian lab run --json scenarios/twin-light.yaml > lab.json\n"
               "meridian sim run --as-lab --json scenarios/twin-light.yaml > sim.json\n"
               "meridian twin compare sim.json lab.json",
    .options =
        (const struct cli_option[]){
            {"bar", "SHARE", "5 %", "largest error of a figure"},
            CLI_OPTION_JSON,
            {NULL},
        },
    .run = run,
};
