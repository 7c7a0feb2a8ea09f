// Requests to the server, or to the table of recorded answers where there is no server.

import { startWork, endWork } from "./dom.js";

const answers = new Map();
const channels = new Map();
const KEPT_ANSWERS = 120;

// One way to write a request. The recorded table has the same text as its keys.
export function address(path, params = {}) {
  const search = new URLSearchParams();
  for (const key of Object.keys(params).sort()) {
    for (const value of [params[key]].flat()) {
      if (value !== null && value !== undefined) search.append(key, String(value));
    }
  }
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}

export function isRecorded() {
  return Boolean(window.recorded);
}

export function isAbort(error) {
  return error.name === "AbortError";
}

function fromRecord(url) {
  const answer = window.recorded[url];
  if (answer === undefined) {
    throw new Error("This page has no server, and this picture was not recorded. Run `iglo explore` to see it.");
  }
  return answer;
}

async function checked(response) {
  if (response.ok) return response;
  let sentence = `The server answered with status ${response.status}.`;
  try {
    sentence = (await response.json()).error || sentence;
  } catch {
    // The answer has no sentence, so the status is shown.
  }
  throw new Error(sentence);
}

async function send(url, options) {
  try {
    return await checked(await fetch(url, options));
  } catch (error) {
    if (error instanceof TypeError) throw new Error("The server does not answer. Is `iglo explore` still running?");
    throw error;
  }
}

function newestOf(channel) {
  if (!channel) return new AbortController();
  channels.get(channel)?.abort();
  const controller = new AbortController();
  channels.set(channel, controller);
  return controller;
}

function keep(url, answer) {
  answers.delete(url);
  answers.set(url, answer);
  if (answers.size > KEPT_ANSWERS) answers.delete(answers.keys().next().value);
  return answer;
}

// Ask for JSON. A new request on a channel stops the earlier one on the same channel.
export async function get(path, params = {}, channel = null) {
  const url = address(path, params);
  const controller = newestOf(channel);
  if (isRecorded()) return fromRecord(url);
  if (answers.has(url)) return keep(url, answers.get(url));
  startWork();
  try {
    const response = await send(url, { signal: controller.signal });
    const answer = await response.json();
    return answer.ready === false ? answer : keep(url, answer);
  } finally {
    endWork();
  }
}

export async function post(path, body, channel) {
  const controller = newestOf(channel);
  startWork();
  try {
    const response = await send(path, { method: "POST", body, signal: controller.signal });
    return await response.json();
  } finally {
    endWork();
  }
}

// Post, and call `onLine` with each line of JSON of the answer as it arrives.
export async function postStream(url, body, onLine, signal) {
  const response = await send(url, { method: "POST", body, signal });
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    rest += decoder.decode(value ?? new Uint8Array(), { stream: !done });
    const lines = rest.split("\n");
    rest = lines.pop();
    for (const line of done ? [...lines, rest] : lines) {
      if (line.trim()) onLine(JSON.parse(line));
    }
    if (done) return;
  }
}

// While one call runs, only the newest of the calls that wait is kept. Useful for pointers and sliders.
export function onlyNewest(work) {
  let running = false;
  let waiting = null;
  return async function run(argument) {
    if (running) {
      waiting = [argument];
      return;
    }
    running = true;
    try {
      await work(argument);
    } finally {
      running = false;
      const next = waiting;
      waiting = null;
      if (next) run(next[0]);
    }
  };
}
