/* The first byte picks an endpoint; the rest is a request body. What parses is generated from as well: the body's own bytes
 * come back as tokens, through the request's stop strings, and the text that goes out must be UTF-8 with no stop string in
 * it. The same bytes are an event stream and an HTTP answer for the client's parsers. */
#include "edge/openai_request.h"
#include "http/http_parse.h"
#include "http/sse.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool enough(void *user, const void *bytes, size_t len)
{
    return ++*(unsigned *)user < 1000;
}

static bool enough_events(void *user, const char *data, size_t len)
{
    return strlen(data) <= len && ++*(unsigned *)user < 1000;
}

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void generate(const struct openai_request *r, const uint8_t *data, size_t size)
{
    struct openai_text t;
    struct buf out = {0};
    openai_text_init(&t, r->stops, r->n_stops);
    for (size_t i = 0; i < size && !t.stopped; i += 1 + data[i] % 4) {
        size_t n = size - i < 1 + data[i] % 4u ? size - i : 1 + data[i] % 4u;
        must(!openai_text_push(&t, data + i, n, &out));
        must(utf8_valid(out.data, out.len));
    }
    must(!openai_text_flush(&t, &out));
    must(out.len == t.released && utf8_valid(out.data, out.len));
    for (size_t i = 0; i < r->n_stops; i++)
        must(!out.len || !memmem(out.data, out.len, r->stops[i].text, r->stops[i].len));
    openai_text_done(&t);
    buf_done(&out);
}

static void parse_as_client(const uint8_t *data, size_t size)
{
    struct sse s;
    struct http_parse p;
    unsigned n = 0;
    sse_init(&s, enough_events, &n);
    sse_feed(&s, data, size);
    sse_done(&s);
    http_parse_init(&p, enough, &n);
    http_parse_feed(&p, data, size);
    http_parse_eof(&p);
    http_parse_done(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct openai_limits lim = {.choices_most = 16, .n_vocab = 32000};
    struct openai_request r;
    struct openai_error e;
    struct buf b = {0};
    if (!size)
        return 0;
    if (!openai_request_parse(&r, data[0] & 1 ? OPENAI_CHAT : OPENAI_COMPLETION, data + 1, size - 1, &lim, &e)) {
        must(r.n >= 1 && r.n <= 16 && (r.n_messages || r.n_prompts));
        generate(&r, data + 1, size - 1);
        openai_request_done(&r);
    } else {
        must(e.status >= 400 && !openai_error_json(&e, &b) && utf8_valid(b.data, b.len));
    }
    buf_done(&b);
    parse_as_client(data + 1, size - 1);
    return 0;
}
