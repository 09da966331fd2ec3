// Dialogs about myself: profile, signing out.

import { el, icon } from "../lib/dom.js";
import { counted } from "../lib/format.js";
import { notificationsOn, setNotifications } from "../lib/notify.js";
import { IDLE_MINUTES, idleMinutes, receiptsArePrivate, setIdleMinutes, setReceiptsPrivate } from "../lib/settings.js";
import { toast } from "../lib/toast.js";
import { choice, field, openForm, toggle } from "./dialog.js";
import { openPassword } from "./password.js";
import { pictureField } from "./picture-field.js";

/** Parts a group's name from the form's other fields. */
const GROUP = "group:";
/** @type {[string, string][]} */
const GROUP_RULES = [["", "As from anybody"], ["always", "Always, while I am busy too"], ["never", "Never"]];

/** @param {import("./shell.js").Context} context */
export async function openProfile(context) {
  const { client, people, contacts, onRestart } = context;
  const { mutedIn, groups } = client.notifySettings;
  const names = [...new Set([...contacts.groups(), ...Object.keys(groups)])];
  const picture = pictureField({ id: people.myId, name: people.name(people.myId), shape: "round", uri: people.me.avatarUrl, label: "Choose a picture", testid: "profile-picture" });
  openForm({
    title: "Profile and settings",
    testid: "profile",
    submitLabel: "Save",
    fields: [
      picture.node,
      field("Display name", {
        name: "name", testid: "profile-name", value: people.name(people.myId), required: true, maxlength: "100", autocomplete: "name",
      }),
      choice("Away after", {
        name: "idle", testid: "idle-minutes", value: String(idleMinutes()), hint: "Without pointer or keyboard on this page.",
        options: IDLE_MINUTES.map((minutes) => [String(minutes), counted(minutes, "minute", "minutes")]),
      }),
      toggle("Notifications", {
        name: "notify", testid: "notify", checked: notificationsOn(), hint: "Of messages that come while you look elsewhere, by this browser.",
      }),
      await systemToggle(),
      toggle("Quiet while busy", {
        name: "quiet", testid: "quiet-busy", checked: mutedIn.includes("busy"), hint: "On all your devices.",
      }),
      toggle("Tell others what I have read", {
        name: "receipts", testid: "receipts", checked: !receiptsArePrivate(), hint: "By this browser. Else only your own devices know.",
      }),
      ...names.map((name) => choice(`From the group ${name}`, {
        name: GROUP + name, testid: "notify-group", value: groups[name] ?? "", options: GROUP_RULES,
      })),
      el(
        "button.quiet",
        { type: "button", testid: "change-password", onclick: () => openPassword(context, () => toast("Your password is changed.")) },
        icon("lock"),
        "Change password",
      ),
      el("p.hint", {}, "You are ", el("code", {}, people.myId), " on ", el("code", {}, client.session.baseUrl), "."),
    ],
    submit: async (values) => {
      const name = String(values.get("name")).trim();
      if (name !== people.name(people.myId)) await client.setDisplayName(name);
      const uri = await picture.upload(client);
      if (uri !== undefined) await client.setAvatar(uri);
      if (values.has("notify") !== notificationsOn()) await setNotifications(values.has("notify"));
      setReceiptsPrivate(!values.has("receipts"));
      await saveRules(client, values);
      if (values.has("system")) await askForSystem();
      const minutes = Number(values.get("idle"));
      if (minutes === idleMinutes()) return;
      setIdleMinutes(minutes);
      onRestart();
    },
  });
}

/** Lets this browser tell when I use another program, or lock the screen; only its own settings take that back. */
async function systemToggle() {
  if (!("IdleDetector" in window)) return null;
  const granted = await isSystemGranted();
  return toggle("Notice me in other programs", {
    name: "system", testid: "system-idle", checked: granted, disabled: granted, hint: granted ? "Allowed; the browser's settings take it back." : "Away only when the machine is not used, or locked.",
  });
}

async function isSystemGranted() {
  const name = /** @type {PermissionName} */ ("idle-detection");
  return (await navigator.permissions.query({ name })).state === "granted";
}

async function askForSystem() {
  const detector = /** @type {{ requestPermission(): Promise<string> }} */ (/** @type {any} */ (window).IdleDetector);
  if ((await detector.requestPermission()) !== "granted") throw new Error("The browser does not allow that: its settings for this site decide.");
}

/** Keeps which events are told of, if that was changed. @param {import("/pkg/index.js").Client} client @param {FormData} values */
async function saveRules(client, values) {
  const before = client.notifySettings;
  const others = before.mutedIn.filter((state) => state !== "busy");
  /** @type {import("/pkg/index.js").NotifySettings} */
  const after = { mutedIn: values.has("quiet") ? ["busy", ...others] : others, groups: {} };
  for (const [key, value] of values) {
    if (key.startsWith(GROUP) && (value === "always" || value === "never")) after.groups[key.slice(GROUP.length)] = value;
  }
  if (JSON.stringify(after) !== JSON.stringify(before)) await client.setNotifySettings(after);
}

/** @param {import("./shell.js").Context} context */
export function openSignOut({ client, onSignOut }) {
  const { waiting } = client;
  const lost = waiting === 0 ? "" : `${counted(waiting, "message that waits", "messages that wait")} to be sent on this device will be lost. `;
  openForm({
    title: "Sign out?",
    testid: "sign-out",
    submitLabel: "Sign out",
    danger: true,
    fields: [el("p", {}, `${lost}Your rooms stay as they are.`)],
    submit: async () => onSignOut(),
  });
}
