/* A router's answers as tables for people. */
#ifndef MERIDIAN_ROUTER_CTL_PRINT_H
#define MERIDIAN_ROUTER_CTL_PRINT_H

#include <stdio.h>
#include <yyjson.h>

/* The answer to `show what`. */
void ctl_print_show(FILE *to, const char *what, yyjson_val *root);
/* One value: rates as 1.25G, shares, booleans as yes and no. `key` ends in what it is (_bps, _ms). */
void ctl_print_value(char to[64], const char *key, yyjson_val *v);
/* 1234567 as 1.23M. */
void ctl_print_number(char to[32], double v);

#endif
