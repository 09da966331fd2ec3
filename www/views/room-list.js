// The rooms I am in, latest first, and the invitations to answer.

import { avatar, pictureAvatar, recolourAvatar, renameAvatar, reshapeAvatar } from "../lib/avatar.js";
import { liveTime, setLiveTime } from "../lib/clock.js";
import { oneLine } from "../lib/describe.js";
import { el, icon, setText } from "../lib/dom.js";
import { ENTER_WORDS, enterRoom } from "../lib/enter.js";
import { serverOf } from "../lib/format.js";
import { presenceMark, setPresenceMark } from "../lib/presence.js";
import { Previews } from "../lib/previews.js";
import { asShown } from "../lib/rooms.js";
import { roving } from "../lib/roving.js";
import { routeHref } from "../lib/router.js";
import { SortedList } from "../lib/sorted-list.js";
import { orToast } from "../lib/toast.js";

/** @typedef {import("/pkg/index.js").Room} Room */

/** @param {import("./shell.js").Context} context */
export function createRoomList(context) {
  const { client, people } = context;
  /** @type {string | undefined} */
  let selected;
  const joined = el("ul.rooms", { testid: "room-list", "aria-label": "Rooms" });
  const invited = el("ul.invites", { testid: "invite-list", "aria-label": "Invitations" });
  const invitesTitle = el("h2.section-title", { hidden: true }, "Invitations");
  const empty = el(
    "p.empty",
    { hidden: true },
    "No chats yet. ",
    el("a", { href: routeHref({ pane: "contacts" }), testid: "to-people" }, "Find people"),
    ", create a room with +, or find one with the compass.",
  );
  const node = el("div.sidebar-body", {}, invitesTitle, invited, joined, empty);
  const refreshRoving = roving(joined, ".room-link");

  const list = new SortedList(joined, {
    create: (room) => createRoomItem(room),
    update: (item, room) => updateRoomItem(item, room),
    compare: (a, b) => b.lastTs - a.lastTs || (a.roomId < b.roomId ? -1 : 1),
  });
  const invites = new SortedList(invited, {
    create: (room) => createInvite(context, room),
    update: (item, room) => setText(part(item, ".invite-from"), inviteLine(room)),
    compare: (a, b) => b.lastTs - a.lastTs || (a.roomId < b.roomId ? -1 : 1),
  });
  const previews = new Previews(client, (roomId) => {
    const room = list.get(roomId);
    if (room) list.upsert(roomId, room);
  });

  /** @param {HTMLElement} item @param {Room} room */
  function updateRoomItem(item, room) {
    const link = part(item, ".room-link");
    const last = previews.of(room.roomId);
    const other = people.counterpart(room);
    setText(part(item, ".room-name"), room.name);
    setText(part(item, ".room-preview"), last ? `${speaker(last.sender, room)}${oneLine(last)}` : room.topic ?? "No messages yet");
    setLiveTime(part(item, ".room-time > time"), room.lastTs > 0 ? room.lastTs : undefined);
    renameAvatar(part(item, ".avatar"), room.name);
    pictureAvatar(part(item, ".avatar"), people.roomPicture(room));
    recolourAvatar(part(item, ".avatar"), other ?? room.roomId);
    reshapeAvatar(part(item, ".avatar"), room.isDirect ? "round" : "square");
    setMark(part(item, ".avatar"), other === undefined ? undefined : people.state(other));
    const badge = part(item, ".badge");
    badge.hidden = room.unread === 0;
    badge.classList.toggle("highlight", room.highlight > 0);
    setText(badge, room.unread > 99 ? "99+" : String(room.unread));
    badge.setAttribute("aria-label", `${room.unread} unread`);
    link.classList.toggle("unread", room.unread > 0);
    link.dataset.unread = String(room.unread);
    if (room.roomId === selected) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }

  /** @param {string} sender @param {Room} room */
  function speaker(sender, room) {
    if (sender === people.myId) return "You: ";
    return room.isDirect ? "" : `${people.name(sender, people.knownMember(room.roomId, sender))}: `;
  }

  /** @param {Room} room */
  function inviteLine({ roomId, inviter }) {
    if (!inviter) return "You are invited";
    const name = people.name(inviter, people.knownMember(roomId, inviter));
    // Elsewhere somebody else may be called so.
    return `Invited by ${name}${people.isNeighbour(inviter) || name === inviter ? "" : ` of ${serverOf(inviter)}`}`;
  }

  /** @param {readonly Room[]} changed @param {string[]} removed */
  function apply(changed, removed) {
    for (const roomId of removed) drop(roomId);
    for (const room of changed.map(asShown)) {
      if (room.membership === "join") {
        invites.delete(room.roomId);
        list.upsert(room.roomId, room);
      } else if (room.membership === "invite") {
        list.delete(room.roomId);
        invites.upsert(room.roomId, room);
      } else {
        drop(room.roomId);
      }
    }
    invitesTitle.hidden = invites.size === 0;
    empty.hidden = list.size > 0 || invites.size > 0 || client.connection !== "online";
    refreshRoving();
  }

  /** @param {string} roomId */
  function drop(roomId) {
    list.delete(roomId);
    invites.delete(roomId);
    previews.forget(roomId);
  }

  /** Presence shows on the avatars of direct chats, and names who spoke last elsewhere. @param {{ userId: string }[]} changes */
  function onPresence(changes) {
    const who = new Set(changes.map((change) => change.userId));
    for (const { key, value } of [...invites.entries]) if (value.inviter !== undefined && who.has(value.inviter)) invites.upsert(key, value);
    for (const { key, value } of [...list.entries]) {
      const shown = value.isDirect ? people.counterpart(value) : previews.of(key)?.sender;
      if (shown !== undefined && who.has(shown)) list.upsert(key, value);
    }
  }

  const stops = [
    client.on("rooms", apply),
    client.on("presence", onPresence),
    client.on("members", (roomId, changed) => {
      const room = list.get(roomId);
      const speaker = previews.of(roomId)?.sender;
      if (room && (room.isDirect || changed.some(({ userId }) => userId === speaker))) list.upsert(roomId, room);
    }),
    client.on("timeline", (roomId, ops) => {
      // Nobody may have asked for the room's people, and then a name that changes is told of here alone.
      const room = list.get(roomId);
      if (room && ops.some((op) => op.op === "append" && op.item.type === "m.room.member")) list.upsert(roomId, room);
    }),
    client.on("connection", () => apply([], [])),
    people.onSightChange(() => apply(list.entries.map(({ value }) => value), [])),
    previews.stop,
  ];
  apply(client.rooms(), []);

  return {
    node,
    /** @param {string | undefined} roomId */
    select(roomId) {
      const before = selected;
      selected = roomId;
      for (const id of [before, roomId]) {
        const room = id === undefined ? undefined : list.get(id);
        if (id !== undefined && room) list.upsert(id, room);
      }
      refreshRoving();
    },
    dispose() {
      for (const stop of stops) stop();
    },
  };
}

