/* `meridian edge key add|list|remove`: who may use the edge's API. */
#include "cli/verbs.h"
#include "edge/keys.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int run_add(const struct cli_args *args, struct error *err)
{
    char key[64];
    int rc = keys_file_add(cli_str(args, "keys"), cli_operand(args, 0), key, err);
    if (rc)
        return rc;
    printf("%s\n", key);
    fprintf(stderr, "This is the only time it is shown. Clients send it as \"Authorization: Bearer KEY\".\n");
    OPENSSL_cleanse(key, sizeof(key));
    return 0;
}

static int run_list(const struct cli_args *args, struct error *err)
{
    struct key_entry *list;
    size_t n;
    int rc = keys_file_list(cli_str(args, "keys"), &list, &n, err);
    for (size_t i = 0; i < n; i++) {
        char made[32] = "";
        struct tm tm;
        time_t t = (time_t)list[i].made;
        if (gmtime_r(&t, &tm))
            strftime(made, sizeof(made), "%Y-%m-%d %H:%M UTC", &tm);
        printf("%-24s %s\n", list[i].name, made);
    }
    if (!rc && !n)
        fprintf(stderr, "no keys; `meridian edge key add NAME` makes one\n");
    free(list);
    return rc;
}

static int run_remove(const struct cli_args *args, struct error *err)
{
    return keys_file_remove(cli_str(args, "keys"), cli_operand(args, 0), err);
}

static const struct cli_option options[] = {
    {"keys", "FILE", "edge.keys", "file that holds the keys' names and hashes (also given to `meridian edge run`)"},
    {NULL},
};

const struct cli_verb verb_edge_key_add = {
    .section = "Campus",
    .name = "edge key add",
    .summary = "make an API key",
    .operands = "NAME",
    .min_operands = 1,
    .max_operands = 1,
    .about = "Prints a new key once; the file keeps only a salted hash of it. A running edge takes it up at once.",
    .example = "meridian edge key add ward-3 --keys /etc/meridian/edge.keys",
    .options = options,
    .run = run_add,
};

const struct cli_verb verb_edge_key_list = {
    .section = "Campus",
    .name = "edge key list",
    .summary = "list API keys by name",
    .operands = "",
    .about = "Prints each key's name and when it was made. The keys themselves are stored nowhere.",
    .example = "meridian edge key list --keys /etc/meridian/edge.keys",
    .options = options,
    .run = run_list,
};

const struct cli_verb verb_edge_key_remove = {
    .section = "Campus",
    .name = "edge key remove",
    .summary = "take an API key back",
    .operands = "NAME",
    .min_operands = 1,
    .max_operands = 1,
    .about = "From now on a running edge refuses the key; answers that it is giving already go on to their end.",
    .example = "meridian edge key remove ward-3 --keys /etc/meridian/edge.keys",
    .options = options,
    .run = run_remove,
};
