/* An emulated fibre in front of any device: what it sends goes as fast as the fibre's rate, arrives kilometres later,
 * and sometimes not at all. Only the sending direction: each end emulates its own.
 *
 * 5 µs a kilometre (the speed of light in glass). Loss and bit errors take away whole frames, as a receiver's check of the
 * frame would. Jitter never reorders. The delay line is bounded; when it is full (the far end does not take, or frames are
 * much smaller than those that it was sized for) transmit takes nothing more: backpressure, as from any device.
 * Deterministic: the draws depend on the seed and the number of the frame. */
#ifndef MERIDIAN_ROUTER_DEVICE_FIBRE_H
#define MERIDIAN_ROUTER_DEVICE_FIBRE_H

#include "router/device.h"

struct fibre_config {
    uint64_t rate_bps; /* 0: as fast as it comes */
    double km;
    double loss;      /* probability that a frame is lost */
    double bit_error; /* probability that a bit is wrong: then its frame is lost */
    int64_t jitter_ns;
    uint64_t seed;
    uint32_t frames_most; /* of the delay line; 0: rate x delay in frames of 512 bytes, and 1024 */
};

struct fibre_counters {
    uint64_t lost, bit_errors, cut; /* frames taken away because of each */
    uint32_t flying, peak;          /* in the delay line */
};

/* Takes over `inner`. */
int device_fibre_create(struct device **ret, struct device *inner, const struct fibre_config *cfg, struct error *err);
bool device_is_fibre(const struct device *d);
struct device *device_fibre_inner(struct device *d); /* d itself if it is no fibre */

/* On the worker thread. A cut fibre swallows what flies and all that is sent. `dark`: the carrier is gone as well, at this
 * end; otherwise only the silence tells. */
void device_fibre_cut(struct device *d, bool cut, bool dark);
void device_fibre_set(struct device *d, const struct fibre_config *cfg); /* but rate and frames_most stay */
void device_fibre_counters(const struct device *d, struct fibre_counters *ret);
uint32_t fibre_frames(const struct fibre_config *cfg); /* how many frames its delay line holds: for sizing the pool */

#endif
