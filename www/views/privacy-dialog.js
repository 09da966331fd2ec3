// Who may see me, and who may write to me.

import { el } from "../lib/dom.js";
import { labelOf } from "../lib/presence.js";
import { orToast } from "../lib/toast.js";
import { choice, openForm, toggle } from "./dialog.js";

/** @typedef {import("./shell.js").Context} Context */
/** @typedef {import("/pkg/index.js").Privacy} Privacy */
/** @typedef {import("/pkg/index.js").Admit} Admit */

/** The states that a rule can be for, as others see them. @type {(keyof Privacy["invites"])[]} */
const SHOWN = ["free_for_chat", "online", "busy", "unavailable", "offline"];
/** Parts the kind from the name in an option's value, and names from each other, as no group's name has it. */
const GROUP = "group\n";

/** @param {Context} context */
export async function openPrivacy(context) {
  const { client, contacts } = context;
  /** @type {Privacy | undefined} */
  let privacy;
  if (!(await orToast(async () => (privacy = await client.privacy()))) || !privacy) return;
  openForm({
    title: "Privacy",
    testid: "privacy",
    submitLabel: "Save",
    fields: [
      choice("Who may see when I am there", {
        name: "share", testid: "privacy-share", value: privacy.share,
        options: [["shared_rooms", "Those I accepted, and everybody in my rooms"], ["list", "Those I accepted"], ["nobody", "Nobody"]],
      }),
      observersList(context),
      toggle("Accept every request", { name: "auto", testid: "privacy-auto", checked: privacy.autoAccept === "everybody", hint: "Else only of people on my own list." }),
      rulesTable(contacts.groups(), privacy.invites),
    ],
    submit: (values) => client.setPrivacy(read(values)),
  });
}

/** Those I accepted, each with the way to take it back. @param {Context} context */
function observersList({ client, contacts, people }) {
  const items = contacts.accepted().map((userId) => {
    const item = el(
      "li",
      { testid: "observer-item", "data-user-id": userId },
      el("span", { title: userId, dir: "auto" }, people.name(userId)),
      el("button.link", { type: "button", testid: "revoke", onclick: () => orToast(async () => (await client.answerRequest(userId, "revoke"), item.remove())) }, "Take back"),
    );
    return item;
  });
  return items.length === 0 ? null : el("section", {}, el("h3.section-title", {}, "I accepted"), el("ul.observers", {}, ...items));
}

/** @param {string[]} groups @param {Privacy["invites"]} rules */
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
  return options.some(([known]) => known === value) ? options : [...options, [value, `the group ${value.slice(GROUP.length).replaceAll("\n", " or ")}`]];
}

/** @param {Admit | undefined} rule */
function valueOf(rule) {
  if (typeof rule !== "object") return rule ?? "everybody";
  return GROUP + ("groups" in rule ? rule.groups : [rule.group]).join("\n");
}

/** @param {string[]} names @returns {Admit} */
function admit(names) {
  return names.length === 1 ? { group: names[0] ?? "" } : { groups: names };
}

/** @param {FormData} values @returns {Privacy} */
function read(values) {
  /** @type {Privacy["invites"]} */
  const invites = {};
  for (const state of SHOWN) {
    const value = String(values.get(state));
    if (value !== "everybody") invites[state] = value.startsWith(GROUP) ? admit(value.slice(GROUP.length).split("\n")) : /** @type {Admit} */ (value);
  }
  return {
    share: /** @type {Privacy["share"]} */ (values.get("share")),
    autoAccept: values.has("auto") ? "everybody" : "reverse",
    invites,
  };
}
