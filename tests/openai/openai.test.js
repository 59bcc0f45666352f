// The official OpenAI client against a running edge: MERIDIAN_URL, MERIDIAN_KEY (may be empty), MERIDIAN_MODEL.
// The edge serves a tiny random model, so nothing here depends on what it says.
import assert from "node:assert/strict";
import { setMaxListeners } from "node:events";
import { test } from "node:test";
import OpenAI from "openai";

const base = process.env.MERIDIAN_URL;
const key = process.env.MERIDIAN_KEY || "none";
const model = process.env.MERIDIAN_MODEL || "tiny";
const context = Number(process.env.MERIDIAN_CONTEXT || 4096);
const END = { 256: -100, 257: -100, 258: -100 }; // the control tokens of the tiny model: never end early
const client = new OpenAI({ baseURL: base + "/v1", apiKey: key, maxRetries: 0, timeout: 60000 });
const ask = (more = {}) => ({
  model, messages: [{ role: "user", content: "What is 血压?" }], max_tokens: 24, seed: 5, logit_bias: END, ...more,
});
const health = async () => (await fetch(base + "/health")).json();

// Asks again until it holds, for at most five seconds.
async function until(what, holds) {
  for (const end = Date.now() + 5000; Date.now() < end; await new Promise((go) => setTimeout(go, 20)))
    if (await holds()) return;
  assert.fail(what);
}

async function refused(promise, status, code) {
  const error = await promise.then(() => assert.fail("was not refused"), (e) => e);
  assert.equal(error.status, status, error.message);
  assert.equal(error.code, code, error.message);
  return error;
}

test("models are listed and found", async () => {
  const list = await client.models.list();
  assert.deepEqual(list.data.map((m) => m.id), [model]);
  assert.equal((await client.models.retrieve(model)).object, "model");
  await refused(client.models.retrieve("no-such-model"), 404, "model_not_found");
});

test("a chat completion is whole", async () => {
  const reply = await client.chat.completions.create(ask());
  assert.equal(reply.object, "chat.completion");
  assert.equal(reply.model, model);
  assert.ok(reply.id.startsWith("chatcmpl-") && reply.system_fingerprint && reply.created > 1.7e9);
  assert.equal(reply.choices[0].message.role, "assistant");
  assert.ok(reply.choices[0].message.content.length > 0);
  assert.equal(reply.choices[0].finish_reason, "length");
  assert.equal(reply.usage.completion_tokens, 24);
  assert.equal(reply.usage.total_tokens, reply.usage.prompt_tokens + 24);
});