/** @param {Room} room */
function createRoomItem(room) {
  return el(
    "li",
    {},
    el(
      "a.room-link",
      { href: routeHref({ pane: "room", roomId: room.roomId }), testid: "room-item", "data-room-id": room.roomId, tabindex: "-1" },
      avatar(room.roomId, room.name, "square"),
      el("span.room-line", {}, el("span.room-name", { dir: "auto" }), el("span.room-time", {}, liveTime("list"))),
      el("span.room-line", {}, el("span.room-preview", { dir: "auto" }), el("span.badge", { testid: "unread", hidden: true })),
    ),
  );
}

/** @param {import("./shell.js").Context} context @param {Room} room */
function createInvite({ client }, room) {
  const { roomId } = room;
  const accept = el("button.primary.small", { type: "button", testid: "invite-accept" }, icon("check"), "Accept");
  const decline = el("button.quiet.small", { type: "button", testid: "invite-decline" }, "Decline");
  /** One answer at a time; a server elsewhere may take long. @param {HTMLButtonElement} button @param {string} busy @param {() => Promise<unknown>} act */
  const answer = (button, busy, act) => async () => {
    const words = [...button.childNodes];
    accept.disabled = decline.disabled = true;
    button.replaceChildren(busy);
    await orToast(act, ENTER_WORDS);
    button.replaceChildren(...words);
    accept.disabled = decline.disabled = false;
  };
  accept.addEventListener("click", answer(accept, "Joining…", () => enterRoom(client, { id: roomId, via: [] })));
  decline.addEventListener("click", answer(decline, "Declining…", () => client.leaveRoom(roomId)));
  return el(
    "li.invite",
    { testid: "invite-item", "data-room-id": roomId },
    avatar(room.isDirect && room.inviter ? room.inviter : roomId, room.name, room.isDirect ? "round" : "square"),
    el("span.invite-text", {}, el("strong", { dir: "auto" }, room.name), el("span.muted.invite-from", { dir: "auto", title: room.inviter })),
    el("span.invite-actions", {}, accept, decline),
  );
}

/** @param {HTMLElement} avatarNode @param {import("/pkg/index.js").PresenceState | undefined} state */
function setMark(avatarNode, state) {
  const mark = /** @type {HTMLElement | null} */ (avatarNode.querySelector(".presence"));
  if (state === undefined) mark?.remove();
  else if (mark) setPresenceMark(mark, state);
  else avatarNode.append(presenceMark(state));
}

/** @param {HTMLElement} node @param {string} selector */
function part(node, selector) {
  return /** @type {HTMLElement} */ (node.querySelector(selector));
}
