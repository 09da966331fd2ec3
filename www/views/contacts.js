// The people I can see: who asks to see me, my list in its groups, and those I share rooms with.

import { el, icon } from "../lib/dom.js";
import { SECTIONS, sectionOf } from "../lib/presence.js";
import { roving } from "../lib/roving.js";
import { createRequests } from "./contact-requests.js";
import { openAddContact, openInviteGroup } from "./contact-dialogs.js";
import { createDropTarget, markDraggable } from "./contact-drag.js";
import { buttonOf, createPeopleSection, personOf } from "./people-section.js";
import { myAddress } from "./my-address.js";
import { openPerson } from "./person-dialog.js";
import { openNewChat } from "./room-dialogs.js";

/** @typedef {import("./people-section.js").PeopleSection} PeopleSection */
/** @typedef {import("/pkg/index.js").Contact} Contact */

/** @param {import("./shell.js").Context} context */
export function createContacts(context) {
  const { client, people, contacts } = context;
  const requests = createRequests(context);
  const groups = el("div.contact-groups");
  const ungrouped = createContactSection(context, undefined);
  const sharing = SECTIONS.map(({ id, title }) => createPeopleSection({ id, title, testid: "contact-item", onOpen: (userId) => openPerson(context, userId) }));
  const sharingTitle = el("h2.part-title", { hidden: true }, "In your rooms");
  const empty = el(
    "div.empty",
    { testid: "no-people" },
    el("p", {}, "Nobody is here yet. Add somebody you know: they are asked whether you may see when they are there."),
    myAddress(context),
  );
  const add = button("person-add", "Add a person", "add-contact", () => openAddContact(context));
  const node = el(
    "div.sidebar-body",
    { testid: "contacts" },
    el("div.contacts-actions", {}, add, button("chat", "Start a chat", "new-chat", () => openNewChat(context))),
    requests.node,
    groups,
    ungrouped.node,
    requests.unseen,
    sharingTitle,
    ...sharing.map((section) => section.node),
    empty,
  );
  const refreshRoving = roving(node, ".person-button");
  /** @type {Map<string, PeopleSection>} */
  const groupSections = new Map();
  /** Which sections a person is in. @type {Map<string, PeopleSection[]>} */
  const places = new Map();

  /** @param {Contact | undefined} entry @param {import("./person-item.js").Person} person */
  function sectionsFor(entry, person) {
    if (!entry) return sharing.filter((section) => section.id === sectionOf(person.state));
    return entry.groups.length > 0 ? entry.groups.map(groupSection) : [ungrouped];
  }

  /** @param {string} group */
  function groupSection(group) {
    const known = groupSections.get(group);
    if (known) return known;
    const section = createContactSection(context, group);
    groupSections.set(group, section);
    const later = [...groupSections.keys()].filter((name) => name.localeCompare(group) > 0).sort((a, b) => a.localeCompare(b))[0];
    groups.insertBefore(section.node, later === undefined ? null : groupSections.get(later)?.node ?? null);
    return section;
  }

  /** @param {string} userId */
  function place(userId) {
    const entry = contacts.entry(userId);
    const person = { ...personOf(context, userId), note: noteOf(entry) };
    const known = entry !== undefined || client.presenceOf(userId) !== undefined;
    const wanted = known && userId !== people.myId ? sectionsFor(entry, person) : [];
    const old = places.get(userId) ?? [];
    const focused = old.some((section) => section.list.nodeOf(userId)?.contains(document.activeElement));
    for (const section of old) if (!wanted.includes(section)) section.list.delete(userId);
    for (const section of wanted) {
      section.list.upsert(userId, person);
      if (entry) markDraggable(section.list.nodeOf(userId), userId);
    }
    if (wanted.length > 0) places.set(userId, wanted);
    else places.delete(userId);
    if (focused && wanted.length > 0) buttonOf(wanted[0], userId)?.focus();
  }

  /** @param {Iterable<string>} userIds */
  function refresh(userIds) {
    for (const userId of userIds) place(userId);
    for (const [group, section] of groupSections) {
      section.count();
      if (section.list.size > 0) continue;
      section.node.remove();
      groupSections.delete(group);
    }
    for (const section of [ungrouped, ...sharing]) section.count();
    add.hidden = !contacts.supported;
    sharingTitle.hidden = contacts.entries().length === 0 || sharing.every((section) => section.list.size === 0);
    empty.hidden = places.size > 0 || contacts.accepted().length > 0;
    refreshRoving();
  }

  const stops = [
    client.on("presence", (changes) => refresh(changes.map((change) => change.userId))),
    contacts.subscribe((changed) => refresh(changed)),
    people.onSightChange(() => refresh([...places.keys()])),
    requests.dispose,
  ];
  refresh([...client.presences().map((presence) => presence.userId), ...contacts.entries().map((contact) => contact.userId)]);
  return {
    node,
    badge: requests.badge,
    dispose() {
      for (const stop of stops) stop();
    },
  };
}

/**
 * One group of my list, or those in none; people can be dropped on it.
 * @param {import("./shell.js").Context} context
 * @param {string | undefined} group
 */
function createContactSection(context, group) {
  const message = el(
    "button.icon-button.small",
    { type: "button", testid: "invite-group", "aria-label": `Start a room with ${group}`, title: "Start a room with this group", onclick: () => openInviteGroup(context, group ?? "") },
    icon("chat"),
  );
  const section = createPeopleSection({
    id: group === undefined ? "list" : `group-${group}`,
    title: group ?? "My list",
    testid: "contact-item",
    onOpen: (userId) => openPerson(context, userId),
    actions: group === undefined ? [] : [message],
  });
  section.node.dataset.group = group ?? "";
  createDropTarget(context, section.node, group);
  return section;
}

/** What an entry says beside the presence: an answer that is missing or was no. @param {Contact | undefined} entry */
function noteOf(entry) {
  switch (entry?.listed) {
    case "pending":
      return "Asked; has not answered yet";
    case "denied":
      return "Does not share their presence with you";
    case "accepted":
    case undefined:
      return undefined;
  }
}

/** @param {string} glyph @param {string} label @param {string} testid @param {() => void} onclick */
function button(glyph, label, testid, onclick) {
  return el("button.quiet", { type: "button", testid, onclick }, icon(glyph), label);
}
