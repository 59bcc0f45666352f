/* Quantities as a person writes them: "100 Gbit/s", "3000 km", "50 ms", "64 KB", "0.1 %". A number, optional blanks, a
 * unit; a bare number only where the function says so. Each returns 0 or -EINVAL and then leaves *ret alone. */
#ifndef MERIDIAN_SCENARIO_UNITS_H
#define MERIDIAN_SCENARIO_UNITS_H

#include <stdbool.h>
#include <stdint.h>

int units_rate(const char *text, uint64_t *ret_bps); /* bit/s, kbit/s, Mbit/s, Gbit/s, Tbit/s; bare 0 */
int units_bytes(const char *text, uint64_t *ret);    /* B, kB, MB, GB, TB, KiB, MiB, GiB; bare: bytes */
int units_time(const char *text, int64_t *ret_ns);   /* ns, us, ms, s, min, h; bare 0 */
int units_km(const char *text, double *ret_km);      /* m, km; bare 0 */
int units_share(const char *text, double *ret);      /* 0..1 bare, or per cent "0.1 %" */
int units_count(const char *text, uint64_t *ret);    /* a whole number, also 8k, 2M, 1G */
int units_truth(const char *text, bool *ret);        /* true, false, yes, no */
int units_number(
    const char *text, const char **ret_rest, double *ret); /* a number and what follows it, blanks skipped */

#endif
