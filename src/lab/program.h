/* The programs of a scenario in a lab run: what they need is made (invitations, identities, keys), each is started when it is
 * due and what it talks to is ready, started again when a fault says so, and asked at the end what it did.
 *
 * Each host's (or machine's) programs work in a folder of their own, FOLDER/site/HOST; the scenario's setup commands work in
 * FOLDER/site and put files there. */
#ifndef MERIDIAN_LAB_PROGRAM_H
#define MERIDIAN_LAB_PROGRAM_H

#include "lab/process.h"
#include "lab/world.h"

#define LAB_PROGRAM_STARTS 32u

struct lab_program {
    struct lab_process process;
    bool due, ready, ended;               /* ended: by itself and well, or stopped at the end */
    bool killed;                          /* by a fault: waits to be started again */
    int64_t began_ns[LAB_PROGRAM_STARTS]; /* of each start; on the lab's clock */
    unsigned starts;
};

struct lab_programs {
    struct lab_world *world;
    struct lab_program *at; /* by scenario index */
    int64_t duration_ns;    /* of the scenario */
    int64_t begun_ns;       /* its start on the lab's clock; 0: not yet */
};

/* Runs the setup commands, admits hospitals, starts clouds and other servers that need nothing else, joins. */
int lab_programs_create(struct lab_programs **ret, struct lab_world *w, int64_t duration_ns, struct error *err);
void lab_programs_free(struct lab_programs *p);

/* Starts what is due; -ECHILD when a program that was to stay has ended. */
int lab_programs_at(struct lab_programs *p, int64_t elapsed_ns, struct error *err);
/* All that end by themselves have ended. */
bool lab_programs_over(const struct lab_programs *p);
int lab_programs_kill(struct lab_programs *p, uint32_t program);
int lab_programs_restart(struct lab_programs *p, uint32_t program, struct error *err);
/* Runs the checks while everything runs, then ends the programs. */
int lab_programs_stop(struct lab_programs *p, bool checks, struct error *err);

/* Does it end by itself? */
bool lab_program_ends(const struct scenario_program *p);
/* Where its files are: FOLDER/site/HOST. */
void lab_program_folder(char ret[LAB_PATH_SIZE], const struct lab_world *w, uint32_t host);

#endif
