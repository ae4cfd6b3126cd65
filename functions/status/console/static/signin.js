// The page that asks who you are.

import { h, render } from "./dom.js";
import { ask } from "./net.js";
import { button, notice } from "./parts.js";
import { account, checkerHeader, hasWallet, walletProblem } from "./wallet.js";

const SESSION = "/console/api/session";

export function signIn(main, { enter }) {
  let problem = null;
  let busy = false;
  const draw = () => render(main,
    h("form", { class: "panel sign-in", key: "sign-in", onsubmit: submit },
      h("h1", null, "Sign in"),
      h("label", { for: "secret" }, "Admin value or token"),
      h("input", { id: "secret", type: "password", autocomplete: "current-password", required: true, "aria-describedby": "about" }),
      h("p", { id: "about", class: "muted" }, "It is exchanged for a session of four hours and not kept. With a token you see your own workflows."),
      h("button", { type: "submit", class: "main", disabled: busy }, "Sign in"),
      hasWallet()
        ? button("Sign in with your wallet, as a checker", withWallet, { disabled: busy })
        : h("p", { class: "muted" }, "Checkers sign in with a wallet, which this browser has not, or use: sluice held --key-file FILE"),
      problem ? notice("bad", problem) : null));

  async function attempt(options) {
    busy = true;
    problem = null;
    draw();
    try {
      enter((await ask(SESSION, { method: "POST", ...(await options()) })).value);
    } catch (error) {
      problem = walletProblem(error);
      busy = false;
      draw();
    }
  }
  function submit(event) {
    event.preventDefault();
    const secret = document.getElementById("secret").value;
    attempt(() => ({ body: { secret } }));
  }
  const withWallet = () => attempt(async () => ({ headers: await checkerHeader("POST", SESSION, await account()) }));

  draw();
  document.getElementById("secret").focus();
  return { stop() {} };
}
