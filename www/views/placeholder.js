// What the room's place shows while there is no room to show.

import { el, icon } from "../lib/dom.js";
import { ENTER_WORDS, enterRoom } from "../lib/enter.js";
import { nameList } from "../lib/format.js";
import { orToast } from "../lib/toast.js";
import { openAddContact } from "./contact-dialogs.js";
import { myAddress } from "./my-address.js";
import { openCreateRoom, openJoinRoom, openNewChat } from "./room-dialogs.js";

/**
 * @param {import("./shell.js").Context} context
 * @param {string | undefined} wanted the room of the address, which I am not in
 */
export function createPlaceholder(context, wanted) {
  const { client, rooms } = context;
  const waiting = client.connection === "connecting" || client.connection === "stopped";
  if (waiting && rooms.joined().length === 0) return placeholder("Lighting up…", "");
  if (wanted !== undefined) {
    const join = () => orToast(() => enterRoom(client, { id: wanted, via: [] }, "replace"), ENTER_WORDS);
    const button = el("button.primary", { type: "button", testid: "join-wanted", onclick: join }, "Join this room");
    return placeholder("You are not in this room", wanted, button);
  }
  if (rooms.joined().length > 0) return placeholder("Pick a conversation", "Choose a room on the left.");
  const first = context.contacts.supported
    ? el("button.primary", { type: "button", testid: "first-person", onclick: () => openAddContact(context) }, icon("person-add"), "Add a person")
    : el("button.primary", { type: "button", testid: "first-person", onclick: () => openNewChat(context) }, icon("chat"), "Start a chat");
  const asked = context.contacts.entries().filter((entry) => entry.listed === "pending").map((entry) => context.people.name(entry.userId));
  const shown = placeholder(
    "Your light is on",
    asked.length > 0
      ? `${nameList(asked)} ${asked.length === 1 ? "has" : "have"} been asked. You see when they are there once they accept.`
      : "Presence is for people: add somebody you know, or tell them your address.",
    first,
    el("button.quiet", { type: "button", onclick: () => openJoinRoom(context) }, icon("compass"), "Find a room"),
    el("button.quiet", { type: "button", onclick: () => openCreateRoom(context) }, icon("plus"), "Create a room"),
  );
  shown.append(myAddress(context));
  return shown;
}

/** @param {string} title @param {string} text @param {...Node} actions */
function placeholder(title, text, ...actions) {
  return el(
    "div.welcome",
    { testid: "welcome" },
    icon("flame"),
    el("h1", {}, title),
    el("p", {}, text),
    el("div.welcome-actions", {}, ...actions),
  );
}
