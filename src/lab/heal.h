/* The lab in the controller's place (scenario key `heal`): routers say that a link is down, and what went over it takes the way
 * that the scenario holds in reserve for it.
 *
 * In lanes the ingress moves the lane (a dead lane moves at once); in modes without lanes its configuration gets the other
 * path and is read again. The same eyes and the same moment for all modes, so they can be compared. Nothing goes back by
 * itself when the link is mended. */
#ifndef MERIDIAN_LAB_HEAL_H
#define MERIDIAN_LAB_HEAL_H

#include "lab/world.h"

#define LAB_HEAL_EVERY_NS 40000000ll

struct lab_heal;

/* `p`: the plan of `w`; its routes are changed. */
int lab_heal_create(struct lab_heal **ret, struct lab_world *w, struct plan *p, struct error *err);
void lab_heal_free(struct lab_heal *h); /* NULL is fine */
/* Asks the routers, moves what has to move. True when something did: *ret_line says what, for a person. */
bool lab_heal_look(struct lab_heal *h, char ret_line[192]);

#endif
