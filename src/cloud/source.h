/* Where a connection comes from, as far as limits per source go: an IPv4 address, or the /64 of an IPv6 one. */
#ifndef MERIDIAN_CLOUD_SOURCE_H
#define MERIDIAN_CLOUD_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

struct source {
    uint8_t bytes[16];
};

struct source source_of(int fd); /* all zero if it cannot be told */
bool source_equal(struct source a, struct source b);

/* Failures per source within a minute: the last 64 sources that failed are remembered. {0} is empty. */
#define SOURCE_REMEMBERED 64u
struct source_failures {
    struct {
        struct source source;
        int64_t since_ns;
        unsigned n;
    } of[SOURCE_REMEMBERED];
};
void source_failed(struct source_failures *f, struct source s, int64_t now_ns);
unsigned source_count(const struct source_failures *f, struct source s, int64_t now_ns);

#endif
