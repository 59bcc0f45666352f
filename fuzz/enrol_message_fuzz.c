/* Lines from strangers (requests) and from a cloud that may not be one (replies): what is accepted encodes and decodes to
 * itself. */
#include "wire/enrol_message.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_request(const uint8_t *data, size_t size)
{
    static struct enrol_request q, again;
    struct buf line = {0};
    if (enrol_request_decode(&q, data, size, NULL))
        return;
    if (!enrol_request_encode(&line, &q) && line.len <= ENROL_MAX_LINE &&
        (enrol_request_decode(&again, line.data, line.len, NULL) || again.op != q.op || strcmp(again.csr, q.csr)))
        abort();
    buf_done(&line);
}

static void check_reply(const uint8_t *data, size_t size)
{
    static struct enrol_reply r, again;
    struct buf line = {0};
    if (enrol_reply_decode(&r, data, size, NULL))
        return;
    if (!enrol_reply_encode(&line, &r) && line.len <= ENROL_MAX_LINE &&
        (enrol_reply_decode(&again, line.data, line.len, NULL) || again.why != r.why || strcmp(again.id, r.id)))
        abort();
    buf_done(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_request(data, size);
    check_reply(data, size);
    return 0;
}
