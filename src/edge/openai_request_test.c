#include "edge/openai_request.h"

#include "base/test.h"

#include <string.h>

static const struct openai_limits limits = {.choices_most = 8, .n_vocab = 1000};

#define CHAT(rest)   "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]" rest "}"
#define PROMPT(rest) "{\"model\":\"m\",\"prompt\":\"once\"" rest "}"

static void wrong_requests_get_one_clear_error(void **state)
{
    static const struct {
        enum openai_kind kind;
        const char *body;
        const char *code, *param;
    } rows[] = {
        {OPENAI_CHAT, "", "invalid_json", ""},
        {OPENAI_CHAT, "[]", "invalid_json", ""},
        {OPENAI_CHAT, "{\"model\":\"m\",", "invalid_json", ""},
        {OPENAI_CHAT, "{}", "missing_required_parameter", "model"},
        {OPENAI_CHAT, "{\"model\":1}", "invalid_type", "model"},
        {OPENAI_CHAT, "{\"model\":\"m\"}", "missing_required_parameter", "messages"},
        {OPENAI_CHAT, "{\"model\":\"m\",\"messages\":[]}", "missing_required_parameter", "messages"},
        {OPENAI_CHAT, "{\"model\":\"m\",\"messages\":[1]}", "invalid_type", "messages[0]"},
        {OPENAI_CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"king\",\"content\":\"x\"}]}", "invalid_value",
            "messages[0]"},
        {OPENAI_CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}", "invalid_type", "messages[0]"},
        {OPENAI_CHAT,
            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{}}]}"
            "]}",
            "unsupported_content", "messages[0]"},
        {OPENAI_CHAT, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"x\"}]}]}",
            "invalid_type", "messages[0]"},
        {OPENAI_CHAT, CHAT(",\"tools\":[{\"type\":\"function\"}]"), "unsupported_parameter", "tools"},
        {OPENAI_CHAT, CHAT(",\"response_format\":{\"type\":\"json_schema\"}"), "unsupported_parameter",
            "response_format"},
        {OPENAI_CHAT, CHAT(",\"modalities\":[\"audio\"]"), "unsupported_parameter", "modalities"},
        {OPENAI_CHAT, CHAT(",\"temperature\":3"), "invalid_value", "temperature"},
        {OPENAI_CHAT, CHAT(",\"temperature\":\"hot\""), "invalid_type", "temperature"},
        {OPENAI_CHAT, CHAT(",\"top_p\":-0.1"), "invalid_value", "top_p"},
        {OPENAI_CHAT, CHAT(",\"presence_penalty\":2.5"), "invalid_value", "presence_penalty"},
        {OPENAI_CHAT, CHAT(",\"max_tokens\":0"), "invalid_value", "max_tokens"},
        {OPENAI_CHAT, CHAT(",\"max_tokens\":1.5"), "invalid_type", "max_tokens"},
        {OPENAI_CHAT, CHAT(",\"max_tokens\":1e300"), "invalid_value", "max_tokens"},
        {OPENAI_CHAT, CHAT(",\"seed\":18446744073709551615"), "invalid_value", "seed"},
        {OPENAI_CHAT, CHAT(",\"n\":9"), "invalid_value", "n"},
        {OPENAI_CHAT, CHAT(",\"stop\":\"\""), "invalid_value", "stop"},
        {OPENAI_CHAT, CHAT(",\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\"]"), "invalid_value", "stop"},
        {OPENAI_CHAT, CHAT(",\"stop\":[1]"), "invalid_value", "stop"},
        {OPENAI_CHAT, CHAT(",\"stream\":\"yes\""), "invalid_type", "stream"},
        {OPENAI_CHAT, CHAT(",\"stream_options\":{\"include_usage\":true}"), "invalid_value", "stream_options"},
        {OPENAI_CHAT, CHAT(",\"top_logprobs\":3"), "invalid_value", "top_logprobs"},
        {OPENAI_CHAT, CHAT(",\"logprobs\":true,\"top_logprobs\":21"), "invalid_value", "top_logprobs"},
        {OPENAI_CHAT, CHAT(",\"logit_bias\":{\"1000\":1}"), "invalid_value", "logit_bias"},
        {OPENAI_CHAT, CHAT(",\"logit_bias\":{\"-1\":1}"), "invalid_value", "logit_bias"},
        {OPENAI_CHAT, CHAT(",\"logit_bias\":{\"5\":101}"), "invalid_value", "logit_bias"},
        {OPENAI_COMPLETION, "{\"model\":\"m\"}", "missing_required_parameter", "prompt"},
        {OPENAI_COMPLETION, "{\"model\":\"m\",\"prompt\":[]}", "missing_required_parameter", "prompt"},
        {OPENAI_COMPLETION, "{\"model\":\"m\",\"prompt\":[1,\"a\"]}", "invalid_value", "prompt"},
        {OPENAI_COMPLETION, "{\"model\":\"m\",\"prompt\":[\"a\",1]}", "invalid_type", "prompt"},
        {OPENAI_COMPLETION, "{\"model\":\"m\",\"prompt\":[[]]}", "invalid_value", "prompt"},
        {OPENAI_COMPLETION, "{\"model\":\"m\",\"prompt\":[1000]}", "invalid_value", "prompt"},
        {OPENAI_COMPLETION, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\",\"c\"],\"n\":3}", "invalid_value", "prompt"},
        {OPENAI_COMPLETION, PROMPT(",\"suffix\":\"end\""), "unsupported_parameter", "suffix"},
        {OPENAI_COMPLETION, PROMPT(",\"best_of\":3"), "unsupported_parameter", "best_of"},
        {OPENAI_COMPLETION, PROMPT(",\"echo\":true,\"logprobs\":1"), "unsupported_parameter", "echo"},
        {OPENAI_COMPLETION, PROMPT(",\"logprobs\":true"), "invalid_type", "logprobs"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct openai_request r;
        struct openai_error e = {0};
        int rc = openai_request_parse(&r, rows[i].kind, rows[i].body, strlen(rows[i].body), &limits, &e);
        if (rc != -1 || e.status != 400 || strcmp(e.code, rows[i].code) || strcmp(e.param, rows[i].param))
            fail_msg("%s: %d %d %s %s: %s", rows[i].body, rc, e.status, e.code, e.param, e.message);
        assert_true(strlen(e.message) > 10);
    }
}

