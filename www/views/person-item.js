// A person in a list: avatar with the presence mark, name, status message, when last active, device.

import { avatar, pictureAvatar, renameAvatar } from "../lib/avatar.js";
import { el, fill } from "../lib/dom.js";
import { deviceIcon, labelOf, lastActive, presenceMark, setPresenceMark, stateLine } from "../lib/presence.js";

/**
 * @typedef {{
 *   userId: string, name: string, state: import("../lib/presence.js").PresenceState,
 *   presence: import("/pkg/index.js").Presence | undefined, membership: string, mine: boolean,
 *   note: string | undefined, picture: string | undefined,
 * }} Person
 */

/** @param {Person} person @param {string} testid @param {(userId: string) => void} onOpen */
export function createPersonItem(person, testid, onOpen) {
  const { userId } = person;
  return el(
    "li.person",
    { testid, "data-user-id": userId },
    el(
      "button.person-button",
      { type: "button", tabindex: "-1", onclick: () => onOpen(userId) },
      avatar(userId, person.name, "round", presenceMark(person.state)),
      el("span.person-text", {}, el("span.person-name", { dir: "auto" }), el("span.person-line", { dir: "auto" })),
      el("span.person-device"),
    ),
  );
}

/** @param {HTMLElement} node @param {Person} person */
export function updatePersonItem(node, person) {
  const { presence, state } = person;
  node.dataset.state = state;
  setPresenceMark(part(node, ".presence"), state);
  renameAvatar(part(node, ".avatar"), person.name);
  pictureAvatar(part(node, ".avatar"), person.picture);
  const name = part(node, ".person-name");
  fill(name, person.name, person.mine && el("span.tag", {}, "you"));
  name.title = person.userId;
  const when = lastActive(presence);
  const words = person.note ?? stateLine(state, presence?.statusMsg);
  const isSaid = words !== labelOf(state);
  fill(
    part(node, ".person-line"),
    isSaid && person.membership !== "invite" ? el("span.status-msg", { testid: "user-status", title: words }, words) : el("span", {}, words),
    when,
  );
  const device = part(node, ".person-device");
  const there = state !== "offline" && state !== "unknown" && state !== "hidden";
  const type = there ? presence?.deviceType ?? "" : "";
  if (device.dataset.type !== type) {
    device.dataset.type = type;
    fill(device, deviceIcon(type));
  }
}

/** @param {HTMLElement} node @param {string} selector */
function part(node, selector) {
  return /** @type {HTMLElement} */ (node.querySelector(selector));
}

