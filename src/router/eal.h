/* Starting DPDK's environment: memory for packets, drivers of network cards.
 *
 * Hugepages when there are some and we may use them; otherwise ordinary memory (drivers of real cards may then refuse).
 * One per process; it cannot be started twice. */
#ifndef MERIDIAN_ROUTER_EAL_H
#define MERIDIAN_ROUTER_EAL_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum eal_huge { EAL_HUGE_AUTO, EAL_HUGE_YES, EAL_HUGE_NO };

struct eal_config {
    const char *name; /* distinguishes processes of one machine */
    uint32_t memory_mib;
    enum eal_huge huge;
    const char *const *pci; /* addresses that may be used; none: the bus is not looked at */
    size_t n_pci;
    const char *lcores; /* "0@2": on core 2; NULL: where the scheduler puts us */
};

int eal_start(const struct eal_config *cfg, bool *ret_huge, struct error *err);
void eal_stop(void);
/* Registers the calling thread with the EAL, so that pools keep a cache for it. */
int eal_thread_register(struct error *err);
void eal_thread_unregister(void);

#endif
