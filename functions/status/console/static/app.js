// Starts the console: who is signed in, which page is shown.

import { h, render } from "./dom.js";
import { ask, pace } from "./net.js";
import { notice } from "./parts.js";
import { signIn } from "./signin.js";

const main = document.getElementById("main");
const header = document.getElementById("top");
const PACES = {
  live: "Live: this page updates by itself",
  slow: "Nothing has changed for a while: this page asks less often",
  failing: "The server does not answer as it should",
  still: "",
};
const PAGES = [
  [/^\/$/, "Workflows", "list"],
  [/^\/workflows\/([^/]+)$/, "Workflow", "workflow"],
];
const LINKS = [["/", "Workflows"]];
let who = null;
let page = null; // what is shown: {stop}
let ended = () => {};

function route() {
  const [path, query = ""] = (location.hash.startsWith("#/") ? location.hash.slice(1) : "/").split("?");
  return { path, query: new URLSearchParams(query) };
}

function bar() {
  const { path } = route();
  const link = ([to, name]) =>
    h("a", { href: `#${to}`, "aria-current": (to === "/" ? path === "/" || path.startsWith("/workflows") : path.startsWith(to)) ? "page" : null }, name);
  const state = pace();
  render(header,
    h("a", { class: "brand", href: "#/" }, h("img", { src: "icon.svg", alt: "", width: 24, height: 24 }), "Sluice"),
    h("nav", { "aria-label": "Pages" }, who?.role ? LINKS.map(link) : null),
    h("span", { class: `pace ${state}`, title: PACES[state], role: "img", "aria-label": PACES[state] || "This page is complete" }),
    who?.role && !who.open ? h("button", { type: "button", class: "quiet", onclick: leave }, "Sign out") : h("span", null));
}

async function leave() {
  await ask("/console/api/session", { method: "DELETE" }).catch(() => {});
  who = null;
  await show();
}

async function show() {
  page?.stop();
  page = null;
  if (!who?.role) {
    document.title = "Sign in – Sluice";
    bar();
    page = signIn(main, (session) => {
      who = session;
      show();
    });
    return;
  }
  const { path, query } = route();
  const found = PAGES.find(([pattern]) => pattern.test(path)) || PAGES[0];
  const mine = (ended = () => {});
  document.title = `${found[1]} – Sluice`;
  bar();
  const { default: open } = await import(`./${found[2]}.js`);
  if (mine !== ended) return; // another page was asked for meanwhile
  const captured = found[0].exec(path)?.slice(1).map(decodeURIComponent) || [];
  main.replaceChildren();
  main.shown = [];
  page = open(main, { who, query, captured });
  bar();
}

addEventListener("hashchange", () => {
  if (!location.hash.startsWith("#/")) return;
  const before = main.dataset.path;
  main.dataset.path = route().path;
  show();
  if (before !== main.dataset.path) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
});
addEventListener("pace", bar);
addEventListener("signed-out", () => {
  who = null;
  show();
});

main.dataset.path = route().path;
bar();
try {
  who = (await ask("/console/api/session")).value;
  await show();
} catch (error) {
  render(main, notice("bad", error.message));
}
