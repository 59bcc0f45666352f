/* What a lab run has made outside its own memory, so that nothing of it is left behind, however the run ends.
 *
 * Each run has a folder (in the state folder: $MERIDIAN_LAB_STATE, else /run/meridian-lab, else $TMPDIR/meridian-lab-UID) that
 * holds its configurations, sockets and logs, a file `journal` in which every namespace is noted before it is made, and a
 * file `lock` that is locked as long as somebody answers for the run. Processes need no note: each carries MERIDIAN_LAB=RUN
 * in its environment, and so does whatever they start.
 *
 * Three answer for a run, each when the one before cannot: the run itself; its janitor, a child that does nothing but wait
 * for the run to die (^C twice, kill -9) and then tidies up; and whoever calls lab_clean, as the next run does. */
#ifndef MERIDIAN_LAB_JOURNAL_H
#define MERIDIAN_LAB_JOURNAL_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define LAB_RUN_SIZE  16u  /* a run's name with its NUL: "ml-" and eight digits */
#define LAB_PATH_SIZE 512u /* of a path in its folder */

struct lab_journal;

/* Makes the folder and starts the janitor. Only root (of some user namespace) may make namespaces: -EPERM. */
int lab_journal_create(struct lab_journal **ret, struct error *err);
/* Kills what still runs, deletes what the journal names, and the folder unless it is to be kept. NULL is fine. */
void lab_journal_close(struct lab_journal *j, bool keep_folder);

const char *lab_journal_run(const struct lab_journal *j);
const char *lab_journal_folder(const struct lab_journal *j);
/* "FOLDER/name", cut at LAB_PATH_SIZE. */
void lab_journal_path(const struct lab_journal *j, char ret[LAB_PATH_SIZE], const char *name);
/* Before it is made. */
int lab_journal_namespace(struct lab_journal *j, const char *name, struct error *err);

struct lab_cleaned {
    unsigned runs, processes, namespaces; /* tidied up */
    unsigned alive;                       /* runs that somebody answers for: left alone */
};
/* Tidies up after every run that nobody answers for; `kept_too`: removes also the folders that were kept on purpose. */
int lab_clean(struct lab_cleaned *ret, bool kept_too, struct error *err);

/* The state folder; it need not exist. */
void lab_state_folder(char ret[LAB_PATH_SIZE]);

#endif
