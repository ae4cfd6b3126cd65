// The page that asks who you are.

import { h, render } from "./dom.js";
import { ask } from "./net.js";
import { notice } from "./parts.js";

export function signIn(main, done) {
  let problem = null;
  let busy = false;
  const draw = () => {
    main.shown ??= [];
    render(main, h("form", { class: "panel sign-in", key: "sign-in", onsubmit: submit },
      h("h1", null, "Sign in"),
      h("label", { for: "admin" }, "Admin value"),
      h("input", { id: "admin", name: "admin", type: "password", autocomplete: "current-password", required: true, "aria-describedby": "about-admin" }),
      h("p", { id: "about-admin", class: "muted" }, "One of the values of ALLOWED_ADMINS. It is exchanged for a session of four hours and not kept."),
      problem ? notice("bad", problem) : null,
      h("button", { type: "submit", class: "main", disabled: busy }, "Sign in")));
  };
  async function enter(options) {
    busy = true;
    draw();
    try {
      done((await ask("/console/api/session", { method: "POST", ...options })).value);
    } catch (error) {
      problem = error.message;
      busy = false;
      draw();
    }
  }
  function submit(event) {
    event.preventDefault();
    enter({ body: { admin: event.target.elements.admin.value } });
  }
  main.replaceChildren();
  main.shown = [];
  draw();
  document.getElementById("admin").focus();
  return { stop() {} };
}
