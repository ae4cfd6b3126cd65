// A workflow's time as bars: the queue, each attempt of each stage, and the wait for a decision.

import { h } from "./dom.js";
import { duration, now, seconds, time } from "./format.js";

const TICKS = 4;

export function timeline(job) {
  const from = Number(job.created);
  const to = Math.max(seconds(job.finished) ?? now(), from + 1);
  const bars = lanes(job, to);
  const part = (at) => Math.min(100, Math.max(0, ((at - from) / (to - from)) * 100));
  const place = (start, end) => ({ left: `${part(start)}%`, width: `${Math.max(0.4, part(end) - part(start))}%` });
  return h("div", { class: "timeline" },
    h("ol", null, bars.map((bar) => h("li", { key: bar.name, tabindex: "0" },
      h("span", { class: "lane-name" }, bar.name),
      h("span", { class: "lane", "aria-hidden": "true" },
        bar.started > bar.start ? h("i", { class: "bar wait", style: place(bar.start, bar.started) }) : null,
        h("i", { class: `bar ${bar.kind}`, style: place(bar.started, bar.end) })),
      h("span", { class: "lane-time" }, duration(bar.end - bar.start)),
      h("span", { class: "tip" }, bar.text)))),
    h("div", { class: "axis", "aria-hidden": "true" },
      Array.from({ length: TICKS + 1 }, (_, n) => h("span", null, time(from + ((to - from) * n) / TICKS)))));
}

function lanes(job, to) {
  const lines = job.history;
  const left = lines.find((line) => line.before === "queued" && line.after !== "queued");
  const first = Math.min(to, ...job.attempts.map((each) => Number(each.created))); // an owner is not shown the history
  const admitted = left ? Number(left.at) : first;
  const queue = { name: "queue", kind: "idle", start: Number(job.created), started: Number(job.created), end: admitted, text: "" };
  queue.text = `Waited ${duration(queue.end - queue.start)} for a slot of ${job.environment}, until ${time(queue.end)}.`;
  const attempts = [...job.attempts].sort((a, b) => Number(a.created) - Number(b.created)).map((each) => attempt(job, each, to));
  return [queue, ...attempts, ...holds(lines, to)].sort((a, b) => a.start - b.start);
}

function attempt(job, each, to) {
  const several = job.attempts.filter((other) => other.stage === each.stage).length > 1;
  const start = Number(each.created);
  const end = seconds(each.ended) ?? to;
  const current = each.ended === null;
  const ran = seconds(each.started) ?? (current ? seconds(job.runsSince) : null);
  const waits = current && ran === null && job.waiting;
  const started = Math.min(ran ?? (waits ? end : start), end);
  const kind = current ? "running" : each.reason === "Review" ? "held" : each.outcome.replace(" ", "-");
  const reason = [each.outcome || (waits ? `waits: ${job.waiting.reason}` : "is running"), each.reason,
    each.exitCode === null ? null : `exit code ${each.exitCode}`].filter(Boolean).join(", ");
  const wait = started > start ? ` Its container started after ${duration(started - start)}${waits ? "" : ` and ran ${duration(end - started)}`}.` : "";
  const name = !several ? each.stage : job.dialect === "tes" && each.stage === "algorithm" ? `executor ${each.executor + 1}` : `${each.stage} ${each.attempt}`;
  return { name, kind, start, started, end, text: `Job created ${time(start)}, ${current ? "now" : "ended"} ${time(end)}: ${reason}.${wait}` };
}

function holds(lines, to) {
  return lines.filter((line) => line.after === "held" && line.before !== "held").map((line, n) => {
    const end = lines.find((later) => later.before === "held" && later.after !== "held" && Number(later.at) >= Number(line.at));
    const [start, until] = [Number(line.at), end ? Number(end.at) : to];
    return { name: n ? `held ${n + 1}` : "held", kind: "held", start, started: start, end: until,
      text: `Waited ${duration(until - start)} for a decision${end ? `: ${end.event}` : ""}.` };
  });
}
