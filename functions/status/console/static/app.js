// Starts the console: who is signed in, which page is shown.

import { h, render } from "./dom.js";
import { ask, pace } from "./net.js";
import { button, notice } from "./parts.js";
import { signIn } from "./signin.js";

const main = document.getElementById("main");
const header = document.getElementById("top");
const PACES = { live: "Live", slow: "Nothing changes: asks less often", failing: "The server does not answer as it should", still: "Complete" };
// What follows #/ in the address, with `*` for an id: the page's title and module.
const PAGES = {
  "": ["Workflows", "list"],
  "workflows/*": ["Workflow", "workflow"],
  held: ["Held", "held"],
  "held/*": ["Review", "review"],
  operations: ["Operations", "operations"],
};
const SECTIONS = { operator: ["", "held", "operations"], checker: ["held"], observer: [""], consumer: [""] };
let who = null;
let page = null; // what is shown: {stop}
let asked = null;

function route() {
  const [path, query] = (location.hash.startsWith("#/") ? location.hash.slice(2) : "").split("?");
  const [first, id] = path.split("/");
  const known = SECTIONS[who?.role] || [""];
  const section = first === "workflows" ? "" : first;
  const name = id ? `${first}/*` : first;
  const allowed = name in PAGES && known.includes(section);
  return { section: allowed ? section : known[0], name: allowed ? name : known[0], id: id || "", query: new URLSearchParams(query) };
}

function bar() {
  const { section } = route();
  const state = pace();
  render(header,
    h("a", { class: "brand", href: "#/" }, h("img", { src: "icon.svg", alt: "", width: 24, height: 24 }), "Sluice"),
    h("nav", { "aria-label": "Pages" }, (SECTIONS[who?.role] || []).map((name) =>
      h("a", { href: `#/${name}`, "aria-current": name === section ? "page" : null }, PAGES[name][0]))),
    h("span", { class: `pace ${state}`, title: PACES[state], role: "img", "aria-label": PACES[state] }),
    who?.role && !who.open ? button("Sign out", leave, { title: who.name || who.role }) : null);
}

async function leave() {
  await ask("/console/api/session", { method: "DELETE" }).catch(() => {});
  enter(null);
}

function enter(session) {
  who = session;
  show();
}

async function show() {
  page?.stop();
  page = null;
  const { name, id, query } = route();
  const [title, module] = who?.role ? PAGES[name] : ["Sign in"];
  document.title = `${title} – Sluice`;
  bar();
  const mine = (asked = {});
  const open = module ? (await import(`./${module}.js`)).default : signIn;
  if (mine !== asked) return; // another page was asked for meanwhile
  main.replaceChildren();
  main.shown = [];
  page = open(main, { who, query, id, enter });
  bar();
}

addEventListener("hashchange", ({ oldURL, newURL }) => {
  if (!location.hash.startsWith("#/")) return;
  show();
  if (oldURL.split("?")[0] === newURL.split("?")[0]) return;
  scrollTo(0, 0);
  main.focus({ preventScroll: true });
});
addEventListener("pace", bar);
addEventListener("signed-out", () => who && enter(null));

bar();
try {
  enter((await ask("/console/api/session")).value);
} catch (error) {
  render(main, notice("bad", error.message));
}
