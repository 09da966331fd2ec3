// Dialogs about rooms: create, join or find, invite, leave.

import { avatar } from "../lib/avatar.js";
import { el, fill, icon } from "../lib/dom.js";
import { ENTER_WORDS, enterRoom } from "../lib/enter.js";
import { aboutUser, errorText } from "../lib/errors.js";
import { counted } from "../lib/format.js";
import { addressOf, matrixLink, typedRoom } from "../lib/links.js";
import { plainName } from "../lib/names.js";
import { OUT_OF_REACH } from "../lib/reach.js";
import { roving } from "../lib/roving.js";
import { navigate } from "../lib/router.js";
import { field, openForm, toggle } from "./dialog.js";

/** @typedef {import("./shell.js").Context} Context */
/** @typedef {import("../lib/links.js").MatrixLink} MatrixLink */

const SEARCH_DELAY_MS = 250;

/** @param {Context} context */
export function openCreateRoom({ client, people }) {
  const server = people.myId.slice(people.myId.indexOf(":") + 1);
  openForm({
    title: "Create a room",
    testid: "create-room",
    submitLabel: "Create room",
    fields: [
      field("Name", { name: "name", testid: "create-room-name", required: true, maxlength: "255", placeholder: "Lunch plans" }),
      field("Topic", { name: "topic", testid: "create-room-topic", placeholder: "Optional" }),
      field("Invite", {
        name: "invite", testid: "create-room-invite", placeholder: `@ada:${server}, ben`, spellcheck: "false", autocapitalize: "none",
        hint: "User IDs, or names on this server, with commas or spaces between them.",
      }),
      toggle("Public room", { name: "public", testid: "create-room-public", hint: "Anybody can find and join it." }),
      field("Address", {
        name: "alias", testid: "create-room-alias", placeholder: "lunch", pattern: "[^\\s:#]+", spellcheck: "false",
        autocapitalize: "none", hint: `Optional: others join it as #lunch:${server}.`,
      }),
    ],
    words: { M_NOT_FOUND: "Somebody whom you invite could not be found." },
    submit: async (values) => {
      const roomId = await client.createRoom({
        name: text(values, "name"),
        topic: text(values, "topic"),
        public: values.has("public"),
        alias: text(values, "alias"),
        invite: parseUserIds(text(values, "invite") ?? "", server),
      });
      navigate({ pane: "room", roomId });
    },
  });
}

/**
 * @param {Context} context
 * @param {MatrixLink} [given] the room of a link that was followed
 */
export function openJoinRoom({ client, people, open }, given) {
  const server = people.myId.slice(people.myId.indexOf(":") + 1);
  const results = el("ul.directory", { testid: "directory", "aria-label": "Public rooms", "aria-busy": "true" });
  const refreshRoving = roving(results, "button");
  const address = given && (given.id.startsWith("#") && !given.eventId && given.via.length === 0 ? given.id : addressOf(given));
  /** @param {MatrixLink} link */
  const follow = async (link) => (link.id.startsWith("@") ? open(link) : enterRoom(client, link));

  const dialog = openForm({
    title: "Join a room",
    testid: "join-room",
    submitLabel: "Join",
    busyLabel: "Joining…",
    fields: [
      field("Address or link, or words to search for", {
        name: "address", testid: "join-room-address", required: true, value: address ?? "", placeholder: `#lunch:${server}`, spellcheck: "false",
        autocapitalize: "none",
      }),
      results,
    ],
    submit: async (values) => follow(typedRoom(text(values, "address") ?? "", server)),
    words: ENTER_WORDS,
  });

  const input = /** @type {HTMLInputElement} */ (dialog.querySelector("input"));
  let asked = 0;
  const search = async () => {
    asked += 1;
    const mine = asked;
    const typed = input.value.trim();
    const term = /^[#!@]/.test(typed) || matrixLink(typed) ? "" : typed;
    try {
      const rooms = await client.publicRooms(term);
      if (mine !== asked) return;
      const items = rooms.map((room) => directoryItem(room, async () => {
        input.value = room.alias ?? room.roomId;
        /** @type {HTMLFormElement} */ (input.form).requestSubmit();
      }));
      fill(results, items.length > 0 ? items : el("li.empty", {}, term ? "No public room matches." : "There are no public rooms yet."));
      refreshRoving();
    } catch (error) {
      if (mine === asked) fill(results, el("li.empty", {}, errorText(error)));
    } finally {
      results.setAttribute("aria-busy", "false");
    }
  };
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, SEARCH_DELAY_MS);
  });
  void search();
}

