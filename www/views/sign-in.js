// Signing in: one form for logging in and for creating an account.

import { login, register } from "../pkg/index.js";
import { el, fill, icon, iconButton, setText } from "../lib/dom.js";
import { errorText } from "../lib/errors.js";
import { discoverServer, parseServer, suggestedServer } from "../session.js";
import { field } from "./dialog.js";
import { SHORTEST_PASSWORD, checkTogether, inputOf } from "./password.js";

/** @typedef {"login" | "register"} Mode */

const NO_HOMESERVER = "There is no Matrix homeserver at that address.";
const CLOSED = "This server does not let new people register.";
const DEVICE_NAME = "Pilotlight in a browser";

/** @type {Record<Mode, { title: string, submit: string, busy: string }>} */
const WORDS = {
  login: { title: "Log in", submit: "Log in", busy: "Logging in…" },
  register: { title: "Create account", submit: "Create account", busy: "Creating your account…" },
};

/**
 * @param {{ onSession: (session: import("/pkg/index.js").Session) => Promise<void>, notice?: string }} options
 */
export function createSignIn({ onSession, notice }) {
  /** @type {Mode} */
  let mode = "login";
  const problem = el("p.problem", { role: "alert", testid: "login-error", hidden: true });
  const note = el("p.notice", { role: "status", testid: "login-notice", hidden: !notice }, notice);
  const submit = el("button.primary.large", { type: "submit" });
  const user = field("User name", {
    name: "user", testid: "login-user", required: true, autocomplete: "username", autocapitalize: "none",
    spellcheck: "false", autofocus: true,
  });
  const password = passwordField();
  const token = tokenField();
  const server = serverField();
  const tabs = {
    login: modeTab("login", () => setMode("login")),
    register: modeTab("register", () => setMode("register")),
  };
  const form = el("form.sign-in-form", { testid: "login-form" }, user, ...password.nodes, token.node, server.node, note, problem, submit);

  /** @param {Mode} chosen */
  function setMode(chosen) {
    mode = chosen;
    for (const [id, tab] of Object.entries(tabs)) tab.setAttribute("aria-pressed", String(id === mode));
    submit.dataset.testid = `${mode}-submit`;
    setText(submit, WORDS[mode].submit);
    password.setMode(mode);
    token.setMode(mode);
    problem.hidden = true;
    if (mode === "register") void warnIfClosed();
  }

  /** Says before the form is filled in that there are no accounts to be had. */
  async function warnIfClosed() {
    const typed = server.address();
    if (!(await isClosed(typed)) || mode !== "register" || server.address() !== typed) return;
    fill(problem, icon("alert"), CLOSED);
    problem.hidden = false;
  }
  server.node.addEventListener("change", () => mode === "register" && void warnIfClosed());

  form.addEventListener("input", () => (problem.hidden = true));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.hidden = true;
    note.hidden = true;
    submit.disabled = true;
    setText(submit, WORDS[mode].busy);
    try {
      await onSession(await signIn(mode, new FormData(form)));
    } catch (error) {
      token.handleError(error);
      fill(problem, icon("alert"), errorText(error, wordsFor(mode, error)));
      problem.hidden = false;
      submit.disabled = false;
      setText(submit, WORDS[mode].submit);
    }
  });

  setMode("login");
  return el(
    "main.sign-in",
    {},
    el(
      "section.sign-in-card",
      { "aria-labelledby": "brand" },
      el("div.brand", {}, icon("flame"), el("h1", { id: "brand" }, "Pilotlight")),
      el("p.tagline", {}, "Presence you can leave on."),
      el("div.segmented", { role: "group", "aria-label": "Log in or create an account" }, tabs.login, tabs.register),
      form,
    ),
  );
}

/** @param {Mode} mode @param {() => void} onclick */
function modeTab(mode, onclick) {
  return el("button", { type: "button", testid: `mode-${mode}`, onclick }, WORDS[mode].title);
}

