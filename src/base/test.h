/* What every x_test.c includes: cmocka with the headers that it wants before it. */
#ifndef MERIDIAN_BASE_TEST_H
#define MERIDIAN_BASE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
