// Passwords: a new one is typed twice, and is not of the shortest.

import { el } from "../lib/dom.js";
import { field, openForm, toggle } from "./dialog.js";

/** Shorter ones are guessed in no time. */
export const SHORTEST_PASSWORD = 8;

/**
 * Has the browser refuse a new password that is short or typed in two ways; the function checks again.
 * @param {HTMLInputElement} first
 * @param {HTMLInputElement} again
 * @param {() => boolean} [isNew] whether it is a new one at all
 */
export function checkTogether(first, again, isNew = () => true) {
  const check = () => {
    const fresh = isNew();
    const short = fresh && [...first.value].length < SHORTEST_PASSWORD;
    first.setCustomValidity(short ? `At least ${SHORTEST_PASSWORD} characters, please.` : "");
    again.setCustomValidity(fresh && again.value !== first.value ? "The two passwords differ." : "");
  };
  for (const input of [first, again]) input.addEventListener("input", check);
  return check;
}

/** @param {HTMLElement} node */
export function inputOf(node) {
  return /** @type {HTMLInputElement} */ (node.querySelector("input"));
}

/** @param {import("./shell.js").Context} context @param {() => void} onChanged */
export function openPassword({ client }, onChanged) {
  const { userId } = client.session;
  /** @param {string} label @param {string} name @param {string} autocomplete @param {string} [hint] */
  const password = (label, name, autocomplete, hint) =>
    field(label, { name, type: "password", testid: `password-${name}`, required: true, autocomplete, hint });
  const fresh = password("New password", "new", "new-password", `At least ${SHORTEST_PASSWORD} characters.`);
  const again = password("The new password again", "again", "new-password");
  checkTogether(inputOf(fresh), inputOf(again));
  openForm({
    title: "Change password",
    testid: "password",
    submitLabel: "Change password",
    fields: [
      // For password managers, which ask whose it is.
      el("input", { type: "text", autocomplete: "username", value: userId, readonly: true, hidden: true }),
      password("Old password", "old", "current-password"),
      fresh,
      again,
      toggle("Sign out my other devices", {
        name: "others", testid: "password-others", checked: true, hint: "Whoever else knows the old password is out with them.",
      }),
    ],
    words: { M_FORBIDDEN: "The old password is wrong.", M_UNRECOGNIZED: "This server changes passwords in another way." },
    submit: async (values) => {
      await client.request("POST", "/_matrix/client/v3/account/password", {
        new_password: String(values.get("new")),
        logout_devices: values.has("others"),
        auth: { type: "m.login.password", identifier: { type: "m.id.user", user: userId }, password: String(values.get("old")) },
      });
      onChanged();
    },
  });
}
