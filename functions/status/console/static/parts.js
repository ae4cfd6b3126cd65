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

export function copyButton(text) {
  const copy = async (event) => {
    const button = event.currentTarget;
    await navigator.clipboard?.writeText(text);
    button.classList.add("done");
    say("Copied");
    setTimeout(() => button.classList.remove("done"), 1500);
  };
  return h("button", { type: "button", class: "copy", "aria-label": `Copy ${shorten(text, 16)}`, onclick: copy });
}

export const button = (text, onclick, props) => h("button", { type: "button", onclick, ...props }, text);

// A row of a table. A value that is not a cell becomes one; `wide` cells are not shown on a phone.
export const row = (key, ...cells) => h("tr", { key }, cells.map((cell) => (cell?.tag === "td" ? cell : h("td", null, cell))));
export const wide = (...kids) => h("td", { class: "wide" }, kids);

export const panel = (title, ...kids) => h("section", { class: "panel", key: title, "aria-label": title }, h("h2", null, title), kids);

export const fact = (name, ...value) => h("div", { key: name }, h("dt", null, name), h("dd", null, ...value));

export const notice = (kind, ...text) => h("p", { class: `notice ${kind}`, role: kind === "bad" ? "alert" : null }, ...text);

// The names of columns that begin with a small letter are not shown on a phone.
export const table = (caption, columns, rows, empty) =>
  rows.length
    ? h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption },
        h("table", null,
          h("caption", { class: "unseen" }, caption),
          h("thead", null, h("tr", null, columns.map((name) => h("th", { scope: "col", class: /^[a-z]/.test(name) ? "wide" : null }, name[0].toUpperCase() + name.slice(1))))),
          h("tbody", null, rows)))
    : h("p", { class: "empty" }, empty);
