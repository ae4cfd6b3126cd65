// The log of a stage, followed to its end.

import { h } from "./dom.js";
import { Failure } from "./net.js";
import { button, notice } from "./parts.js";

const KEPT = 200000; // characters, from the end
const COLOURS = /\u001b\[[0-9;?]*[A-Za-z]/g;
const AGAIN = 3000; // milliseconds until a broken stream is opened again

export class Log {
  constructor(id, redraw) {
    Object.assign(this, { id, redraw, stage: null });
    this.seen = () => (document.hidden ? this.stream?.abort() : this.open && this.follow());
    document.addEventListener("visibilitychange", this.seen);
  }

  stop() {
    document.removeEventListener("visibilitychange", this.seen);
    this.open = false;
    this.stream?.abort();
  }

  show(stage) {
    this.stream?.abort();
    Object.assign(this, { stage, text: "", problem: null, open: true, since: "" });
    this.follow();
  }

  // Show the log of the stage that runs, or the algorithm's, until the reader picks one.
  choose(phase, stages) {
    const best = stages.includes(phase) ? phase : this.stage || (stages.includes("algorithm") ? "algorithm" : stages.at(-1));
    if (best && best !== this.stage && !this.picked) this.show(best);
  }

  async follow() {
    const stream = (this.stream = new AbortController());
    const path = `/api/v1/operator/logs?jobId=${encodeURIComponent(this.id)}&component=${this.stage}&follow=1${this.since && `&since=${this.since}`}`;
    try {
      const headers = { "Sluice-Console": "1", Accept: "text/event-stream" };
      const answer = await fetch(path, { headers, signal: stream.signal, cache: "no-store" });
      if (answer.ok) await this.receive(answer.body, stream);
      else if (answer.status !== 503) throw new Failure(answer.status, String((await answer.json()).error));
    } catch (error) {
      if (error instanceof Failure) Object.assign(this, { problem: error.message, open: false });
    }
    if (this.stream !== stream || stream.signal.aborted) return;
    if (this.open) setTimeout(() => this.stream === stream && this.open && this.follow(), AGAIN);
    this.redraw();
  }

  async receive(body, stream) {
    let rest = "";
    const decoder = new TextDecoder();
    for (const reader = body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done || stream.signal.aborted) return;
      const events = (rest + decoder.decode(value, { stream: true })).split("\n\n");
      rest = events.pop();
      for (const event of events) this.take(Object.fromEntries(event.split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2))));
      this.redraw();
    }
  }

  take({ event, id, data }) {
    if (event === "end") this.open = false;
    else if (data) this.text = (this.text + JSON.parse(data).replace(COLOURS, "")).slice(-KEPT);
    if (id) this.since = id;
  }

  view(stages) {
    const pick = (stage) => () => {
      this.picked = true;
      this.show(stage);
    };
    return [
      h("div", { class: "tabs" }, stages.map((stage) => button(stage, pick(stage), { "aria-pressed": String(stage === this.stage) })),
        this.open && h("span", { class: "muted" }, "followed live")),
      this.problem ? notice("calm", this.problem) : null,
      h("pre", { class: "log", key: this.stage, tabindex: "0", role: "log", "aria-live": "off", "aria-label": `Log of ${this.stage}` },
        this.text || (this.problem ? "" : this.open ? "Nothing is printed yet." : "Nothing was printed.")),
    ];
  }
}

// Keep the end of the log in view, unless the reader has scrolled up. Call it around a change.
export function keepEnd(change) {
  const find = () => document.querySelector("pre.log");
  const before = find();
  const atEnd = !before || before.scrollHeight - before.scrollTop - before.clientHeight < 30;
  change();
  const after = find();
  if (after && (atEnd || after !== before)) after.scrollTop = after.scrollHeight;
}
