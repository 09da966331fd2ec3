// The people I can see, in and out of rooms, with their live presence.

import { el, icon } from "../lib/dom.js";
import { SECTIONS, sectionOf } from "../lib/presence.js";
import { roving } from "../lib/roving.js";
import { openPerson } from "./person-dialog.js";
import { openNewChat } from "./room-dialogs.js";
import { createSection, personOf } from "./room-people.js";

/** @param {import("./shell.js").Context} context */
export function createContacts(context) {
  const { client, people } = context;
  const badge = el("span.badge", { hidden: true });
  const sections = SECTIONS.map(({ id, title }) => createSection(id, title, "contact-item", (userId) => openPerson(context, userId)));
  const empty = el("p.empty", {}, "People you share a room with appear here.");
  const start = el("button.quiet", { type: "button", testid: "new-chat", onclick: () => openNewChat(context) }, icon("chat"), "Start a chat");
  const node = el("div.sidebar-body", { testid: "contacts" }, el("div.contacts-actions", {}, start), ...sections.map((section) => section.node), empty);
  const refreshRoving = roving(node, ".person-button");
  /** @type {Map<string, (typeof sections)[number]>} */
  const places = new Map();

  /** @param {string[]} userIds */
  function refresh(userIds) {
    for (const userId of userIds) {
      if (userId === people.myId) continue;
      const person = personOf(context, userId);
      const target = sections.find((section) => section.id === sectionOf(person.state));
      const old = places.get(userId);
      if (old && old !== target) old.list.delete(userId);
      if (target) {
        target.list.upsert(userId, person);
        places.set(userId, target);
      }
    }
    for (const section of sections) section.count();
    empty.hidden = places.size > 0;
    refreshRoving();
  }

  const stop = client.on("presence", (changes) => refresh(changes.map((change) => change.userId)));
  refresh(client.presences().map((presence) => presence.userId));
  return { node, badge, dispose: stop };
}
