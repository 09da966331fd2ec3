// Dialogs of my list: add a person, a person's groups, a room with a group.

import { el } from "../lib/dom.js";
import { aboutUser } from "../lib/errors.js";
import { nameList, serverOf } from "../lib/format.js";
import { navigate } from "../lib/router.js";
import { toast } from "../lib/toast.js";
import { field, openForm, toggle } from "./dialog.js";
import { parseUserIds } from "./room-dialogs.js";

/** @typedef {import("./shell.js").Context} Context */

/** @param {Context} context */
export function openAddContact({ client, people }) {
  const server = serverOf(people.myId);
  openForm({
    title: "Add a person",
    testid: "add-contact",
    submitLabel: "Ask",
    fields: [
      field("Who", {
        name: "user", testid: "add-contact-user", required: true, placeholder: `@ada:${server}`, spellcheck: "false",
        autocapitalize: "none", hint: "They are asked whether you may see when they are there.",
      }),
      field("Group", { name: "group", testid: "add-contact-group", placeholder: "Optional", maxlength: "64" }),
    ],
    submit: async (values) => {
      const group = String(values.get("group")).trim();
      const asked = parseUserIds(String(values.get("user")), server);
      for (const userId of asked) {
        try {
          await client.addContact(userId);
          if (group) await client.setGroup(userId, group, true);
        } catch (error) {
          throw aboutUser(userId, error);
        }
      }
      toast(`Asked ${nameList(asked.map((userId) => people.name(userId)))}.`);
    },
  });
}

/** @param {Context} context @param {string} userId */
export function openGroups({ client, contacts, people }, userId) {
  const mine = new Set(contacts.entry(userId)?.groups);
  const all = contacts.groups();
  openForm({
    title: `Groups of ${people.name(userId)}`,
    testid: "groups",
    submitLabel: "Save",
    fields: [
      ...all.map((group) => toggle(group, { name: "in", value: group, checked: mine.has(group), testid: "group-toggle" })),
      field("New group", { name: "new", testid: "group-new", maxlength: "64", placeholder: "Optional" }),
    ],
    submit: async (values) => {
      const chosen = new Set(values.getAll("in").map(String));
      const added = String(values.get("new")).trim();
      if (added) chosen.add(added);
      for (const group of new Set([...all, ...chosen])) {
        if (chosen.has(group) !== mine.has(group)) await client.setGroup(userId, group, chosen.has(group));
      }
    },
  });
}

/** @param {Context} context @param {string} group */
export function openInviteGroup({ client, contacts, people, reach }, group) {
  const members = contacts.entries().filter((entry) => entry.groups.includes(group)).map((entry) => entry.userId);
  /** @param {boolean} here */
  const names = (here) => members.filter((userId) => reach.has(userId) === here).map((userId) => people.name(userId)).join(", ");
  const left = names(false);
  openForm({
    title: `A room with ${group}`,
    testid: "invite-group",
    submitLabel: "Create room",
    fields: [
      field("Name", { name: "name", testid: "invite-group-name", value: group, maxlength: "255" }),
      el("p.hint", {}, `Invites ${names(true) || "nobody"}.${left && ` Not ${left}: rooms are for people of this server.`}`),
    ],
    submit: async (values) => navigate({ pane: "room", roomId: await client.inviteGroup(group, String(values.get("name")).trim() || undefined) }),
  });
}
