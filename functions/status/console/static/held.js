// What waits for a decision.

import { h } from "./dom.js";
import { date, iso, plural, shorten } from "./format.js";
import { row, table, wide } from "./parts.js";
import { watch } from "./watch.js";

const VERDICTS = { pass: ["good", "nothing found"], review: ["warn", "to review"], block: ["bad", "blocked"] };

export const verdict = (name) => h("span", { class: `tag ${VERDICTS[name]?.[0] || ""}` }, VERDICTS[name]?.[1] || name);

export default function open(main, { who }) {
  return watch(main, { held: ["/api/v1/operator/held"] }, ({ shown }) => [
    h("h1", null, "Held results"),
    h("p", { class: "muted" }, who.role === "checker" ? `What waits for ${who.name} and others.` : "What waits for the checkers of its data. An operator may reject, and never release."),
    shown.held ? h("div", { class: "panel list" }, table("Held results", COLUMNS, shown.held.held.map(line), "Nothing waits for a decision.")) : null,
  ]);
}

const COLUMNS = ["Workflow", "Findings", "Approvals", "policy", "environment", "Until"];

const line = (each) =>
  row(each.jobId,
    h("td", { class: "name" }, h("a", { href: `#/held/${each.jobId}`, title: each.jobId }, shorten(each.jobId, 10))),
    [verdict(each.verdict), each.findings ? h("small", { class: "reason" }, plural(each.findings, "finding")) : null],
    [`${each.approvals.given} of ${each.approvals.needed}`, each.releaseFailed && h("small", { class: "reason" }, `Release failed: ${each.releaseFailed.reason}`)],
    wide(each.policy.join(", ")),
    wide(each.environment),
    each.until ? date(iso(each.until)) : "–");
