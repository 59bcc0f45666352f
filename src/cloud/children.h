/* The supervisor's processes: one enrol process and a worker for each hospital that has joined. Starting, starting again
 * after a pause that doubles, ending, handing over connections, passing their messages on. One thread; everything
 * it waits for is in children_poll. */
#ifndef MERIDIAN_CLOUD_CHILDREN_H
#define MERIDIAN_CLOUD_CHILDREN_H

#include "cloud/control.h"
#include "cloud/registry.h"
#include "cloud/supervisor.h"

#include <poll.h>

struct child {
    struct child *next;
    bool enrol;         /* else a worker */
    struct hospital of; /* a worker's; for the enrol process only name and id are set */
    pid_t pid;          /* 0: not running */
    int pidfd, control; /* -1 while not running */
    bool ready;         /* it takes connections */
    bool leaving;       /* is not to be started again */
    bool asked;         /* a request for a certificate is with the enrol process */
    int64_t started_ns, start_at_ns, kill_at_ns, pause_ns; /* kill_at_ns 0: not */
    unsigned restarts;
    struct control_use use;
    int poll_at; /* index of its two entries in the last children_poll */
};

struct children {
    const struct supervisor_config *cfg;
    const struct cloud_file *file;
    char dir[4096];
    struct child *first;
    struct control *message;
    bool registry_changed; /* the enrol process says so; the supervisor clears it */
    bool status_changed;   /* likewise, of what status.json shows */
};

int children_init(struct children *c, const struct supervisor_config *cfg, const struct cloud_file *file,
    const char *dir, struct error *err);
void children_done(struct children *c); /* kills and reaps what runs */

struct child *children_add_enrol(struct children *c);
struct child *children_add_worker(struct children *c, const struct hospital *h);
struct child *children_find(struct children *c, const char *id); /* SNI; NULL: none, or leaving */

/* Is not started again. revoked: says so to its peers first and is killed 300 ms later; else is asked to stop and killed
 * after 6 s; now: killed at once. It disappears from the list when it has ended. */
enum children_end { CHILDREN_REVOKED, CHILDREN_STOP, CHILDREN_NOW };
void children_end(struct child *ch, enum children_end how);

/* Hands fd over and closes it here. False: nobody takes it just now, it stays the caller's. */
bool children_hand(struct child *ch, int fd);

/* Fills p with what to wait for, at most `most`; how many. Then, after poll(2), children_run. */
size_t children_poll(struct children *c, struct pollfd *p, size_t most);
void children_run(struct children *c, const struct pollfd *p);

#endif
