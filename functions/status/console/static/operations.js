// Freezes, events that nobody took, and dead letters.

import { h, say } from "./dom.js";
import { ago, date, iso } from "./format.js";
import { ask } from "./net.js";
import { button, panel, row, table, wide } from "./parts.js";
import { watch } from "./watch.js";

const FREEZE = "/api/v1/operator/freeze";
const LETTERS = "/api/v1/operator/dead-letters?limit=50";
const HELD = "/api/v1/operator/held";

export default function open(main) {
  const page = watch(main, { freezes: [FREEZE], letters: [LETTERS], held: [HELD] }, ({ shown }) => [
    h("h1", null, "Operations"),
    shown.freezes && shown.letters ? [
      panel("Freezes", freezes(shown.freezes), form()),
      shown.held?.undelivered.length ? panel("Notices that nobody took", undelivered(shown.held.undelivered)) : null,
      panel("Dead letters", letters(shown.letters)),
    ] : null,
  ]);

  async function change(method, body, done, form) {
    try {
      await ask(FREEZE, { method, body });
      form?.reset();
      delete page.problems.change;
      say(done);
    } catch (error) {
      page.problems.change = error.message;
    }
    page.lives.freezes.now();
    page.draw();
  }

  const freezes = (list) => table("Freezes", ["Scope", "since", "Reason", "End"],
    list.map((each) => row(each.scope, h("code", null, each.scope), wide(ago(iso(each.at))), each.reason || "–",
      button("Lift", () => change("DELETE", { scope: each.scope }, "Lifted"), { "aria-label": `Lift the freeze of ${each.scope}` }))),
    "Nothing is frozen.");

  const form = () => h("form", { class: "filters", key: "freeze", "aria-label": "Freeze", onsubmit: (event) => {
    event.preventDefault();
    const { scope, reason } = event.target.elements;
    change("POST", { scope: scope.value.trim(), reason: reason.value }, "Frozen", event.target);
  } },
    h("label", null, h("span", null, "Scope: all, environment:ID, data:DID or URL"), h("input", { name: "scope", required: true, spellcheck: "false", autocomplete: "off" })),
    h("label", null, h("span", null, "Reason"), h("input", { name: "reason", maxlength: 1000 })),
    h("button", { type: "submit", class: "danger" }, "Freeze"));

  return page;
}

const undelivered = (list) => table("Notices that nobody took", ["Event", "About", "Since", "Tries"],
  list.map((each) => row(null, each.event, h("code", null, each.about), ago(iso(each.since)), each.tries)), "");

const letters = (list) => table("Dead letters", ["When", "Reason", "Event"],
  list.map((each, n) => row(`${each.event_id} ${n}`, h("td", { title: date(each.at) }, ago(each.at)), each.reason,
    h("details", null, h("summary", null, each.event_id), h("pre", { tabindex: "0" }, JSON.stringify(each.event, null, 1))))),
  "None: every event could be handled.");
