// The page of one workflow.

import { h, render } from "./dom.js";
import { ago, date, duration, gib, now, seconds, size, time } from "./format.js";
import { live } from "./net.js";
import { copied, fact, notice, panel, pill, table } from "./parts.js";
import { timeline } from "./timeline.js";

export default function open(main, { captured: [id] }) {
  let shown = null;
  let problem = null;
  const draw = () => {
    if (shown || problem) render(main, problem ? notice("bad", problem) : null, shown ? page(shown) : null);
  };
  const reading = live(`/console/api/workflows/${encodeURIComponent(id)}`, (value) => {
    [shown, problem] = [value, null];
    draw();
    return !value.finished;
  }, (error) => {
    problem = error?.message;
    draw();
  });
  const ticking = setInterval(() => document.hidden || shown?.finished || draw(), 1000);
  return { stop() { reading.stop(); clearInterval(ticking); } };
}

function page(job) {
  return [
    h("div", { class: "title" }, h("h1", null, h("span", { class: "unseen" }, "Workflow "), copied(job.id, 40)), pill(job.state)),
    job.waiting ? notice("warn", `${job.phase} waits for its container: ${job.waiting.reason}, for ${duration(now() - Number(job.waiting.since))}.`) : null,
    job.queuePosition ? notice("calm", `Number ${job.queuePosition} in the queue of ${job.environment}.`) : null,
    job.state === "failed" ? notice("bad", `${job.statusText}: ${job.reason || "no reason is recorded"}${job.exitCode === null ? "" : `, exit code ${job.exitCode}`}.`) : null,
    h("dl", { class: "facts panel" },
      fact("Environment", h("a", { href: `#/?environment=${encodeURIComponent(job.environment)}` }, job.environment)),
      fact("Owner", copied(job.owner)),
      fact("Provider", job.origin ? job.origin : copied(job.provider)),
      fact("Created", h("span", { title: ago(job.created) }, date(job.created))),
      fact(job.finished ? "Took" : "Since", duration((seconds(job.finished) ?? now()) - Number(job.created))),
      fact("May use", `${job.limits.cpu} cores, ${gib(job.limits.memory)}, ${duration(job.limits.seconds)}`),
      job.deadline ? fact("Deadline", date(job.deadline)) : null),
    panel("Timeline", null, timeline(job)),
    panel("Results", null, results(job)),
    job.what ? panel("What ran on what", null, what(job.what)) : null,
    panel("History", null, history(job)),
  ];
}

function results(job) {
  const row = (secret) => (file) =>
    h("tr", { key: `${file.type} ${file.name}` }, h("td", null, file.name), h("td", { class: "number" }, size(file.size)),
      h("td", { class: "wide" }, secret ? `${file.type}, for operators` : file.type), h("td", null, copied(file.sha256)));
  const gone = job.removed ? "The results were removed." : job.expired ? "The results have expired." : null;
  const none = gone || (job.state === "held" ? "The results are held: nothing has left." : job.finished ? "There are none." : "None yet.");
  return [
    job.warnings.map((text) => notice("warn", text)),
    table("Results", ["File", { name: "Size", class: "number" }, { name: "Type", class: "wide" }, "SHA-256"],
      [...job.files.map(row(false)), ...job.adminFiles.map(row(true))], none),
  ];
}

function what({ algorithm, data }) {
  const digests = (list) => (list.length ? list.map((each) => copied(each, 16)) : h("span", { class: "muted" }, "no checksum was given"));
  return h("dl", { class: "facts" },
    fact("Algorithm", algorithm.id ? copied(algorithm.id, 24) : algorithm.kind, " ", digests(algorithm.sha256)),
    fact("Image", h("code", null, algorithm.image)),
    fact("Command", h("code", null, algorithm.entrypoint)),
    data.map((each) => fact(`Data: ${each.id}`, digests(each.sha256))));
}

function history(job) {
  return table("History", ["Time", "Step", { name: "Event", class: "wide" }, "Reason", { name: "Cause", class: "wide" }],
    job.history.map((line) => h("tr", { key: line.step },
      h("td", { title: date(line.at) }, time(line.at)),
      h("td", null, line.before === line.after ? line.after : `${line.before} → ${line.after}`, line.attempt > 1 ? ` ×${line.attempt}` : ""),
      h("td", { class: "wide" }, line.event),
      h("td", { class: "break" }, line.reason || "–"),
      h("td", { class: "wide break" }, line.cause))), "Nothing yet.");
}
