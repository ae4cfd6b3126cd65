// The first page: environments with their slots, and workflows.

import { h } from "./dom.js";
import { ago, date, duration, now, plural, shorten } from "./format.js";
import { notice, pill, row, STATE_NAMES, table, wide } from "./parts.js";
import { watch } from "./watch.js";

const DIALECTS = [["ocean", "Ocean"], ["tes", "GA4GH TES"], ["kubernetes", "WorkFlow object"]];
const FILTERS = ["state", "environment", "owner", "dialect", "id"];
const MOST_SQUARES = 32;

export default function open(main, { query }) {
  const chosen = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) || ""]));
  const asked = new URLSearchParams([...query].filter(([name, value]) => value && [...FILTERS, "before"].includes(name)));
  const sources = { overview: ["/console/api/overview"], page: [`/console/api/workflows?${asked}`] };

  function view({ shown: { overview, page }, problems }) {
    if (!page || !(overview || problems.overview)) return null;
    const environments = overview?.environments || [];
    return [
      h("h1", { class: "unseen" }, "Workflows"),
      (overview?.freezes || []).map((each) => notice("warn", `Frozen: ${each.scope}. Nothing of it is published, released or downloaded.`)),
      h("section", { class: "environments", "aria-label": "Environments" }, environments.map(card)),
      filters(environments),
      h("div", { class: "panel list" }, table("Workflows", COLUMNS, page.workflows.map(line), "No workflow matches.")),
      h("div", { class: "pages" },
        query.get("before") ? h("a", { class: "button", href: to({ before: "" }) }, "Newest") : h("span", null),
        page.next ? h("a", { class: "button", href: to({ before: page.next }) }, "Older") : null),
    ];
  }

  function to(changed) {
    const next = new URLSearchParams(Object.entries({ ...chosen, ...changed }).filter(([, value]) => value));
    return `#/${next.size ? `?${next}` : ""}`;
  }

  function filters(environments) {
    const go = (name) => (event) => (location.hash = to({ [name]: event.target.value.trim() }));
    const choice = (name, label, options) =>
      h("label", null, h("span", null, label),
        h("select", { name, onchange: go(name), value: chosen[name] },
          h("option", { value: "" }, "All"), options.map(([value, text]) => h("option", { value, selected: chosen[name] === value }, text))));
    const field = (name, label, hint) =>
      h("label", null, h("span", null, label), h("input", { name, type: "search", value: chosen[name], placeholder: hint, onchange: go(name), spellcheck: "false", autocomplete: "off" }));
    const known = [...new Set([...environments.map(({ id }) => id), chosen.environment])].filter(Boolean);
    return h("form", { class: "filters", role: "search", "aria-label": "Filter the workflows", onsubmit: (event) => event.preventDefault() },
      choice("state", "State", [["active", "Unfinished"], ...STATE_NAMES]),
      choice("environment", "Environment", known.map((id) => [id, id])),
      choice("dialect", "Came as", DIALECTS),
      field("owner", "Owner", "0x…"),
      field("id", "Id", "Begins with"));
  }

  return watch(main, sources, view, 5000);
}

const COLUMNS = ["State", "Workflow", "environment", "owner", "Created", "took"];

function line(each) {
  return row(each.id,
    pill(each.state, each.state === "running" ? phase(each) : null),
    h("td", { class: "name" }, h("a", { href: `#/workflows/${each.id}`, title: each.id }, shorten(each.id, 10)),
      each.reason ? h("small", { class: "reason" }, each.reason) : null),
    wide(each.environment),
    wide(h("span", { title: each.owner }, shorten(each.owner, 12))),
    h("td", { title: date(each.created) }, ago(each.created)),
    wide(duration((each.finished || now()) - each.created)));
}

const phase = (each) => each.phase[0].toUpperCase() + each.phase.slice(1) + (each.attempt > 1 ? ` ×${each.attempt}` : "");

function card(each) {
  const squares = Math.min(each.slots, MOST_SQUARES);
  const filled = Math.min(squares, Math.ceil((each.running / Math.max(1, each.slots)) * squares));
  return h("article", { class: "card", key: each.id },
    h("h2", null, h("a", { href: `#/?environment=${encodeURIComponent(each.id)}` }, each.id)),
    h("p", { class: "slots" },
      h("span", { class: "squares", "aria-hidden": "true" }, Array.from({ length: squares }, (_, n) => h("i", { class: n < filled ? "on" : null }))),
      h("b", null, `${each.running} of ${each.slots}`), " slots in use"),
    h("p", { class: "muted" }, [each.queued ? `${each.queued} queued` : "no queue", each.held ? `${each.held} held` : null,
      plural(+each.cpu, "core"), `${+each.ramGB}\u00a0GB`, +each.gpu ? plural(+each.gpu, "GPU") : null].filter(Boolean).join(" · ")));
}
