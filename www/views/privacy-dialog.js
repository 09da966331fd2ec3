// Who may see me, and who may write to me.

import { el } from "../lib/dom.js";
import { labelOf } from "../lib/presence.js";
import { orToast } from "../lib/toast.js";
import { choice, openForm, toggle } from "./dialog.js";

/** @typedef {import("./shell.js").Context} Context */
/** @typedef {import("../lib/contact-list.js").Settings} Settings */
/** @typedef {import("../lib/contact-list.js").Admit} Admit */

/** The states that a rule can be for, as others see them. @type {import("../lib/contact-list.js").Shown[]} */
const SHOWN = ["free_for_chat", "online", "busy", "unavailable", "offline"];
/** Parts the kind from the name in an option's value, as no group's name has it. */
const GROUP = "group\n";

/** @param {Context} context */
export async function openPrivacy(context) {
  const { contacts } = context;
  /** @type {Settings | undefined} */
  let settings;
  if (!(await orToast(async () => (settings = await contacts.settings()))) || !settings) return;
  openForm({
    title: "Privacy",
    testid: "privacy",
    submitLabel: "Save",
    fields: [
      choice("Who may see when I am there", {
        name: "share", testid: "privacy-share", value: settings.share,
        options: [["shared_rooms", "Those I accepted, and everybody in my rooms"], ["list", "Those I accepted"], ["nobody", "Nobody"]],
      }),
      observersList(context),
      toggle("Accept every request", { name: "auto", testid: "privacy-auto", checked: settings.auto_accept === "everybody", hint: "Else only of people on my own list." }),
      rulesTable(contacts.groups(), settings.invites),
    ],
    submit: (values) => contacts.setSettings(read(values)),
  });
}

/** Those I accepted, each with the way to take it back. @param {Context} context */
function observersList({ contacts, people }) {
  const items = [...contacts.observers].map((userId) => {
    const item = el(
      "li",
      { testid: "observer-item", "data-user-id": userId },
      el("span", { title: userId }, people.name(userId)),
      el("button.link", { type: "button", testid: "revoke", onclick: () => orToast(async () => (await contacts.answer(userId, "revoke"), item.remove())) }, "Take back"),
    );
    return item;
  });
  return items.length === 0 ? null : el("section", {}, el("h3.section-title", {}, "I accepted"), el("ul.observers", {}, ...items));
}

/** @param {string[]} groups @param {Settings["invites"]} rules */
function rulesTable(groups, rules) {
  /** @type {[string, string][]} */
  const options = [["everybody", "everybody"], ["list", "people on my list"], ["nobody", "nobody"]];
  for (const group of groups) options.push([GROUP + group, `the group ${group}`]);
  return el(
    "fieldset.rules",
    {},
    el("legend", {}, "Who may begin a chat with me"),
    ...SHOWN.map((state) =>
      choice(`When I am ${labelOf(state).toLowerCase()}`, { name: state, testid: `rule-${state}`, value: valueOf(rules[state]), options: withRule(options, rules[state]) })),
  );
}

/** A group that has nobody in it any more stays a choice while a rule names it. @param {[string, string][]} options @param {Admit | undefined} rule @returns {[string, string][]} */
function withRule(options, rule) {
  const value = valueOf(rule);
  return options.some(([known]) => known === value) ? options : [...options, [value, `the group ${value.slice(GROUP.length)}`]];
}

/** @param {Admit | undefined} rule */
function valueOf(rule) {
  return typeof rule === "object" ? GROUP + rule.group : rule ?? "everybody";
}

/** @param {FormData} values @returns {Settings} */
function read(values) {
  /** @type {Settings["invites"]} */
  const invites = {};
  for (const state of SHOWN) {
    const value = String(values.get(state));
    if (value !== "everybody") invites[state] = value.startsWith(GROUP) ? { group: value.slice(GROUP.length) } : /** @type {Admit} */ (value);
  }
  return {
    share: /** @type {Settings["share"]} */ (values.get("share")),
    auto_accept: values.has("auto") ? "everybody" : "reverse",
    invites,
  };
}
