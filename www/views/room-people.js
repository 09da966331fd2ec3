// The people of a room with their live presence, those who are there first.

import { el, iconButton, setText } from "../lib/dom.js";
import { roving } from "../lib/roving.js";
import { rankOf, SECTIONS, sectionOf } from "../lib/presence.js";
import { navigate } from "../lib/router.js";
import { SortedList } from "../lib/sorted-list.js";
import { openPerson } from "./person-dialog.js";
import { createPersonItem, updatePersonItem } from "./person-item.js";
import { openInvite } from "./room-dialogs.js";

/** @typedef {import("../lib/presence.js").PresenceState} PresenceState */
/** @typedef {import("./person-item.js").Person} Person */

const byName = new Intl.Collator();

/**
 * @param {import("./shell.js").Context} context
 * @param {string} roomId
 */
export function createRoomPeople(context, roomId) {
  const { client, people } = context;
  const sections = SECTIONS.map(({ id, title }) => createSection(id, title, "user-item", (userId) => openPerson(context, userId, roomId)));
  const invited = createSection("invited", "Invited", "user-item", (userId) => openPerson(context, userId, roomId));
  const all = [...sections, invited];
  const body = el("div.people-body", { testid: "user-list" }, ...all.map((section) => section.node));
  const refreshRoving = roving(body, ".person-button");
  /** Which section a person is in. @type {Map<string, ReturnType<typeof createSection>>} */
  const places = new Map();

  /** @param {string} userId */
  function place(userId) {
    const member = people.member(roomId, userId);
    const person = member && personOf(context, userId, member);
    const target = person && sectionFor(person);
    const old = places.get(userId);
    const focused = old?.list.nodeOf(userId)?.contains(document.activeElement) ?? false;
    if (old && old !== target) old.list.delete(userId);
    if (person && target) {
      target.list.upsert(userId, person);
      places.set(userId, target);
      if (focused) /** @type {HTMLElement | null | undefined} */ (target.list.nodeOf(userId)?.querySelector(".person-button"))?.focus();
    } else {
      places.delete(userId);
    }
  }

  /** @param {Person} person */
  function sectionFor(person) {
    if (person.membership === "invite") return invited;
    if (person.membership !== "join") return undefined;
    return sections.find((section) => section.id === sectionOf(person.state));
  }

  /** @param {Iterable<string>} userIds */
  function refresh(userIds) {
    for (const userId of userIds) place(userId);
    for (const section of all) section.count();
    refreshRoving();
  }

  refresh([...people.members(roomId)].map((member) => member.userId));
  const stops = [
    client.on("members", (changedRoom, changed) => changedRoom === roomId && refresh(changed.map((member) => member.userId))),
    client.on("presence", (changes) => refresh(changes.map((change) => change.userId).filter((userId) => people.member(roomId, userId)))),
    client.on("me", () => refresh([people.myId])),
    client.on("idle", () => refresh([people.myId])),
  ];

  return {
    node: el(
      "aside.people",
      { "aria-label": "People in this room" },
      el(
        "header.people-head",
        {},
        iconButton("back", "Back to the conversation", { class: "back", testid: "people-back", onclick: () => navigate({ pane: "room", roomId }) }),
        el("h2", {}, "People"),
        iconButton("person-add", "Invite people", { onclick: () => openInvite(context, roomId) }),
      ),
      body,
    ),
    dispose() {
      for (const stop of stops) stop();
    },
  };
}

/**
 * @param {string} id
 * @param {string} title
 * @param {string} testid of its people
 * @param {(userId: string) => void} onOpen
 */
export function createSection(id, title, testid, onOpen) {
  const count = el("span.section-count");
  const items = el("ul.person-list", { "aria-label": title });
  const node = el("section.person-section", { "data-section": id, hidden: true }, el("h3.section-title", {}, title, " ", count), items);
  const list = new SortedList(items, {
    create: (/** @type {Person} */ person) => createPersonItem(person, testid, onOpen),
    update: updatePersonItem,
    compare: (a, b) => rankOf(a.state) - rankOf(b.state) || byName.compare(a.name, b.name) || (a.userId < b.userId ? -1 : 1),
  });
  return {
    id,
    node,
    list,
    count() {
      node.hidden = list.size === 0;
      setText(count, String(list.size));
    },
  };
}

/**
 * @param {import("./shell.js").Context} context
 * @param {string} userId
 * @param {import("/pkg/index.js").Member} [member]
 * @returns {Person}
 */
export function personOf({ people }, userId, member) {
  const presence = people.presence(userId);
  return {
    userId,
    name: people.name(userId, member),
    state: people.state(userId),
    presence,
    membership: member?.membership ?? "join",
    mine: userId === people.myId,
  };
}