/**
 * @param {{ roomId: string, name?: string, alias?: string, topic?: string, members: number }} room
 * @param {() => void} onclick
 */
function directoryItem(room, onclick) {
  const name = plainName(room.name ?? room.alias ?? room.roomId);
  return el(
    "li",
    {},
    el(
      "button.directory-room",
      { type: "button", tabindex: "-1", testid: "directory-item", "data-room-id": room.roomId, onclick },
      avatar(room.roomId, name, "square"),
      el("span.directory-text", {}, el("strong", { dir: "auto" }, name), el("span.muted", { dir: "auto" }, room.topic || room.alias || "")),
      el("span.muted.directory-count", {}, icon("people"), counted(room.members, "person", "people")),
    ),
  );
}

/** Begins a conversation with one person, in the room there is already or a new one. @param {Context} context */
export function openNewChat(context) {
  const server = context.people.myId.slice(context.people.myId.indexOf(":") + 1);
  openForm({
    title: "Start a chat",
    testid: "new-chat",
    submitLabel: "Start chat",
    fields: [
      field("Who", {
        name: "user", testid: "new-chat-user", required: true, placeholder: `@ada:${server}`, spellcheck: "false", autocapitalize: "none",
        hint: "A user ID, a name on this server, or a link.",
      }),
    ],
    submit: async (values) => {
      const typed = text(values, "user") ?? "";
      const link = /^[#!]/.test(typed) ? typedRoom(typed, server) : matrixLink(typed);
      if (link && !link.id.startsWith("@")) context.open(link);
      else await openChatWith(context, parseUserIds(typed, server)[0]);
    },
  });
}

/** @param {Context} context @param {string} userId */
export async function openChatWith({ client, people, rooms, reach }, userId) {
  const known = rooms.joined().find((room) => people.counterpart(room) === userId);
  if (!known && !reach.has(userId)) throw new Error(OUT_OF_REACH);
  const made = known ?? { roomId: await client.createRoom({ direct: true, invite: [userId] }).catch((error) => Promise.reject(aboutUser(userId, error))) };
  navigate({ pane: "room", roomId: made.roomId });
}

/** @param {Context} context @param {string} roomId */
export function openInvite({ client, people }, roomId) {
  const server = people.myId.slice(people.myId.indexOf(":") + 1);
  openForm({
    title: "Invite people",
    testid: "invite",
    submitLabel: "Invite",
    fields: [
      field("Who", {
        name: "users", testid: "invite-users", required: true, placeholder: `@ada:${server}, ben`, spellcheck: "false",
        autocapitalize: "none", hint: "User IDs, or names on this server, with commas or spaces between them.",
      }),
    ],
    submit: async (values) => {
      for (const userId of parseUserIds(text(values, "users") ?? "", server)) {
        await client.invite(roomId, userId).catch((error) => Promise.reject(aboutUser(userId, error)));
      }
    },
  });
}

/** @param {Context} context @param {import("/pkg/index.js").Room} room */
export function openLeaveRoom({ client }, room) {
  openForm({
    title: `Leave ${room.name}?`,
    testid: "leave-room",
    submitLabel: "Leave room",
    danger: true,
    fields: [el("p", {}, room.alias ? `You can come back through ${room.alias}.` : "You may need an invitation to come back.")],
    submit: () => client.leaveRoom(room.roomId),
  });
}

/** @param {FormData} values @param {string} name */
function text(values, name) {
  return String(values.get(name) ?? "").trim() || undefined;
}

/**
 * @param {string} typed
 * @param {string} server where names without one live
 * @throws {Error} naming what is no user ID
 */
export function parseUserIds(typed, server) {
  return typed.split(/[\s,;]+/).filter(Boolean).map((word) => {
    const named = matrixLink(word)?.id ?? word;
    const id = named.startsWith("@") ? named : `@${named}`;
    const full = id.includes(":") ? id : `${id}:${server}`;
    if (!/^@[^\s:@#!]+:[^\s@]+$/.test(full)) throw new Error(`“${word}” is not a user ID; they look like @ada:${server}.`);
    return full;
  });
}
