/* Making a run's things disappear: processes by their mark or by the namespace they are in, namespaces by the journal. */
#ifndef MERIDIAN_LAB_TIDY_H
#define MERIDIAN_LAB_TIDY_H

#include <stdbool.h>

#define LAB_MARK "MERIDIAN_LAB"

struct lab_tidied {
    unsigned processes, namespaces;
};

/* `run`: its name; `journal`: the file. Best effort: what cannot be removed stays for the next time. False if something is
 * left. */
bool lab_tidy(const char *run, const char *journal, struct lab_tidied *ret);

/* rm -r. */
void lab_remove_folder(const char *path);

#endif
