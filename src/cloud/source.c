#include "cloud/source.h"

#include "base/clock.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

struct source source_of(int fd)
{
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof(sa);
    struct source s = {{0}};
    if (getpeername(fd, (struct sockaddr *)&sa, &len))
        return s;
    if (sa.ss_family == AF_INET) {
        memcpy(s.bytes, &((struct sockaddr_in *)&sa)->sin_addr, 4);
        s.bytes[15] = 4;
    } else if (sa.ss_family == AF_INET6) {
        const struct in6_addr *a = &((struct sockaddr_in6 *)&sa)->sin6_addr;
        bool v4 = IN6_IS_ADDR_V4MAPPED(a);
        memcpy(s.bytes, a->s6_addr + (v4 ? 12 : 0), v4 ? 4 : 8);
        s.bytes[15] = v4 ? 4 : 6;
    }
    return s;
}

bool source_equal(struct source a, struct source b)
{
    return !memcmp(a.bytes, b.bytes, sizeof(a.bytes));
}

void source_failed(struct source_failures *f, struct source s, int64_t now_ns)
{
    unsigned oldest = 0;
    for (unsigned i = 0; i < SOURCE_REMEMBERED; i++) {
        if (f->of[i].n && source_equal(f->of[i].source, s) && now_ns - f->of[i].since_ns < 60 * NS_PER_S) {
            f->of[i].n++;
            return;
        }
        if (!f->of[i].n || (f->of[oldest].n && f->of[i].since_ns < f->of[oldest].since_ns))
            oldest = i;
    }
    f->of[oldest].source = s;
    f->of[oldest].since_ns = now_ns;
    f->of[oldest].n = 1;
}

unsigned source_count(const struct source_failures *f, struct source s, int64_t now_ns)
{
    for (unsigned i = 0; i < SOURCE_REMEMBERED; i++)
        if (f->of[i].n && source_equal(f->of[i].source, s) && now_ns - f->of[i].since_ns < 60 * NS_PER_S)
            return f->of[i].n;
    return 0;
}
