// Requests to the server that this page comes from, and what is read again and again.

const FAST = 2000; // milliseconds between two requests while something changes
const SLOW = 300000; // after a while without a change: the function `status` may sleep in between
const LAZY = 10000; // from here on, a key or a click makes it fast again

export class Failure extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// Send one request. Returns {value, etag}, or {same: true} if `etag` is still that of the answer.
export async function ask(path, { method = "GET", body, headers = {}, etag, kind = "json" } = {}) {
  const sent = { "Sluice-Console": "1", ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  if (etag) sent["If-None-Match"] = etag;
  const init = { method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store" };
  let answer;
  try {
    answer = await fetch(path, init);
  } catch {
    throw new Failure(0, "The server does not answer. This page tries again.");
  }
  if (answer.status === 304) return { same: true };
  if (!answer.ok) throw new Failure(answer.status, await problem(answer));
  return { value: await answer[kind](), etag: answer.headers.get("ETag") || "" };
}

async function problem(answer) {
  if (answer.status === 401 && !answer.url.endsWith("/session")) dispatchEvent(new Event("signed-out"));
  try {
    return String((await answer.json()).error);
  } catch {
    return `The server answers with ${answer.status}.`;
  }
}

const running = new Set();

// Read `path` now and again, and `show` each new answer until it returns false. Returns an object with stop() and now().
export function live(path, show, fail) {
  const it = { delay: FAST, timer: 0, etag: "", busy: false, ended: false, stop, now };
  async function turn() {
    it.timer = 0;
    if (it.ended || it.busy || document.hidden) return;
    it.busy = true;
    try {
      const answer = await ask(path, { etag: it.etag });
      if (it.ended) return;
      const text = answer.same ? it.text : JSON.stringify(answer.value);
      const same = text === it.text;
      it.delay = same ? Math.min(it.delay * 1.5, SLOW) : FAST;
      [it.text, it.etag] = [text, answer.etag || it.etag];
      if (!same && show(answer.value) === false) stop();
      else if (it.failed) fail(null);
      it.failed = false;
    } catch (error) {
      if (it.ended) return;
      it.failed = true;
      it.delay = Math.min(it.delay * 2, SLOW);
      fail(error);
    } finally {
      it.busy = false;
      if (!it.ended && !document.hidden) it.timer = setTimeout(turn, it.delay);
      dispatchEvent(new Event("pace"));
    }
  }
  function stop() {
    it.ended = true;
    clearTimeout(it.timer);
    running.delete(it);
  }
  function now() {
    if (it.ended || it.busy) return;
    clearTimeout(it.timer);
    it.delay = FAST;
    turn();
  }
  running.add(it);
  turn();
  return it;
}

// How fast this page reads: "live", "slow", "failing", or "still" if nothing is read again.
export function pace() {
  const all = [...running];
  if (all.some((each) => each.failed)) return "failing";
  if (!all.length) return "still";
  return all.some((each) => each.delay < LAZY) ? "live" : "slow";
}

function wake() {
  for (const each of running) if (each.delay >= LAZY) each.now();
}

addEventListener("pointerdown", wake);
addEventListener("keydown", wake);
document.addEventListener("visibilitychange", () => {
  for (const each of running) if (!document.hidden) each.now();
});
