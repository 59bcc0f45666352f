/* Packets that get an ICMP answer: errors about anything, echoes, errors about our encapsulations. Byte 0 chooses the error. */
#include "base/bytes.h"
#include "wire/icmp.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void check_error(uint8_t kind, const uint8_t *p, size_t len)
{
    static uint8_t to[ICMP6_ERROR_MOST], again[ICMP6_ERROR_MOST];
    struct ip_addr from = {.family = len ? p[0] >> 4 : 0, .a.b = {0x20, 1}};
    struct icmp_quoted q;
    size_t n = icmp_error_write(to, sizeof(to), kind % ICMP_ERROR_KINDS, len, p, len, &from);
    must(n <= sizeof(to));
    if (n == 0)
        return;
    /* never an error about an error */
    must(icmp_error_write(again, sizeof(again), ICMP_NO_ROUTE, 0, to, n, &from) == 0);
    if (from.family == IP_V6 && icmp_quoted_parse(&q, to, n) == 0)
        must(q.inner_at < n && q.outer_at == 48);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct icmp_quoted q;
    if (size < 1)
        return 0;
    size_t len = size - 1;
    uint8_t *exact = malloc(len ? len : 1);
    memcpy(exact, data + 1, len);
    check_error(data[0], exact, len);
    if (icmp_quoted_parse(&q, exact, len) == 0)
        must(q.inner_at + 20u <= len && q.outer_at + 40u <= q.inner_at);
    if (icmp_echo_reply(exact, len))
        must(!icmp_echo_reply(exact, len)); /* a reply is no request */
    free(exact);
    return 0;
}
