// A titled section of a list of people, who are there first.

import { el, setText } from "../lib/dom.js";
import { rankOf } from "../lib/presence.js";
import { SortedList } from "../lib/sorted-list.js";
import { createPersonItem, updatePersonItem } from "./person-item.js";

/** @typedef {import("./person-item.js").Person} Person */
/** @typedef {ReturnType<typeof createPeopleSection>} PeopleSection */

const byName = new Intl.Collator();

/**
 * @param {{ id: string, title: string, testid: string, onOpen: (userId: string) => void, actions?: Node[] }} options
 *   `testid` is that of its people, `actions` stand beside the title
 */
export function createPeopleSection({ id, title, testid, onOpen, actions = [] }) {
  const count = el("span.section-count");
  const items = el("ul.person-list", { "aria-label": title });
  const head = el("header.section-head", {}, el("h3.section-title", {}, el("bdi", {}, title), " ", count), ...actions);
  const node = el("section.person-section", { "data-section": id, hidden: true }, head, items);
  const list = new SortedList(items, {
    create: (/** @type {Person} */ person) => createPersonItem(person, testid, onOpen),
    update: updatePersonItem,
    compare: (a, b) => rankOf(a.state) - rankOf(b.state) || byName.compare(a.name, b.name) || (a.userId < b.userId ? -1 : 1),
  });
  return {
    id,
    node,
    list,
    /** Shows how many there are; a section without anybody is not shown. */
    count() {
      node.hidden = list.size === 0;
      setText(count, String(list.size));
    },
  };
}

/** The button of a person in a section. @param {PeopleSection} section @param {string} userId */
export function buttonOf(section, userId) {
  return /** @type {HTMLElement | null | undefined} */ (section.list.nodeOf(userId)?.querySelector(".person-button"));
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
    note: undefined,
    picture: people.picture(userId, member),
  };
}
