// One held workflow: its files, what was found, previews, and the decision.

import { h, say } from "./dom.js";
import { date, iso, size } from "./format.js";
import { verdict } from "./held.js";
import { ask } from "./net.js";
import { button, copied, copyButton, fact, notice, panel } from "./parts.js";
import { preview } from "./preview.js";
import { account, canonical, checkerHeader, hasWallet, sign, walletProblem } from "./wallet.js";
import { watch } from "./watch.js";

const LARGEST = 20 << 20; // bytes of a file that is shown here

export default function open(main, { who, id }) {
  const it = { job: null, done: null, withheld: new Set(), reason: "", seen: new Map(), busy: false };
  const watched = watch(main, { job: [`/api/v1/operator/held/${encodeURIComponent(id)}`, take] }, view);
  const draw = () => watched.draw();

  // Files with findings stay in until somebody chooses otherwise.
  function take(job) {
    const passed = (path) => job.report.files.some((each) => each.path === path && each.verdict === "pass");
    if (!it.job && job.report) for (const { path } of job.files) if (!passed(path)) it.withheld.add(path);
    it.job = job;
    return job.phase === "held";
  }

  function view(current) {
    if (it.done) delete current.problems.job; // what is decided is not held any more
    return [it.done && notice("good", it.done), it.job && page()];
  }

  function page() {
    const { job } = it, broken = job.releaseFailed;
    return [
      h("div", { class: "title" }, h("h1", null, h("span", { class: "unseen" }, "Held results of "), copied(job.jobId, 40)), verdict(job.verdict)),
      h("dl", { class: "facts panel" },
        fact("Policy", job.policy.join(", ")),
        fact("Approvals", `${job.approvals.given} of ${job.approvals.needed}`),
        fact("Until", job.until ? date(iso(job.until)) : "–"),
        fact("Head of the history", copied(job.head)),
        who.role === "operator" && fact("Workflow", h("a", { href: `#/workflows/${job.jobId}` }, "Timeline and history"))),
      broken && notice("bad", `The release failed: ${broken.reason}, ${date(iso(broken.at))}. The decisions still count. Try again: sluice release ${id} --again`),
      (job.report?.notes || []).map((text) => notice("calm", text)),
      panel("What ran", h("dl", { class: "facts" },
        fact("Algorithm", job.ran.algorithm ? copied(job.ran.algorithm, 16) : "–"),
        job.ran.images.map((image) => fact("Image", copied(image, 23))),
        job.ran.inputs.map((each) => fact(each.path, copied(each.sha256, 16))))),
      panel("Files", job.files.map(file)),
      job.decisions.length ? panel("Decisions so far", job.decisions.map(decision)) : null,
      panel("Your decision", decide()),
    ];
  }

  function file(each) {
    const report = it.job.report?.files.find((checked) => checked.path === each.path);
    const kept = it.withheld.has(each.path);
    const choose = (withhold) => () => {
      it.withheld[withhold ? "add" : "delete"](each.path);
      draw();
    };
    const radio = (withhold, label) =>
      h("label", { class: "choice" }, h("input", { type: "radio", name: `verdict ${each.index}`, checked: kept === withhold, disabled: each.blocked, onchange: choose(withhold) }), label);
    return h("article", { class: "file", key: each.index },
      h("h3", null, each.path, " ", report ? verdict(report.verdict) : null),
      h("p", { class: "muted" }, size(each.size), " · ", copied(each.sha256, 16)),
      report?.findings.length ? h("ul", null, report.findings.map((found) => h("li", null, h("b", null, `${found.rule}: `), found.text))) : null,
      h("div", { class: "row" },
        h("fieldset", null, h("legend", { class: "unseen" }, `Verdict about ${each.path}`), radio(false, "Release"), radio(true, each.blocked ? "Stays in: the checks block it" : "Withhold")),
        who.role === "checker" || hasWallet() ? button(it.seen.has(each.index) ? "Hide" : "Look at it", () => look(each), { "aria-expanded": String(it.seen.has(each.index)) }) : null),
      it.seen.get(each.index));
  }

  async function look(each) {
    if (it.seen.delete(each.index)) return draw();
    it.seen.set(each.index, await shown(each).catch((error) => notice("bad", walletProblem(error))));
    draw();
  }

  async function shown(each) {
    if (each.size > LARGEST) return notice("calm", `It is larger than ${size(LARGEST)}. Use: sluice review ${id} --file ${each.index}`);
    const path = `/api/v1/operator/heldFile?jobId=${encodeURIComponent(id)}&index=${each.index}`;
    const headers = who.role === "checker" ? {} : await checkerHeader("GET", path, await account());
    const { value } = await ask(path, { kind: "arrayBuffer", headers });
    return preview(each.path, value);
  }

  function decide() {
    const released = it.job.files.filter((each) => !it.withheld.has(each.path)).length;
    return [
      h("label", null, h("span", null, "Reason. It is signed and kept with the decision."),
        h("textarea", { rows: 2, maxlength: 1000, value: it.reason, oninput: (event) => { it.reason = event.target.value; draw(); } })),
      hasWallet()
        ? h("div", { class: "row" },
            button(`Sign: release ${released} of ${it.job.files.length}`, () => signed("release"), { class: "main", disabled: it.busy || !released }),
            button("Sign: reject all", () => signed("reject"), { class: "danger", disabled: it.busy }))
        : h("p", { class: "muted" }, "This browser has no wallet. Sign on the command line, with the checker's key:"),
      h("details", { open: !hasWallet() }, h("summary", null, "Commands to paste"),
        commands().map((text) => h("div", { class: "command" }, h("pre", { tabindex: "0" }, text), copyButton(text)))),
      who.role === "operator" && button("Reject all as operator", rejectAsOperator, { class: "danger", disabled: it.busy }),
    ];
  }

  function commands() {
    const end = `--key-file checker.key --url ${quote(location.origin)}`;
    const withheld = [...it.withheld].sort().map((path) => `--withhold ${quote(path)} `).join("");
    const reason = `--reason ${quote(it.reason || "…")}`;
    return [`sluice release ${quote(id)} ${withheld}${reason} ${end}`, `sluice reject ${quote(id)} ${reason} ${end}`];
  }

  const signed = (kind) => act(async () => {
    const by = await account();
    const files = it.job.files.map(({ path, sha256 }) => ({ path, sha256, verdict: kind === "reject" || it.withheld.has(path) ? "withhold" : "release" }));
    const decided = { v: 1, job: id, head: it.job.head, verdict: kind, files, reason: it.reason, by, at: new Date().toISOString(), nonce: `${Date.now()}000000` };
    const signature = await sign(canonical(decided), by);
    const { value } = await post({ decision: decided, signature });
    return value.state === "pending" ? `Your decision counts: ${value.approvals.given} of ${value.approvals.needed} approvals.` : `The results are ${value.state}.`;
  });

  function rejectAsOperator() {
    if (!confirm("Reject these results? They are deleted, and nothing leaves.")) return;
    act(async () => {
      await post({ jobId: id, verdict: "reject" });
      return "The results are rejected.";
    });
  }

  async function act(work) {
    it.busy = true;
    delete watched.problems.act;
    draw();
    try {
      it.done = await work();
      say(it.done);
      watched.lives.job.now();
    } catch (error) {
      watched.problems.act = walletProblem(error);
    }
    it.busy = false;
    draw();
    scrollTo(0, 0);
  }
  return watched;
}

const post = (body) => ask("/api/v1/operator/decisions", { method: "POST", body });

const decision = (each) => {
  const { verdict: name, reason } = JSON.parse(each.text);
  return h("p", { key: each.by }, copied(each.by), ` ${name}, ${date(iso(each.at))}`, reason ? `: ${reason}` : "");
};

const quote = (text) => (/^[\w./:@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
