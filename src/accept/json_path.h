/* A number in a JSON document, by a path:
 *
 *   lane_drops                    a member
 *   workloads[red].goodput_bps    of the array's object whose "name" (or "figure") is red
 *   workloads[0].p99_ns           by place
 *   expectations[*].met           of every one: the least of all numbers
 *   lanes[+].peak                 the greatest
 *
 * true counts as 1 and false as 0. */
#ifndef MERIDIAN_ACCEPT_JSON_PATH_H
#define MERIDIAN_ACCEPT_JSON_PATH_H

#include <stdbool.h>

struct yyjson_val;

/* False: it leads nowhere, or to something that is no number (null too). An empty array has no least. */
bool json_path_number(const struct yyjson_val *root, const char *path, double *ret);

#endif
