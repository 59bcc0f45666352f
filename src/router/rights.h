/* What a router gives up once everything is open: its user, every right, new rights, and all system calls but those that
 * moving packets, its sockets and its own threads need. One-way. */
#ifndef MERIDIAN_ROUTER_RIGHTS_H
#define MERIDIAN_ROUTER_RIGHTS_H

#include "base/error.h"

#include <sys/types.h>

/* As root: who it becomes. `name`: a user's name or number; "": "meridian" if there is one, else "nobody". Otherwise our own
 * ids. */
int rights_user(const char *name, uid_t *ret_uid, gid_t *ret_gid, struct error *err);
/* For all threads of the process that exist and will. */
int rights_drop(uid_t uid, gid_t gid, struct error *err);

#endif