/** The password, and for a new account the same once more: nobody brings back one that was mistyped. */
function passwordField() {
  const node = field("Password", {
    name: "password", type: "password", testid: "login-password", required: true, hint: `At least ${SHORTEST_PASSWORD} characters.`,
  });
  const input = inputOf(node);
  const hint = /** @type {HTMLElement} */ (node.querySelector(".hint"));
  const again = field("The same password again", {
    type: "password", testid: "login-password-again", autocomplete: "new-password",
  });
  const second = inputOf(again);
  const inputs = [input, second];
  const reveal = iconButton("eye", "Show password", {
    "aria-pressed": "false",
    onclick: () => {
      const shown = input.type === "text";
      for (const one of inputs) one.type = shown ? "password" : "text";
      reveal.setAttribute("aria-pressed", String(!shown));
    },
  });
  const box = el("div.input-with-button");
  input.replaceWith(box);
  box.append(input, reveal);

  /** @type {Mode} */
  let mode = "login";
  const check = checkTogether(input, second, () => mode === "register");

  /** @param {Mode} chosen */
  const setMode = (chosen) => {
    mode = chosen;
    const fresh = mode === "register";
    input.setAttribute("autocomplete", fresh ? "new-password" : "current-password");
    hint.hidden = !fresh;
    again.hidden = !fresh;
    second.required = fresh;
    second.value = "";
    check();
  };
  return { nodes: [node, again], setMode };
}

/** What some homeservers want of new people; asked for when one says so. */
function tokenField() {
  const node = field("Registration token", {
    name: "token", testid: "login-token", autocapitalize: "none", spellcheck: "false", hint: "Whoever runs the server gives them out.",
  });
  const input = inputOf(node);
  let wanted = false;

  /** @param {Mode} mode */
  const setMode = (mode) => {
    node.hidden = !wanted || mode !== "register";
    input.required = !node.hidden;
  };
  /** @param {unknown} error */
  const handleError = (error) => {
    if (/** @type {import("/pkg/index.js").PilotlightError} */ (error).code !== "REGISTRATION_TOKEN_NEEDED") return;
    wanted = true;
    setMode("register");
    input.focus();
  };
  return { node, setMode, handleError };
}

/** The homeserver: out of the way, since it is nearly always the one this page came from. */
function serverField() {
  const host = el("strong");
  const node = field("Homeserver address", {
    name: "server", testid: "login-server", required: true, value: suggestedServer(), inputmode: "url",
    autocapitalize: "none", spellcheck: "false", hint: "This server, or any Matrix homeserver.",
  });
  const input = /** @type {HTMLInputElement} */ (node.querySelector("input"));
  const show = () => {
    try {
      setText(host, parseServer(input.value).host);
    } catch {
      setText(host, input.value || "none");
    }
  };
  input.addEventListener("input", show);
  show();
  const summary = el("summary", { testid: "login-server-edit" }, icon("globe"), el("span", {}, "on ", host), el("span.link", {}, "Change"));
  return { node: el("details.server", {}, summary, node), address: () => input.value };
}

/** Whether a homeserver says that it makes no accounts; whatever else it says, the attempt will tell. @param {string} typed */
async function isClosed(typed) {
  try {
    const base = await discoverServer(typed);
    const answer = await fetch(`${base}/_matrix/client/v3/register/available?username=probe-${Math.random().toString(36).slice(2)}`);
    return answer.status === 403 && (await answer.json()).errcode === "M_FORBIDDEN";
  } catch {
    return false;
  }
}

/** @param {Mode} mode @param {FormData} values */
async function signIn(mode, values) {
  const user = String(values.get("user")).trim();
  const password = String(values.get("password"));
  const baseUrl = await discoverServer(String(values.get("server")));
  return mode === "login"
    ? login(baseUrl, { user, password, deviceName: DEVICE_NAME })
    : register(baseUrl, {
        username: user.toLowerCase(), password, deviceName: DEVICE_NAME, registrationToken: String(values.get("token")).trim() || undefined,
      });
}

/** @param {Mode} mode @param {unknown} error @returns {Record<string, string>} */
function wordsFor(mode, error) {
  return mode === "login"
    ? { M_FORBIDDEN: "User name or password is wrong.", M_UNRECOGNIZED: NO_HOMESERVER, BAD_ANSWER: NO_HOMESERVER }
    : { ...wordsForNewcomers(error), REGISTRATION_TOKEN_NEEDED: "This server gives accounts to people with a registration token. Type yours, or ask whoever runs it." };
}

/** A homeserver that refuses how accounts are made here, by a 401, is one all the same. @param {unknown} error @returns {Record<string, string>} */
function wordsForNewcomers(error) {
  const { status } = /** @type {import("/pkg/index.js").PilotlightError} */ (error);
  if (status !== 401) {
    return { M_FORBIDDEN: CLOSED, M_UNRECOGNIZED: NO_HOMESERVER, BAD_ANSWER: NO_HOMESERVER };
  }
  const wrong = "That registration token is not valid here.";
  const more = "This server wants more of new people than can be given here: ask whoever runs it for an account.";
  return { M_FORBIDDEN: wrong, M_UNAUTHORIZED: wrong, M_UNRECOGNIZED: more, BAD_ANSWER: more };
}
