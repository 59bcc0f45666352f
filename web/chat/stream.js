// One streamed answer: server-sent events read from a fetch, as objects. Knows nothing of the page.
"use strict";

// Yields the parsed object of each `data:` event until [DONE].
async function* events(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += decoder.decode(value, { stream: true });
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const event = text.slice(0, end);
      text = text.slice(end + 2);
      if (!event.startsWith("data: ")) continue;
      if (event === "data: [DONE]") return;
      yield JSON.parse(event.slice(6));
    }
  }
}

// Asks and calls onText for each piece. Returns {finish, tokens, seconds}; throws Error with a sentence, `status` beside it.
async function ask({ request, key, signal, onText }) {
  const headers = { "Content-Type": "application/json" };
  if (key) headers.Authorization = "Bearer " + key;
  const answer = await fetch("/v1/chat/completions", { method: "POST", headers, signal, body: JSON.stringify(request) });
  if (!answer.ok) {
    const told = await answer.json().catch(() => null);
    throw Object.assign(new Error(told?.error?.message ?? "HTTP " + answer.status), { status: answer.status });
  }
  const result = { finish: null, tokens: 0, seconds: 0 };
  let first = 0;
  for await (const event of events(answer.body)) {
    if (event.error) throw new Error(event.error.message);
    if (event.usage) result.tokens = event.usage.completion_tokens;
    const choice = event.choices[0];
    if (!choice) continue;
    if (choice.delta.content) {
      const now = performance.now();
      first ||= now;
      result.tokens += 1;
      result.seconds = (now - first) / 1000;
      onText(choice.delta.content, result);
    }
    if (choice.finish_reason) result.finish = choice.finish_reason;
  }
  return result;
}
