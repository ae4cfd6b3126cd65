// The page of one workflow.

import { h } from "./dom.js";
import { ago, date, duration, gib, now, plural, seconds, size, time } from "./format.js";
import { keepEnd, Log } from "./log.js";
import { copied, fact, notice, panel, pill, row, table, wide } from "./parts.js";
import { timeline } from "./timeline.js";
import { watch } from "./watch.js";

const WITH_LOGS = { operator: () => true, consumer: (stage) => stage === "algorithm" };

export default function open(main, { who, id }) {
  const may = WITH_LOGS[who.role] || (() => false);
  const log = new Log(id, () => keepEnd(it.draw));
  const path = `/console/api/workflows/${encodeURIComponent(id)}`;
  const it = watch(main, { job: [path, take] }, ({ shown: { job } }) => job && page(job, log.stage && panel("Logs", log.view(stages(job)))), 1000);

  function take(job) {
    log.choose(job.phase, stages(job));
    return !job.finished;
  }

  const stages = (job) => [...new Set(job.attempts.map((each) => each.stage))].filter(may);

  return { stop() { it.stop(); log.stop(); } };
}

function page(job, logs) {
  return [
    h("div", { class: "title" }, h("h1", null, h("span", { class: "unseen" }, "Workflow "), copied(job.id, 40)), pill(job.state)),
    job.waiting && notice("warn", `${job.phase} waits for its container: ${job.waiting.reason}, for ${duration(now() - Number(job.waiting.since))}.`),
    job.queuePosition && notice("calm", `Number ${job.queuePosition} in the queue of ${job.environment}.`),
    job.state === "failed" && notice("bad", `${job.statusText}: ${job.reason || "no reason is recorded"}${job.exitCode === null ? "" : `, exit code ${job.exitCode}`}.`),
    h("dl", { class: "facts panel" },
      fact("Environment", h("a", { href: `#/?environment=${encodeURIComponent(job.environment)}` }, job.environment)),
      fact("Owner", copied(job.owner)),
      fact("Provider", job.origin || copied(job.provider)),
      fact("Created", h("span", { title: ago(job.created) }, date(job.created))),
      fact(job.finished ? "Took" : "Age", duration((seconds(job.finished) ?? now()) - Number(job.created))),
      fact("May use", `${plural(+job.limits.cpu, "core")}, ${gib(job.limits.memory)}, ${duration(job.limits.seconds)}`),
      job.deadline ? fact("Deadline", date(job.deadline)) : null),
    job.state === "held" && notice("warn", "The results are held. ", h("a", { href: `#/held/${job.id}` }, "Review them")),
    panel("Timeline", timeline(job)),
    logs,
    panel("Results", results(job)),
    job.what && panel("What ran on what", what(job.what)),
    job.history.length ? panel("History", history(job)) : null,
  ];
}

function results(job) {
  const line = (secret) => (file) =>
    row(`${file.type} ${file.name}`, file.name, h("td", { class: "size" }, size(file.size)), wide(file.type, secret), copied(file.sha256));
  const gone = job.removed ? "The results were removed." : job.expired ? "The results have expired." : null;
  const none = gone || (job.state === "held" ? "The results are held: nothing has left." : job.finished ? "There are none." : "None yet.");
  return [
    job.warnings.map((text) => notice("warn", text)),
    job.fileCount > job.files.length ? notice("calm", `The first ${job.files.length} of ${job.fileCount} files.`) : null,
    table("Results", ["File", "Size", "type", "SHA-256"], [...job.files.map(line("")), ...job.adminFiles.map(line(", for operators"))], none),
  ];
}

function what({ algorithm, runs, data, stated }) {
  const digests = (list) => (list.length ? list.map((each) => copied(each, 16)) : h("span", { class: "muted" }, "no checksum was given"));
  return [
    h("dl", { class: "facts" },
      fact("Algorithm", copied(algorithm.id, 24), " ", digests(algorithm.sha256)),
      runs.map(({ image, command }, n) => fact(runs.length > 1 ? `Executor ${n + 1}` : "Image and command", h("code", null, image), h("br"), h("code", null, command))),
      data.map((each) => fact(`Data: ${each.id}`, digests(each.sha256)))),
    Object.keys(stated).length ? h("h3", null, "By digest, as the history states it") : null,
    h("dl", { class: "facts" }, Object.entries(stated).map(([name, value]) => fact(name, copied(value, 16)))),
  ];
}

function history(job) {
  return table("History", ["Time", "Step", "event", "Reason", "cause"], job.history.map((line) => row(line.step,
    h("td", { title: date(line.at) }, time(line.at)),
    [line.before === line.after ? line.after : `${line.before} → ${line.after}`, line.attempt > 1 ? ` ×${line.attempt}` : ""],
    wide(line.event), line.reason || "–", wide(line.cause))), "");
}
