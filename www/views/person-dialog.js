// A person up close: presence in words, and what can be done together.

import { avatar, pictureAvatar } from "../lib/avatar.js";
import { el, fill, icon } from "../lib/dom.js";
import { deviceIcon, labelOf, lastActive, presenceMark } from "../lib/presence.js";
import { OUT_OF_REACH } from "../lib/reach.js";
import { orToast } from "../lib/toast.js";
import { openGroups } from "./contact-dialogs.js";
import { confirm, openDialog } from "./dialog.js";
import { openProfile } from "./my-dialogs.js";
import { openChatWith } from "./room-dialogs.js";

/**
 * @param {import("./shell.js").Context} context
 * @param {string} userId
 * @param {string} [roomId] where the person was met, for what can be done there
 */
export function openPerson(context, userId, roomId) {
  const { client, people } = context;
  const member = roomId === undefined ? undefined : people.member(roomId, userId);
  const name = people.name(userId, member);
  const status = el("div.card-presence");
  const picture = avatar(userId, name, "round");
  pictureAvatar(picture, people.picture(userId, member));
  const update = () => showPresence(status, people.presence(userId), people.state(userId));
  const dialog = openDialog(
    { title: name, testid: "person-dialog" },
    el(
      "div.dialog-body.card",
      {},
      picture,
      el("code.card-id", {}, userId),
      status,
      el("div.card-actions", {}, ...actions(context, userId, roomId, () => dialog.close())),
    ),
  );
  const stop = client.on("presence", (changes) => changes.some((change) => change.userId === userId) && update());
  dialog.addEventListener("close", stop);
  update();
}

/** @param {HTMLElement} node @param {import("/pkg/index.js").Presence | undefined} presence @param {import("../lib/presence.js").PresenceState} state */
function showPresence(node, presence, state) {
  fill(
    node,
    el("p", {}, presenceMark(state), " ", labelOf(state), lastActive(presence), deviceIcon(presence?.deviceType)),
    presence?.statusMsg && el("p.card-status", { dir: "auto" }, presence.statusMsg),
  );
}

/**
 * @param {import("./shell.js").Context} context
 * @param {string} userId
 * @param {string | undefined} roomId
 * @param {() => void} close
 */
function actions(context, userId, roomId, close) {
  const { client, people, contacts, reach } = context;
  if (userId === people.myId) {
    return [action("pencil", "Edit profile", "edit-profile", () => (close(), openProfile(context)))];
  }
  const message = async () => {
    await openChatWith(context, userId);
    close();
  };
  const mine = roomId === undefined ? 0 : people.member(roomId, people.myId)?.powerLevel ?? 0;
  const theirs = roomId === undefined ? 0 : people.member(roomId, userId)?.powerLevel ?? 0;
  const remove = () => confirm({
    title: `Remove ${people.name(userId)} from the room?`, testid: "kick", submitLabel: "Remove", text: "They may need an invitation to come back.",
    act: async () => (await client.kick(/** @type {string} */ (roomId), userId), close()),
  });
  const listed = contacts.entry(userId) !== undefined;
  const name = people.name(userId);
  const add = () => orToast(async () => (await client.addContact(userId), close()));
  const drop = () => confirm({
    title: `Take ${name} off your list?`, testid: "remove-contact", submitLabel: "Take off", text: "You no longer see when they are there, but for rooms that you share. They are asked again if you change your mind.",
    act: async () => (await client.dropContact(userId), close()),
  });
  return [
    reach.has(userId)
      ? action("chat", "Message", "message-person", () => orToast(message), "primary")
      : el("p.hint", { testid: "out-of-reach" }, OUT_OF_REACH),
    contacts.supported
      ? action("person-add", listed ? "Take off my list" : "Add to my list", listed ? "remove-contact" : "add-to-list", listed ? drop : add)
      : null,
    listed ? action("people", "Groups", "edit-groups", () => (close(), openGroups(context, userId))) : null,
    contacts.accepted().includes(userId)
      ? action("shield", "Hide my presence from them", "revoke-person", () => orToast(async () => (await client.answerRequest(userId, "revoke"), close())))
      : null,
    roomId !== undefined && mine >= 50 && mine > theirs
      ? action("leave", "Remove from room", "kick", remove, "danger")
      : null,
  ];
}

/** @param {string} glyph @param {string} label @param {string} testid @param {() => void} onclick @param {string} [kind] */
function action(glyph, label, testid, onclick, kind = "quiet") {
  return el("button", { class: kind, type: "button", testid, onclick }, icon(glyph), label);
}
