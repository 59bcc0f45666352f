// The chat page in Chromium: asks, streams, stops, keeps markup as text, loads nothing from elsewhere.
// MERIDIAN_URL and MERIDIAN_KEY name a running edge with the slow tiny model.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { chromium } from "playwright-core";

const base = process.env.MERIDIAN_URL;
const key = process.env.MERIDIAN_KEY;
const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
let context, page, folder;
let asked, problems;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "meridian-page-"));
  context = await chromium.launchPersistentContext(folder, {
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: flags, headless: true, locale: "en-GB", timeout: 60000,
  });
  page = context.pages()[0] ?? (await context.newPage());
  page.on("request", (request) => asked.push(request.url()));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(String(error)));
  page.setDefaultTimeout(15000);
});

after(async () => {
  await context?.close();
  await rm(folder, { recursive: true, force: true });
});

beforeEach(async () => {
  asked = [];
  problems = [];
  await page.goto(base + "/");
  await page.evaluate(() => sessionStorage.clear());
  await page.reload();
});

async function enterKey(longest = "24") {
  await page.click("#open-settings");
  await page.fill("#key", key);
  await page.fill("#max-tokens", longest);
  await page.click("#settings button.main");
}

async function send(text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}

const answerDone = () => page.waitForSelector("#send:not([hidden])");
const bodies = () => page.$$eval(".message .body", (all) => all.map((one) => one.textContent));

test("without a key it says what is needed", async () => {
  await page.waitForSelector("#notice:not([hidden])");
  assert.match(await page.textContent("#notice"), /API key is needed/);
});

test("an answer streams in, with its rate and the state of the link", async () => {
  await enterKey();
  await page.waitForFunction(() => document.getElementById("model").textContent === "tiny");
  problems = [];
  await send("How are you?");
  await page.waitForFunction(() => document.querySelector(".message.assistant .body").textContent.length > 0);
  assert.equal(await page.isVisible("#stop"), true, "the answer came in one piece");
  await answerDone();
  const [question, answer] = await bodies();
  assert.equal(question, "How are you?");
  assert.ok(answer.length > 5);
  assert.match(await page.textContent("#rate"), /^\d+\.\d tokens\/s$/);
  assert.equal(await page.textContent("#link-text"), "whole model on campus");
  assert.deepEqual(problems, []);
  assert.ok(asked.every((url) => url.startsWith(base + "/")), asked.join(" "));
});

test("stop ends the answer and frees its slot", async () => {
  await enterKey("3000");
  await send("Tell me everything.");
  await page.waitForFunction(() => document.querySelector(".message.assistant .body").textContent.length > 3);
  await page.click("#stop");
  await answerDone();
  assert.match((await bodies())[1], /\(stopped\)$/);
  for (const end = Date.now() + 5000; ; ) {
    if ((await (await fetch(base + "/health")).json()).running === 0) break;
    assert.ok(Date.now() < end, "the request still runs");
  }
});

test("markup stays text, and the conversation is sent along", async () => {
  await enterKey("4");
  const evil = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>';
  await send(evil);
  await answerDone();
  let body = null;
  page.once("request", (request) => (body = request.postDataJSON()));
  await send("and then?");
  await answerDone();
  assert.equal((await bodies())[0], evil);
  assert.equal(await page.$(".message img, .message script"), null);
  assert.equal(await page.evaluate(() => window.hit), undefined);
  assert.deepEqual(body.messages.map((m) => m.role), ["user", "assistant", "user"]);
  assert.equal(body.messages[0].content, evil);
});

test("an answer with markup stays text as well", async () => {
  await page.route("**/v1/chat/completions", (route) => route.fulfill({
    contentType: "text/event-stream",
    body: `data: ${JSON.stringify({ choices: [{ delta: { content: "<b onmouseover=alert(1)>你好</b>" } }] })}\n\ndata: [DONE]\n\n`,
  }));
  await enterKey();
  await send("x");
  await answerDone();
  assert.equal((await bodies())[1], "<b onmouseover=alert(1)>你好</b>");
  assert.equal(await page.$(".message b"), null);
  await page.unroute("**/v1/chat/completions");
});

test("inline scripts are refused by the policy", async () => {
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.inline = 1";
    document.body.append(script);
  });
  assert.equal(await page.evaluate(() => window.inline), undefined);
  assert.ok(problems.some((text) => /Content Security Policy/i.test(text)), problems.join("\n"));
});

test("it speaks Chinese, and remembers that", async () => {
  await page.click("#language");
  assert.equal(await page.textContent("#send"), "发送");
  await page.reload();
  assert.equal(await page.textContent("#send"), "发送");
  assert.equal(await page.getAttribute("html", "lang"), "zh");
  await page.click("#language");
  assert.equal(await page.textContent("#send"), "Send");
});

test("a new chat forgets, and a refused key is told", async () => {
  await enterKey("4");
  await send("one");
  await answerDone();
  await page.click("#new");
  assert.deepEqual(await bodies(), []);
  await page.click("#open-settings");
  await page.fill("#key", "mk-wrong");
  await page.click("#settings button.main");
  await send("two");
  await page.waitForSelector("#notice:not([hidden])");
  assert.match(await page.textContent("#notice"), /API key is needed/);
});
