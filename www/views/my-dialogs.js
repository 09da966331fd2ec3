// Dialogs about myself: profile, signing out.

import { el } from "../lib/dom.js";
import { counted } from "../lib/format.js";
import { notificationsOn, setNotifications } from "../lib/notify.js";
import { IDLE_MINUTES, idleMinutes, setIdleMinutes } from "../lib/settings.js";
import { choice, field, openForm, toggle } from "./dialog.js";

/** @param {import("./shell.js").Context} context */
export function openProfile({ client, people, onRestart }) {
  openForm({
    title: "Profile and settings",
    testid: "profile",
    submitLabel: "Save",
    fields: [
      field("Display name", {
        name: "name", testid: "profile-name", value: people.name(people.myId), required: true, maxlength: "100", autocomplete: "name",
      }),
      choice("Away after", {
        name: "idle", testid: "idle-minutes", value: String(idleMinutes()), hint: "Without pointer or keyboard on this page.",
        options: IDLE_MINUTES.map((minutes) => [String(minutes), counted(minutes, "minute", "minutes")]),
      }),
      toggle("Notifications", {
        name: "notify", testid: "notify", checked: notificationsOn(), hint: "Of messages that come while you look elsewhere. Not while you are busy.",
      }),
      el("p.hint", {}, "You are ", el("code", {}, people.myId), " on ", el("code", {}, client.session.baseUrl), "."),
    ],
    submit: async (values) => {
      const name = String(values.get("name")).trim();
      if (name !== people.name(people.myId)) await client.setDisplayName(name);
      if (values.has("notify") !== notificationsOn()) await setNotifications(values.has("notify"));
      const minutes = Number(values.get("idle"));
      if (minutes === idleMinutes()) return;
      setIdleMinutes(minutes);
      onRestart();
    },
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
