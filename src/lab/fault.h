/* What goes wrong in a lab run, made to happen through routers' control sockets, signals, and the hosts' programs. */
#ifndef MERIDIAN_LAB_FAULT_H
#define MERIDIAN_LAB_FAULT_H

#include "lab/program.h"
#include "lab/result.h"
#include "lab/work.h"

/* Makes it happen. Of a link's quality, duplicates, reordering and losses of control frames alone are not emulated here. */
int lab_fault_apply(struct lab_work *k, struct lab_programs *p, const struct scenario_fault *f, struct error *err);

/* A line for a person: "cut link a-b". */
void lab_fault_name(char *ret, size_t cap, const struct scenario *s, const struct scenario_fault *f);

#endif
