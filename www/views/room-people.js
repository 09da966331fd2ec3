// The people of a room with their live presence, those who are there first.

import { el, iconButton } from "../lib/dom.js";
import { roving } from "../lib/roving.js";
import { SECTIONS, sectionOf } from "../lib/presence.js";
import { navigate } from "../lib/router.js";
import { buttonOf, createPeopleSection, personOf } from "./people-section.js";
import { openPerson } from "./person-dialog.js";
import { openInvite } from "./room-dialogs.js";

/** @typedef {import("./person-item.js").Person} Person */

/**
 * @param {import("./shell.js").Context} context
 * @param {string} roomId
 */
export function createRoomPeople(context, roomId) {
  const { client, people } = context;
  /** @param {string} id @param {string} title */
  const section = (id, title) =>
    createPeopleSection({ id, title, testid: "user-item", onOpen: (userId) => openPerson(context, userId, roomId) });
  const sections = SECTIONS.map(({ id, title }) => section(id, title));
  const invited = section("invited", "Invited");
  const all = [...sections, invited];
  const body = el("div.people-body", { testid: "user-list" }, ...all.map((section) => section.node));
  const refreshRoving = roving(body, ".person-button");
  /** Which section a person is in. @type {Map<string, import("./people-section.js").PeopleSection>} */
  const places = new Map();

  /** @param {string} userId */
  function place(userId) {
    const member = people.member(roomId, userId);
    const person = member && personOf(context, userId, member);
    if (person?.membership === "invite") showInvited(person);
    const target = person && sectionFor(person);
    const old = places.get(userId);
    const focused = old?.list.nodeOf(userId)?.contains(document.activeElement) ?? false;
    if (old && old !== target) old.list.delete(userId);
    if (person && target) {
      target.list.upsert(userId, person);
      places.set(userId, target);
      if (focused) buttonOf(target, userId)?.focus();
    } else {
      places.delete(userId);
    }
  }

  /** Who is not in yet is not told of by the room: silence does not say that they are away. @param {Person} person */
  function showInvited(person) {
    if (!person.presence) person.state = "unknown";
    person.note = "Invited";
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
    people.onSightChange(() => refresh([...places.keys()])),
  ];

  const back = iconButton("back", "Back to the conversation", { class: "back", testid: "people-back", onclick: () => navigate({ pane: "room", roomId }) });

  return {
    node: el(
      "aside.people",
      { "aria-label": "People in this room" },
      el(
        "header.people-head",
        {},
        back,
        el("h2", {}, "People"),
        iconButton("person-add", "Invite people", { testid: "people-invite", onclick: () => openInvite(context, roomId) }),
      ),
      body,
    ),
    focus() {
      back.focus();
    },
    dispose() {
      for (const stop of stops) stop();
    },
  };
}