test("a stream says the same as the whole answer", async () => {
  const whole = await client.chat.completions.create(ask());
  const stream = await client.chat.completions.create(ask({ stream: true, stream_options: { include_usage: true } }));
  let text = "", usage = null, finish = null, chunks = 0;
  for await (const chunk of stream) {
    chunks += 1;
    assert.equal(chunk.object, "chat.completion.chunk");
    if (chunk.usage) usage = chunk.usage;
    text += chunk.choices[0]?.delta.content ?? "";
    finish = chunk.choices[0]?.finish_reason ?? finish;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(finish, "length");
  assert.deepEqual(usage, whole.usage);
  assert.ok(chunks > 5);
});

test("a stop string ends the answer and is not in it", async () => {
  const whole = (await client.chat.completions.create(ask({ max_tokens: 200 }))).choices[0].message.content;
  const at = whole.length >> 1;
  const stop = whole.slice(at, at + 3);
  const want = whole.slice(0, whole.indexOf(stop));
  const cut = await client.chat.completions.create(ask({ max_tokens: 200, stop: ["never there", stop] }));
  assert.equal(cut.choices[0].message.content, want);
  assert.equal(cut.choices[0].finish_reason, "stop");
  let text = "";
  for await (const chunk of await client.chat.completions.create(ask({ max_tokens: 200, stop, stream: true })))
    text += chunk.choices[0]?.delta.content ?? "";
  assert.equal(text, want);
});

test("the same seed gives the same answer, another seed another", async () => {
  const say = async (seed) => (await client.chat.completions.create(ask({ seed, temperature: 1 }))).choices[0].message.content;
  const [a, b, c] = [await say(1), await say(1), await say(2)];
  assert.equal(a, b);
  assert.notEqual(a, c);
  const greedy = async (seed) => (await client.chat.completions.create(ask({ seed, temperature: 0 }))).choices[0].message.content;
  assert.equal(await greedy(1), await greedy(2));
});

test("n choices differ, and the first is the one of n = 1", async () => {
  const one = await client.chat.completions.create(ask({ temperature: 1 }));
  const three = await client.chat.completions.create(ask({ temperature: 1, n: 3 }));
  assert.deepEqual(three.choices.map((c) => c.index), [0, 1, 2]);
  assert.equal(three.choices[0].message.content, one.choices[0].message.content);
  assert.equal(new Set(three.choices.map((c) => c.message.content)).size, 3);
  assert.equal(three.usage.completion_tokens, 72);
  assert.equal(three.usage.prompt_tokens, one.usage.prompt_tokens);
  const texts = ["", "", ""];
  for await (const chunk of await client.chat.completions.create(ask({ temperature: 1, n: 3, stream: true })))
    for (const choice of chunk.choices) texts[choice.index] += choice.delta.content ?? "";
  assert.deepEqual(texts, three.choices.map((c) => c.message.content));
});

test("logprobs are of a distribution, and greedy takes the likeliest", async () => {
  const reply = await client.chat.completions.create(ask({ temperature: 0, logprobs: true, top_logprobs: 5, logit_bias: {} }));
  const tokens = reply.choices[0].logprobs.content;
  assert.equal(tokens.length, reply.usage.completion_tokens);
  for (const t of tokens) {
    assert.ok(t.logprob <= 0 && t.top_logprobs.length === 5);
    assert.equal(t.top_logprobs[0].token, t.token);
    assert.ok(t.top_logprobs.every((o, i, all) => i === 0 || o.logprob <= all[i - 1].logprob));
    assert.ok(t.top_logprobs.reduce((sum, o) => sum + Math.exp(o.logprob), 0) <= 1.0001);
  }
  const text = Buffer.concat(tokens.map((t) => Buffer.from(t.bytes))).toString("utf8");
  assert.equal(text, reply.choices[0].message.content);
  let streamed = 0;
  for await (const chunk of await client.chat.completions.create(ask({ temperature: 0, logprobs: true, logit_bias: {}, stream: true })))
    streamed += chunk.choices[0]?.logprobs?.content?.length ?? 0;
  assert.equal(streamed, tokens.length);
});

test("a bias of 100 forces a token", async () => {
  const reply = await client.chat.completions.create(ask({ logit_bias: { 120: 100 }, max_tokens: 4 }));
  const again = await client.completions.create({ model, prompt: [120, 120], max_tokens: 4, echo: true, logit_bias: { 120: 100 } });
  assert.equal(new Set(reply.choices[0].message.content).size, 1);
  assert.equal(again.choices[0].text.length, 6);
});

test("legacy completions: many prompts, echo, logprobs", async () => {
  const many = await client.completions.create({ model, prompt: ["one", "two"], n: 2, echo: true, max_tokens: 8, logit_bias: END });
  assert.equal(many.object, "text_completion");
  assert.deepEqual(many.choices.map((c) => c.text.slice(0, 3)), ["one", "one", "two", "two"]);
  const one = await client.completions.create({ model, prompt: "one", max_tokens: 8, seed: 3, logprobs: 2, logit_bias: END });
  const l = one.choices[0].logprobs;
  assert.ok(l.tokens.length === 8 && l.token_logprobs.length === 8 && l.text_offset.length === 8);
  assert.ok(l.top_logprobs.every((o) => Object.keys(o).length >= 1));
  let text = "";
  for await (const chunk of await client.completions.create({ model, prompt: "one", max_tokens: 8, seed: 3, logit_bias: END, stream: true }))
    text += chunk.choices[0]?.text ?? "";
  assert.equal(text, one.choices[0].text);
});

test("a client that stops listening frees its slot", async () => {
  const aborter = new AbortController();
  const stream = await client.chat.completions.create(ask({ max_tokens: context - 200, stream: true }), { signal: aborter.signal });
  let chunks = 0;
  for await (const chunk of stream) {
    if (++chunks === 3) aborter.abort();
  }
  assert.ok(chunks < 200, `${chunks} chunks came`);
  await until("the request is still running", async () => (await health()).running === 0);
  const slow = new AbortController();
  const whole = client.chat.completions.create(ask({ max_tokens: context - 200 }), { signal: slow.signal });
  await until("the request does not run", async () => (await health()).running === 1);
  slow.abort();
  await assert.rejects(whole);
  await until("the request is still running", async () => (await health()).running === 0);
});

test("eight at once are all answered, each as if alone", async () => {
  const seeds = [1, 2, 3, 4, 5, 6, 7, 8];
  const say = async (seed) => (await client.chat.completions.create(ask({ seed, max_tokens: 48 }))).choices[0].message.content;
  const together = await Promise.all(seeds.map(say));
  for (const seed of seeds) assert.equal(together[seed - 1], await say(seed));
});

test("what cannot be done is refused in OpenAI's words", async () => {
  await refused(client.chat.completions.create(ask({ model: "gpt-5" })), 404, "model_not_found");
  await refused(client.chat.completions.create(ask({ max_tokens: context })), 400, "context_length_exceeded");
  const long = [{ role: "user", content: "x".repeat(context + 1) }];
  const error = await refused(client.chat.completions.create(ask({ messages: long, max_tokens: undefined })), 400, "context_length_exceeded");
  assert.match(error.message, new RegExp(`maximum context length is ${context} tokens`));
  await refused(client.chat.completions.create(ask({ temperature: 3 })), 400, "invalid_value");
  await refused(client.chat.completions.create(ask({ messages: [] })), 400, "missing_required_parameter");
  await refused(client.chat.completions.create(ask({ tools: [{ type: "function", function: { name: "f" } }] })), 400, "unsupported_parameter");
  await refused(client.chat.completions.create(ask({ response_format: { type: "json_object" } })), 400, "unsupported_parameter");
  const image = [{ role: "user", content: [{ type: "image_url", image_url: { url: "data:," } }] }];
  await refused(client.chat.completions.create(ask({ messages: image })), 400, "unsupported_content");
  await refused(client.completions.create({ model, prompt: "x", suffix: "y" }), 400, "unsupported_parameter");
  await refused(client.embeddings.create({ model, input: "x" }), 404, "unknown_url");
});

test("a wrong key is refused", { skip: key === "none" && "the edge has no keys" }, async () => {
  const stranger = new OpenAI({ baseURL: base + "/v1", apiKey: "mk-wrong", maxRetries: 0 });
  const error = await refused(stranger.models.list(), 401, "invalid_api_key");
  assert.ok(error instanceof OpenAI.AuthenticationError);
  await refused(stranger.chat.completions.create(ask()), 401, "invalid_api_key");
});

test("more requests of one key than it may have are told to wait", async () => {
  const aborter = new AbortController();
  setMaxListeners(20, aborter.signal);
  const hold = Array.from({ length: 12 }, () =>
    client.chat.completions.create(ask({ max_tokens: context - 200 }), { signal: aborter.signal }).catch((e) => e));
  await until("twelve requests do not run", async () => {
    const h = await health();
    return h.running + h.waiting === 12;
  });
  const error = await refused(client.chat.completions.create(ask()), 429, "rate_limit_exceeded");
  assert.ok(error instanceof OpenAI.RateLimitError && Number(error.headers.get("retry-after")) >= 1);
  aborter.abort();
  await Promise.all(hold);
  await until("requests are still running", async () => (await health()).running === 0);
});

test("metrics count what happened", async () => {
  const answer = await fetch(base + "/metrics", { headers: { Authorization: "Bearer " + key } });
  const text = await answer.text();
  const value = (name) => Number(text.match(new RegExp(`^${name.replace(/[{}"]/g, "\\$&")} (\\S+)$`, "m"))?.[1]);
  assert.ok(value('meridian_edge_answers_total{route="chat",code="200"}') > 20);
  assert.ok(value("meridian_generated_tokens_total") > 500);
  assert.ok(value("meridian_time_to_first_token_seconds_count") > 20);
  assert.equal(value("meridian_requests_running"), 0);
  assert.equal(value("meridian_link_up"), 1);
});
