/* OpenMP's few functions, also where the compiler runs without it (then there is one thread). */
#ifndef MERIDIAN_BASE_OMP_H
#define MERIDIAN_BASE_OMP_H

#ifdef _OPENMP
#include <omp.h>
#else
static inline int omp_get_thread_num(void)
{
    return 0;
}
static inline int omp_get_num_threads(void)
{
    return 1;
}
static inline int omp_get_max_threads(void)
{
    return 1;
}
static inline void omp_set_num_threads(int n)
{
    (void)n;
}
#endif

#endif
