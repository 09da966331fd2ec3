// How presence states are named, ordered and drawn.

import { el, icon } from "./dom.js";
import { liveTime } from "./clock.js";
import { plainName } from "./names.js";

/** @typedef {import("/pkg/index.js").PresenceState} PresenceState */
/** @typedef {import("/pkg/index.js").Presence} Presence */

/** @type {Record<PresenceState, { label: string, hint: string, rank: number, section: Section }>} */
const STATES = {
  free_for_chat: { label: "Free for chat", hint: "Glad to be talked to", rank: 0, section: "online" },
  online: { label: "Online", hint: "Away by itself when you are idle", rank: 1, section: "online" },
  busy: { label: "Busy", hint: "Please do not disturb; notifications are quiet", rank: 2, section: "online" },
  unavailable: { label: "Away", hint: "Not at the keyboard", rank: 3, section: "away" },
  offline: { label: "Offline", hint: "Seen as offline; this page goes on working", rank: 4, section: "offline" },
  hidden: { label: "Hidden", hint: "Others see you offline; you see them and can talk", rank: 5, section: "offline" },
  unknown: { label: "Unknown", hint: "Nobody tells whether they are there", rank: 6, section: "unknown" },
};

/** @typedef {"online" | "away" | "offline" | "unknown"} Section */

/** The states that a user can choose, in the order of the menu. @type {Exclude<PresenceState, "unknown">[]} */
export const CHOICES = ["free_for_chat", "online", "busy", "unavailable", "hidden"];

/** @type {{ id: Section, title: string }[]} */
export const SECTIONS = [
  { id: "online", title: "Online" },
  { id: "away", title: "Away" },
  { id: "offline", title: "Offline" },
  { id: "unknown", title: "Not known" },
];

/** @param {PresenceState} state */
export const labelOf = (state) => STATES[state].label;

/** @param {PresenceState} state */
export const hintOf = (state) => STATES[state].hint;

/** @param {PresenceState} state */
export const rankOf = (state) => STATES[state].rank;

/** @param {PresenceState} state */
export const sectionOf = (state) => STATES[state].section;

/** The mark of a state: a shape of its own in a colour of its own. @param {PresenceState} state */
export function presenceMark(state) {
  const node = el("span.presence");
  setPresenceMark(node, state);
  return node;
}

/** @param {HTMLElement} node @param {PresenceState} state */
export function setPresenceMark(node, state) {
  if (node.dataset.state === state) return;
  node.dataset.state = state;
  node.replaceChildren(icon(`presence-${state}`, labelOf(state)));
}

/** A state and the person's own words: `Busy · in a call`. @param {PresenceState} state @param {string | undefined} words */
export function stateLine(state, words) {
  return words ? `${labelOf(state)} · ${plainName(words)}` : labelOf(state);
}

/**
 * How long a person has been idle, or when they were last there, with what parts it from the words before; nothing where the state says it already.
 * @param {Presence | undefined} presence
 */
export function lastActive(presence) {
  if (presence?.idleSince !== undefined) return liveTime("for", presence.idleSince, " · idle ");
  if (!presence || presence.lastActiveAt === undefined) return null;
  switch (presence.state) {
    case "unavailable":
      return liveTime("ago", presence.lastActiveAt, " · active ");
    case "offline":
      return liveTime("ago", presence.lastActiveAt, " · seen ");
    case "free_for_chat":
    case "online":
    case "busy":
      return presence.currentlyActive ? null : liveTime("while", presence.lastActiveAt, " · active ");
    case "hidden":
    case "unknown":
      return null;
  }
}

/** @type {Record<string, [icon: string, label: string]>} */
const DEVICES = {
  web: ["device-web", "in a browser"],
  desktop: ["device-desktop", "on a computer"],
  mobile: ["device-mobile", "on a phone"],
  bot: ["device-bot", "a bot"],
};

/** The icon of a device type; a word of its own gets a general one. @param {string | undefined} type */
export function deviceIcon(type) {
  if (!type) return null;
  const [name, label] = Object.hasOwn(DEVICES, type) ? DEVICES[type] : ["device-other", `on ${type}`];
  const node = icon(name, label);
  node.classList.add("device");
  return node;
}
