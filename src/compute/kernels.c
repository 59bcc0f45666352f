/* Which variant this machine runs. */
#include "compute/kernels.h"

#include <stddef.h>

extern const struct kernels kernels_plain;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2, kernels_avx512;

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

const struct kernels *kernels_at(uint32_t i)
{
    const struct kernels *list[4] = {NULL};
    uint32_t n = 0;
#if defined(__x86_64__)
    if (has_avx512())
        list[n++] = &kernels_avx512;
    if (has_avx2())
        list[n++] = &kernels_avx2;
#endif
    list[n++] = &kernels_plain;
    return i < n ? list[i] : NULL;
}

const struct kernels *kernels_get(void)
{
    return kernels_at(0);
}
