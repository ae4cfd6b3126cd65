// Shows a held file. It may be hostile: text becomes text nodes, and a picture a data: URL, which cannot run anything.

import { h } from "./dom.js";

const PICTURES = { png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", gif: "image/gif", webp: "image/webp", svg: "image/svg+xml" };
const ROWS = 100;
const COLUMNS = 30;
const LETTERS = 20000;

export function preview(path, buffer) {
  const kind = path.toLowerCase().split(".").pop();
  const bytes = new Uint8Array(buffer);
  if (PICTURES[kind]) return picture(path, PICTURES[kind], bytes);
  const text = decoded(bytes);
  if (text === null) return h("p", { class: "muted" }, `Neither a text nor a picture: ${bytes.length} bytes.`);
  if (kind === "csv" || kind === "tsv") return cells(path, text, kind === "csv" ? "," : "\t");
  return h("div", { class: "preview" }, h("pre", { tabindex: "0" }, text.slice(0, LETTERS)), h("p", { class: "muted" }, `At most ${LETTERS} letters are shown.`));
}

function decoded(bytes) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return text.includes("\0") ? null : text;
  } catch {
    return null;
  }
}

function picture(path, type, bytes) {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return h("div", { class: "preview" }, h("img", { src: `data:${type};base64,${btoa(binary)}`, alt: `Picture ${path}` }));
}

function cells(path, text, separator) {
  const rows = parse(text, separator, ROWS + 1);
  const cut = (row, tag) => row.slice(0, COLUMNS).map((cell) => h(tag, tag === "th" ? { scope: "col" } : null, cell));
  return h("div", { class: "preview" },
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": `Table ${path}` },
      h("table", null, h("thead", null, h("tr", null, cut(rows[0] || [], "th"))), h("tbody", null, rows.slice(1, ROWS).map((row) => h("tr", null, cut(row, "td")))))),
    h("p", { class: "muted" }, `At most ${ROWS} rows are shown.`));
}

// The first rows of a CSV file (RFC 4180).
function parse(text, separator, most) {
  const rows = [[]];
  let cell = "";
  let quoted = false;
  for (let at = 0; at < text.length && rows.length <= most; at++) {
    const letter = text[at];
    if (quoted) {
      if (letter !== '"') cell += letter;
      else if (text[at + 1] === '"') cell += text[++at];
      else quoted = false;
    } else if (letter === '"' && !cell) quoted = true;
    else if (letter === separator) cell = void rows.at(-1).push(cell) ?? "";
    else if (letter === "\n") cell = void (rows.at(-1).push(cell), rows.push([])) ?? "";
    else if (letter !== "\r") cell += letter;
  }
  if (cell || rows.at(-1).length) rows.at(-1).push(cell);
  return rows.filter((row) => row.length);
}
