// Events in words: what a state event did, and a message on one line.

import { attachmentOf } from "./attachments.js";
import { callLine } from "./call-words.js";
import { localpart, nameList } from "./format.js";
import { plainText } from "./formatted.js";
import { inSentence, plainName, shortFileName } from "./names.js";

/** @typedef {import("/pkg/index.js").TimelineItem} TimelineItem */
/** @typedef {(userId: string) => string} NameOf */

/** Whether an event has a line in the timeline. An edit has none: it is shown in what it edits. @param {TimelineItem} item */
export function isShown(item) {
  return isMessage(item) ? item.edits === undefined : stateLine(item, localpart) !== undefined;
}

/** @param {TimelineItem} item */
export function isMessage(item) {
  return item.type === "m.room.message" || item.type === "m.room.encrypted";
}

/** The most characters of a file's name on one line. */
const FILE_NAME = 24;

/** A message on one line, for previews. @param {TimelineItem} item */
export function oneLine(item) {
  const body = plainText(item.content);
  switch (item.content?.msgtype) {
    case "m.image":
      return "Image";
    case "m.video":
      return "Video";
    case "m.audio":
      return "Audio";
    case "m.file":
      return `File: ${shortFileName(attachmentOf(item.content)?.name ?? "", FILE_NAME)}`;
    default:
      return item.type === "m.room.encrypted" ? "Encrypted message" : plainName(body.slice(0, 160));
  }
}

/**
 * What a state event did, in one sentence; nothing for events that concern no reader.
 * @param {TimelineItem} item
 * @param {NameOf} nameOf
 * @param {{ me?: string, calls?: Map<string, import("./call-words.js").Outcome> }} [known] who I am, and what became of calls
 * @returns {string | undefined}
 */
export function stateLine(item, nameOf, { me, calls } = {}) {
  const sender = inSentence(nameOf(item.sender));
  const content = item.content ?? {};
  switch (item.type) {
    case "m.room.create":
      return `${sender} created the room`;
    case "m.room.name":
      return content.name ? `${sender} named the room “${inSentence(String(content.name))}”` : `${sender} removed the room’s name`;
    case "m.room.topic":
      return content.topic ? `${sender} set the topic: ${plainName(String(content.topic))}` : `${sender} removed the topic`;
    case "m.room.avatar":
      return `${sender} changed the room’s picture`;
    case "m.room.encryption":
      return `${sender} turned on encryption, which this client cannot read`;
    case "m.room.tombstone":
      return "This room was replaced by another one";
    case "m.call.invite":
      return callLine(item, sender, item.sender === me, calls?.get(content.call_id));
    case "m.room.member":
      return memberLine(item, sender, nameOf);
    default:
      return undefined;
  }
}

/** @param {TimelineItem} item @param {string} sender @param {NameOf} nameOf */
function memberLine(item, sender, nameOf) {
  const { membership, displayname, reason } = item.content ?? {};
  const before = item.prevContent ?? {};
  const target = item.stateKey ?? "";
  const name = called(displayname) ?? inSentence(nameOf(target));
  const nameBefore = called(before.displayname) ?? name;
  const own = item.sender === target;
  const because = typeof reason === "string" && reason !== "" ? `: ${plainName(reason)}` : "";
  switch (membership) {
    case "join":
      if (before.membership === "join") return profileLine(before, item.content, target);
      return before.membership === "invite" ? `${name} accepted the invitation` : `${name} joined`;
    case "invite":
      return `${sender} invited ${name}`;
    case "leave":
      if (own) return before.membership === "invite" ? `${nameBefore} declined the invitation` : `${nameBefore} left`;
      if (before.membership === "ban") return `${sender} lifted the ban on ${name}`;
      return before.membership === "invite" ? `${sender} took back the invitation of ${name}` : `${sender} removed ${nameBefore}${because}`;
    case "ban":
      return `${sender} banned ${nameBefore}${because}`;
    case "knock":
      return `${name} asks to join`;
    default:
      return undefined;
  }
}

/** Whether an event is about who comes and goes. @param {TimelineItem} item */
export function isComing(item) {
  return item.type === "m.room.member";
}

/**
 * What several comings and goings did, in one line: `Ada, Ben and 3 others joined · Cy left`.
 * @param {TimelineItem[]} items
 * @param {NameOf} nameOf
 */
export function comingsLine(items, nameOf) {
  /** @type {Map<string, Set<string>>} */
  const names = new Map();
  for (const item of items) {
    const [target, { membership, displayname }] = [item.stateKey ?? "", item.content ?? {}];
    const before = item.prevContent ?? {};
    const name = called(membership === "leave" ? before.displayname : displayname) ?? inSentence(nameOf(target));
    const did = deed(membership, before.membership, item.sender === target);
    names.set(did, (names.get(did) ?? new Set()).add(name));
  }
  return [...names].map(([did, who]) => `${nameList([...who])} ${did.replace("was ", who.size > 1 ? "were " : "was ")}`).join(" · ");
}

/** @param {string} membership @param {string | undefined} before @param {boolean} own */
function deed(membership, before, own) {
  switch (membership) {
    case "join":
      return before === "join" ? "changed name or picture" : "joined";
    case "invite":
      return "was invited";
    case "knock":
      return "asked to join";
    case "ban":
      return "was banned";
    default:
      if (own) return before === "invite" ? "declined" : "left";
      return before === "ban" ? "was let in again" : "was removed";
  }
}

/** @param {any} before @param {any} after @param {string} userId */
function profileLine(before, after, userId) {
  const old = called(before.displayname) ?? localpart(userId);
  if (before.displayname === after.displayname) {
    return before.avatar_url === after.avatar_url ? undefined : `${old} changed their picture`;
  }
  const name = called(after.displayname);
  return name ? `${old} is now ${name}` : `${old} removed their name`;
}

/** What an event calls somebody, if anything. @param {unknown} name */
function called(name) {
  return typeof name === "string" && plainName(name) !== "" ? inSentence(name) : undefined;
}
