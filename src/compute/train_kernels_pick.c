/* Which build of the kernels this machine can run. */
#include "compute/train_kernels.h"

extern const struct train_kernels train_kernels_plain;

#ifdef __x86_64__
extern const struct train_kernels train_kernels_v3, train_kernels_v4;

const struct train_kernels *train_kernels_pick(void)
{
    if (__builtin_cpu_supports("x86-64-v4"))
        return &train_kernels_v4;
    if (__builtin_cpu_supports("x86-64-v3"))
        return &train_kernels_v3;
    return &train_kernels_plain;
}
#else
const struct train_kernels *train_kernels_pick(void)
{
    return &train_kernels_plain;
}
#endif
