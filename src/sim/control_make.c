/* Scenarios for the control plane of any size: what `meridian sim control --pes` runs, and may write for a person to change. */
#include "base/rng.h"
#include "sim/control.h"

#include <stdarg.h>
#include <stdlib.h>

enum { FIRST_S = 30, EVERY_S = 30 }; /* the first fault; from one to the next */

struct make {
    struct buf *to;
    const struct control_make *m;
    uint32_t core;
    uint64_t drawn;
    int rc;
};

__attribute__((format(printf, 2, 3))) static void say(struct make *k, const char *fmt, ...)
{
    va_list args;
    char line[256];
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    if (!k->rc)
        k->rc = buf_append(k->to, line, (size_t)n);
}

static uint32_t draw(struct make *k, uint32_t below)
{
    return rng_below(k->m->seed, k->drawn++, below);
}

static void put_routers(struct make *k)
{
    say(k, "routers:\n");
    for (uint32_t i = 0; i < k->core; i++)
        say(k, "  - {name: p%u}\n", i + 1);
    for (uint32_t i = 0; i < k->m->pes; i++)
        say(k, "  - {name: pe%u, role: pe, routes: %u}\n", i + 1, k->m->routes);
    for (uint32_t i = 0; i < k->m->reflectors; i++)
        say(k, "  - {name: rr%u, role: reflector}\n", i + 1);
}

static void put_links(struct make *k)
{
    say(k, "links:\n");
    for (uint32_t i = 0; i < k->core; i++)
        say(k, "  - {name: core%u, a: p%u, b: p%u, rate: 100 Gbit/s, length: %u km}\n", i + 1, i + 1,
            (i + 1) % k->core + 1, 50 + draw(k, 250));
    for (uint32_t i = 0; i + k->core / 2 < k->core; i += 2)
        say(k, "  - {name: chord%u, a: p%u, b: p%u, rate: 100 Gbit/s, length: %u km}\n", i + 1, i + 1,
            i + k->core / 2 + 1, 200 + draw(k, 400));
    for (uint32_t i = 0; i < k->m->pes; i++)
        for (uint32_t side = 0; side < 2; side++)
            say(k, "  - {name: pe%u%c, a: pe%u, b: p%u, rate: 10 Gbit/s, length: %u km}\n", i + 1, 'a' + (int)side,
                i + 1, (i + side) % k->core + 1, 5 + draw(k, 95));
    for (uint32_t i = 0; i < k->m->reflectors; i++)
        say(k, "  - {name: rr%u, a: rr%u, b: p%u, rate: 10 Gbit/s, length: 1 km}\n", i + 1, i + 1,
            i * k->core / k->m->reflectors + 1);
}

static void put_fault(struct make *k, uint32_t i)
{
    uint32_t at = FIRST_S + i * EVERY_S, pe = draw(k, k->m->pes) + 1;
    switch (i % 6) {
    case 0:
        say(k, "  - {at: %u s, fault: kill, of: pe%u, for: 15 s}\n", at, pe);
        break;
    case 1:
        say(k, "  - {at: %u s, fault: cut, of: core%u, for: 5 s}\n", at, draw(k, k->core) + 1);
        break;
    case 2:
        say(k, "  - {at: %u s, fault: reset, of: pe%u}\n", at, pe);
        break;
    case 3:
        say(k, "  - {at: %u s, fault: cut, of: 'pe%u?', for: 15 s}\n", at, pe);
        break;
    case 4:
        say(k, "  - {at: %u s, fault: kill, of: rr%u, for: 15 s}\n", at, draw(k, k->m->reflectors) + 1);
        break;
    default:
        say(k, "  - {at: %u s, fault: cut, of: pe%ua, for: 1 s}\n", at, pe);
        break;
    }
}

int control_make(struct buf *ret, const struct control_make *m)
{
    struct make k = {.to = ret, .m = m, .core = m->pes / 25 < 4 ? 4 : m->pes / 25};
    say(&k, "# %u PEs on a ring of %u core routers, %u reflectors, %u VPNs with %u routes at every PE; seed %llu.\n",
        m->pes, k.core, m->reflectors, m->vpns, m->routes, (unsigned long long)m->seed);
    say(&k,
        "name: control-%u\nabout: convergence of %u PEs\nseed: %llu\nduration: %u s\nbgp_hold: 90 s\nbgp_restart: 120 "
        "s\n",
        m->pes, m->pes, (unsigned long long)m->seed, FIRST_S + m->faults * EVERY_S);
    put_routers(&k);
    put_links(&k);
    say(&k, "vpns:\n");
    for (uint32_t i = 0; i < m->vpns; i++)
        say(&k, "  - {name: v%u}\n", i + 1);
    if (m->faults)
        say(&k, "faults:\n");
    for (uint32_t i = 0; i < m->faults; i++)
        put_fault(&k, i);
    return k.rc;
}
