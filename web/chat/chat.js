// The page: messages, settings, state of the link. All text goes in with textContent, so nothing a model or a person
// writes can become markup. Nothing is stored but the language and, for this window, the key and settings.
"use strict";

const $ = (id) => document.getElementById(id);
const kept = ["key", "temperature", "max-tokens", "system"];
let words = WORDS.en;
let messages = []; // {role, content}
let running = null; // AbortController of the answer being written
let model = null;
let link = "unknown";

function showWords(language) {
  words = WORDS[language];
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = words[element.dataset.word];
  $("text").placeholder = $("text").ariaLabel = words.ask;
  $("language").textContent = words.other;
  showLink(link);
}

function showLink(state) {
  link = state;
  $("link").className = "link " + (state === "up" || state === "local" ? "up" : state === "unknown" ? "" : "down");
  $("link-text").textContent = words[state];
}

function showRate(result) {
  const known = result && result.seconds > 0 && result.tokens > 1;
  $("rate").textContent = known ? words.rate(((result.tokens - 1) / result.seconds).toFixed(1)) : "";
}

function showNotice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

function addMessage(role, text) {
  $("welcome").hidden = true;
  const box = document.createElement("article");
  const who = document.createElement("span");
  const body = document.createElement("span");
  box.className = "message " + role;
  who.className = "who";
  who.textContent = role === "user" ? words.you : words.model;
  body.className = "body";
  body.textContent = text;
  box.append(who, body);
  $("log").append(box);
  $("log").scrollTop = $("log").scrollHeight;
  return { box, body };
}

// Follows the end while the reader is there, and leaves a reader who scrolled up in peace.
function append(body, text) {
  const log = $("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  body.append(text);
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function headers() {
  return $("key").value ? { Authorization: "Bearer " + $("key").value } : {};
}

async function findModel() {
  if (model) return model;
  const answer = await fetch("/v1/models", { headers: headers() });
  if (answer.status === 401) throw Object.assign(new Error(words.keyNeeded), { status: 401 });
  model = (await answer.json()).data[0].id;
  $("model").textContent = model;
  return model;
}

async function requestNow() {
  const system = $("system").value.trim();
  return {
    model: await findModel(),
    messages: (system ? [{ role: "system", content: system }] : []).concat(messages),
    temperature: Number($("temperature").value),
    max_tokens: Number($("max-tokens").value),
    stream: true,
    stream_options: { include_usage: true },
  };
}

function setRunning(controller) {
  running = controller;
  $("send").hidden = Boolean(controller);
  $("stop").hidden = !controller;
}

async function answer() {
  const { box, body } = addMessage("assistant", "");
  const controller = new AbortController();
  setRunning(controller);
  showNotice("");
  showRate(null);
  let text = "";
  try {
    const onText = (piece, result) => {
      text += piece;
      append(body, piece);
      showRate(result);
    };
    const result = await ask({ request: await requestNow(), key: $("key").value, signal: controller.signal, onText });
    showRate(result);
    if (result.finish === "length") append(body, " " + words.cut);
  } catch (error) {
    if (controller.signal.aborted) {
      append(body, " " + words.stopped);
    } else {
      box.classList.add("failed");
      showNotice(error.status === 401 ? words.keyNeeded : words.failed + error.message);
    }
  }
  if (running === controller) setRunning(null);
  return text;
}

async function send() {
  const text = $("text").value.trim();
  if (!text || running) return;
  $("text").value = "";
  addMessage("user", text);
  const here = messages;
  here.push({ role: "user", content: text });
  const reply = await answer();
  if (reply) here.push({ role: "assistant", content: reply });
  else here.pop();
  $("text").focus();
}

function newChat() {
  running?.abort();
  messages = [];
  for (const box of document.querySelectorAll(".message")) box.remove();
  $("welcome").hidden = false;
  showNotice("");
  showRate(null);
}

async function checkHealth() {
  try {
    const health = await (await fetch("/health")).json();
    showLink(!health.link.up ? "down" : health.link.local ? "local" : "up");
  } catch {
    showLink("offline");
  }
  setTimeout(checkHealth, 5000);
}

function start() {
  const saved = localStorage.getItem("language");
  showWords(saved in WORDS ? saved : navigator.language.startsWith("zh") ? "zh" : "en");
  for (const id of kept) {
    $(id).value = sessionStorage.getItem(id) ?? $(id).value;
    $(id).addEventListener("change", () => sessionStorage.setItem(id, $(id).value));
  }
  $("language").addEventListener("click", () => {
    const next = words === WORDS.en ? "zh" : "en";
    localStorage.setItem("language", next);
    showWords(next);
  });
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  $("text").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  $("stop").addEventListener("click", () => running?.abort());
  $("new").addEventListener("click", newChat);
  $("open-settings").addEventListener("click", () => $("settings").showModal());
  $("settings").addEventListener("close", () => findModel().then(() => showNotice(""), () => {}));
  findModel().catch((error) => error.status === 401 && showNotice(words.keyNeeded));
  checkHealth();
}

start();
