// Every word a person sees, in English and Chinese.
"use strict";
const WORDS = {
  en: {
    newChat: "New chat", settings: "Settings", send: "Send", stop: "Stop", close: "Close",
    welcome: "Ask something. The conversation stays in this window and is gone when you close it.",
    ask: "Your question (Enter sends, Shift+Enter starts a new line)",
    key: "API key (only kept for this window)", temperature: "Temperature (0 always takes the likeliest word)",
    maxTokens: "Longest answer, in tokens", system: "Instructions for the model",
    privacy: "Text stays on campus; only vectors of the middle layers go to the cloud.",
    you: "You", model: "Model", up: "cloud connected", local: "whole model on campus", down: "cloud unreachable, answers wait", unknown: "connecting…",
    offline: "this server cannot be reached", rate: (r) => `${r} tokens/s`,
    stopped: "(stopped)", cut: "(the longest answer was reached)", keyNeeded: "An API key is needed: enter it under Settings.",
    failed: "No answer: ", other: "中文",
  },
  zh: {
    newChat: "新对话", settings: "设置", send: "发送", stop: "停止", close: "关闭",
    welcome: "请提问。对话只保留在此窗口中，关闭后即消失。",
    ask: "您的问题（Enter 发送，Shift+Enter 换行）",
    key: "API 密钥（仅在此窗口中保留）", temperature: "温度（0 表示总是选择最可能的词）",
    maxTokens: "回答的最大长度（token）", system: "给模型的指示",
    privacy: "文本只留在院内，发往云端的只有中间层的向量。",
    you: "您", model: "模型", up: "云端已连接", local: "整个模型在院内运行", down: "云端无法连接，回答将等待", unknown: "正在连接…",
    offline: "无法连接到此服务器", rate: (r) => `${r} token/秒`,
    stopped: "（已停止）", cut: "（已达到最大长度）", keyNeeded: "需要 API 密钥：请在“设置”中填写。",
    failed: "没有回答：", other: "English",
  },
};
