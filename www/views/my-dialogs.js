// Dialogs about myself: profile, signing out.

import { el } from "../lib/dom.js";
import { field, openForm } from "./dialog.js";

/** @param {import("./shell.js").Context} context */
export function openProfile({ client, people }) {
  openForm({
    title: "Profile",
    testid: "profile",
    submitLabel: "Save",
    fields: [
      field("Display name", {
        name: "name", testid: "profile-name", value: people.name(people.myId), required: true, maxlength: "100", autocomplete: "name",
      }),
      el("p.hint", {}, "You are ", el("code", {}, people.myId), " on ", el("code", {}, client.session.baseUrl), "."),
    ],
    submit: (values) => client.setDisplayName(String(values.get("name")).trim()),
  });
}

/** @param {import("./shell.js").Context} context */
export function openSignOut({ onSignOut }) {
  openForm({
    title: "Sign out?",
    testid: "sign-out",
    submitLabel: "Sign out",
    danger: true,
    fields: [el("p", {}, "Messages that wait to be sent on this device are lost. Your rooms stay as they are.")],
    submit: async () => onSignOut(),
  });
}
