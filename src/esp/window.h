/* Sequence numbers that passed: each once, and none older than the window (RFC 4303 section 3.4.3).
 *
 * Why so wide: while a lane moves to another path, packets of both are under way at once, and those of the old one may come as
 * far behind those of the new one as both paths' windows and the ingress buffer hold. 65536 packets of 1500 octets are
 * 98 MB: 100 Gbit/s over 1500 km of fibre. */
#ifndef MERIDIAN_ESP_WINDOW_H
#define MERIDIAN_ESP_WINDOW_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ESP_WINDOW       65536u /* a power of two, 64 at least */
#define ESP_WINDOW_WORDS (ESP_WINDOW / 64)

struct esp_window {
    uint64_t next; /* beyond the highest that passed */
    uint64_t seen[ESP_WINDOW_WORDS];
};

/* The bits of numbers from `first` to `last` are theirs and no longer those of numbers a window before. */
static inline void esp_window_clear(struct esp_window *w, uint64_t first, uint64_t last)
{
    if (last - first >= ESP_WINDOW) {
        memset(w->seen, 0, sizeof w->seen);
        return;
    }
    uint64_t below = (1ull << first % 64) - 1, above = ~1ull << last % 64; /* what stays in the two outer words */
    if (first / 64 == last / 64) {
        w->seen[first / 64 % ESP_WINDOW_WORDS] &= below | above;
        return;
    }
    w->seen[first / 64 % ESP_WINDOW_WORDS] &= below;
    for (uint64_t i = first / 64 + 1; i < last / 64; i++)
        w->seen[i % ESP_WINDOW_WORDS] = 0;
    w->seen[last / 64 % ESP_WINDOW_WORDS] &= above;
}

/* False: it passed before, or is too old. */
static inline bool esp_window_pass(struct esp_window *w, uint64_t number)
{
    if (number >= w->next) {
        if (number == UINT64_MAX)
            return false;
        esp_window_clear(w, w->next, number);
        w->next = number + 1;
    } else if (w->next - number > ESP_WINDOW) {
        return false;
    }
    uint64_t *word = &w->seen[number / 64 % ESP_WINDOW_WORDS], bit = 1ull << number % 64;
    if (*word & bit)
        return false;
    *word |= bit;
    return true;
}

#endif