static void parse(struct openai_request *r, enum openai_kind kind, const char *body)
{
    struct openai_error e = {0};
    if (openai_request_parse(r, kind, body, strlen(body), &limits, &e))
        fail_msg("%s: %s", body, e.message);
}

static void every_field_arrives(void **state)
{
    struct openai_request r;
    parse(&r, OPENAI_CHAT,
        "{\"model\":\"m\",\"messages\":[{\"role\":\"developer\",\"content\":\"be "
        "brief\"},{\"role\":\"user\",\"content\":["
        "{\"type\":\"text\",\"text\":\"one\"},{\"type\":\"text\",\"text\":\"two\"}],\"name\":\"x\"}],\"stream\":true,"
        "\"stream_options\":{\"include_usage\":true},\"temperature\":0.5,\"top_p\":0.9,\"top_k\":40,\"min_p\":0.05,"
        "\"seed\":-7,"
        "\"presence_penalty\":1,\"frequency_penalty\":-1,\"logit_bias\":{\"5\":-100,\"6\":2.5},\"n\":3,\"max_tokens\":"
        "5,"
        "\"max_completion_tokens\":6,\"stop\":[\"a\",\"\\u4f60\"],\"logprobs\":true,\"top_logprobs\":2,\"user\":\"u\","
        "\"tools\":[],\"tool_choice\":\"none\",\"response_format\":{\"type\":\"text\"},\"whatever\":{\"x\":[1]}}");
    assert_string_equal(r.model, "m");
    assert_int_equal(r.n_messages, 2);
    assert_string_equal(r.messages[0].role, "system");
    assert_int_equal(r.messages[1].content_len, 7);
    assert_memory_equal(r.messages[1].content, "one\ntwo", 7);
    assert_true(r.stream && r.include_usage && r.logprobs && r.seed_given);
    assert_true(r.sampling.temperature == 0.5f && r.sampling.top_p == 0.9f && r.sampling.min_p == 0.05f);
    assert_int_equal(r.sampling.top_k, 40);
    assert_true(r.sampling.seed == (uint64_t)-7);
    assert_true(r.sampling.presence_penalty == 1 && r.sampling.frequency_penalty == -1);
    assert_int_equal(r.sampling.n_bias, 2);
    assert_int_equal(r.sampling.bias[1].token, 6);
    assert_true(r.sampling.bias[1].bias == 2.5f);
    assert_int_equal(r.n, 3);
    assert_int_equal(r.max_tokens, 6);
    assert_int_equal(r.n_stops, 2);
    assert_int_equal(r.stops[1].len, 3);
    assert_int_equal(r.top_logprobs, 2);
    openai_request_done(&r);
}

static void what_is_absent_or_null_has_its_default(void **state)
{
    struct openai_request r;
    parse(&r, OPENAI_CHAT,
        CHAT(",\"temperature\":null,\"n\":null,\"stop\":null,\"stream\":null,\"tools\":null,\"seed\":null"));
    assert_true(
        r.sampling.temperature == 1 && r.sampling.top_p == 1 && !r.sampling.top_k && !r.seed_given && !r.stream);
    assert_int_equal(r.n, 1);
    assert_int_equal(r.max_tokens, 0);
    openai_request_done(&r);
}

static void prompts_come_in_four_forms(void **state)
{
    struct openai_request r;
    parse(&r, OPENAI_COMPLETION, "{\"model\":\"m\",\"prompt\":\"a\\u0000b\",\"logprobs\":0}");
    assert_int_equal(r.prompts[0].len, 3);
    assert_true(r.logprobs && !r.top_logprobs);
    openai_request_done(&r);
    parse(&r, OPENAI_COMPLETION, "{\"model\":\"m\",\"prompt\":[\"a\",\"bc\"],\"n\":2,\"best_of\":2,\"echo\":true}");
    assert_int_equal(r.n_prompts, 2);
    assert_int_equal(r.prompts[1].len, 2);
    assert_true(r.echo);
    openai_request_done(&r);
    parse(&r, OPENAI_COMPLETION, "{\"model\":\"m\",\"prompt\":[1,2,999]}");
    assert_int_equal(r.n_prompts, 1);
    assert_int_equal(r.prompts[0].n_ids, 3);
    assert_int_equal(r.prompts[0].ids[2], 999);
    openai_request_done(&r);
    parse(&r, OPENAI_COMPLETION, "{\"model\":\"m\",\"prompt\":[[1],[2,3]]}");
    assert_int_equal(r.n_prompts, 2);
    assert_int_equal(r.prompts[1].ids[1], 3);
    openai_request_done(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_requests_get_one_clear_error),
        cmocka_unit_test(every_field_arrives),
        cmocka_unit_test(what_is_absent_or_null_has_its_default),
        cmocka_unit_test(prompts_come_in_four_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
