// Pieces that several pages show.

import { h, say } from "./dom.js";
import { shorten } from "./format.js";

const STATES = { queued: "Queued", running: "Running", held: "Held", succeeded: "Succeeded", failed: "Failed", stopped: "Stopped" };
export const STATE_NAMES = Object.entries(STATES);

export const pill = (state, detail) =>
  h("span", { class: `pill ${state in STATES ? state : ""}` }, h("i", { "aria-hidden": "true" }), detail || STATES[state] || state);

// A long name, shortened, with a button that copies it whole.
export function copied(text, length) {
  if (!text) return h("span", { class: "muted" }, "–");
  return h("span", { class: "copied" }, h("code", { title: text }, shorten(text, length)), copyButton(text));
}

export function copyButton(text, what = "Copy") {
  const copy = async (event) => {
    const button = event.currentTarget;
    await navigator.clipboard?.writeText(text);
    button.classList.add("done");
    say("Copied");
    setTimeout(() => button.classList.remove("done"), 1500);
  };
  return h("button", { type: "button", class: "copy", "aria-label": `${what} ${shorten(text, 16)}`, onclick: copy });
}

export const panel = (title, props, ...kids) =>
  h("section", { class: "panel", "aria-label": title, ...props }, h("h2", null, title), ...kids);

export const fact = (name, ...value) => h("div", { key: name }, h("dt", null, name), h("dd", null, ...value));

export const notice = (kind, ...text) => h("p", { class: `notice ${kind}`, role: kind === "bad" ? "alert" : null }, ...text);

export const table = (caption, columns, rows, empty) =>
  rows.length
    ? h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
        h("table", null,
          h("caption", { class: "unseen" }, caption),
          h("thead", null, h("tr", null, columns.map((column) => h("th", { scope: "col", class: column.class }, column.name ?? column)))),
          h("tbody", null, rows)))
    : h("p", { class: "empty" }, empty);
