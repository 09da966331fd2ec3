// One room: its head, what is said, who types, the composer, and its people.

import { avatar, pictureAvatar, recolourAvatar, renameAvatar, reshapeAvatar } from "../lib/avatar.js";
import { el, fill, hiddenText, icon, iconButton, setText } from "../lib/dom.js";
import { counted, nameList } from "../lib/format.js";
import { lastActive, presenceMark, setPresenceMark, stateLine } from "../lib/presence.js";
import { navigate, routeHref } from "../lib/router.js";
import { createComposer } from "./composer.js";
import { acceptDrops } from "./drops.js";
import { openInvite, openLeaveRoom } from "./room-dialogs.js";
import { createRoomPeople } from "./room-people.js";
import { openRoomSettings } from "./room-settings.js";
import { openSearch } from "./search.js";
import { Talk } from "./talk.js";
import { Timeline } from "./timeline.js";
import { createUploads } from "./uploads.js";

/** @typedef {import("/pkg/index.js").Room} Room */

const PEOPLE_SHOWN = "pilotlight.people";
const sideBySide = matchMedia("(min-width: 1080px)");

/**
 * @param {import("./shell.js").Context} context
 * @param {string} roomId
 * @param {{ onPlace: (eventId: string | undefined) => void }} options told where in the room's past one is, or that one is not
 */
export function createRoomView(context, roomId, { onPlace }) {
  const { client } = context;
  const talk = new Talk(context, roomId);
  const timeline = new Timeline(talk, (eventId) => node.dataset.pane === "room" && onPlace(eventId));
  const composer = createComposer(talk, { onSent: () => timeline.toBottom(), lastOwn: () => timeline.rows.findLast((item) => talk.canEdit(item) && !item.pending) });
  const everybody = createRoomPeople(context, roomId);
  const typing = createTypingLine(context, roomId);
  const head = createHead(context, roomId, { onPeople: togglePeople });
  const uploads = createUploads(context, roomId, { onReturn: (note) => composer.takeBack(note) });
  const conversation = el("section.conversation", { "aria-label": "Conversation" }, head.node, timeline.node, typing.node, ...uploads.nodes, composer.node);
  acceptDrops(conversation, composer.attach);
  const node = el(
    "div.room-view",
    { "data-room-id": roomId },
    conversation,
    everybody.node,
  );
  node.classList.toggle("without-people", localStorage.getItem(PEOPLE_SHOWN) === "no");

  /** Beside the conversation where there is space, else a pane of its own with its own place in the history. */
  function togglePeople() {
    if (!sideBySide.matches) {
      navigate({ pane: node.dataset.pane === "people" ? "room" : "people", roomId });
      return;
    }
    const hide = node.classList.toggle("without-people");
    localStorage.setItem(PEOPLE_SHOWN, hide ? "no" : "yes");
  }

  let isLeavingPeople = false;
  everybody.node.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented) return;
    event.preventDefault();
    isLeavingPeople = true;
    togglePeople();
    // Where the pane had a place of its own in the history, the conversation comes with the next one.
    if (sideBySide.matches) head.focusPeople();
  });

  const update = () => {
    const known = context.rooms.get(roomId);
    if (known) head.update(known);
  };
  const stops = [
    client.on("rooms", (changed) => changed.some((one) => one.roomId === roomId) && update()),
    client.on("members", (changedRoom) => changedRoom === roomId && update()),
    client.on("presence", update),
  ];
  update();

  return {
    roomId,
    node,
    /** @param {import("../lib/router.js").Route["pane"]} pane */
    setPane(pane) {
      node.dataset.pane = pane;
      if (pane === "room" && isLeavingPeople) head.focusPeople();
      else if (pane === "room") composer.focusWhereKeyboardIsCheap();
      isLeavingPeople = false;
      // The pane takes the place of what had the focus.
      if (pane === "people" && !sideBySide.matches) everybody.focus();
    },
    /** @param {string} eventId */
    jump(eventId) {
      void timeline.jump(eventId);
    },
    dispose() {
      for (const stop of stops) stop();
      timeline.dispose();
      composer.dispose();
      uploads.dispose();
      everybody.dispose();
      typing.dispose();
    },
  };
}

/**
 * @param {import("./shell.js").Context} context
 * @param {string} roomId
 * @param {{ onPeople: () => void }} options
 */
function createHead(context, roomId, { onPeople }) {
  const { client, people } = context;
  const name = el("h1.head-name", { testid: "room-name", dir: "auto" });
  const line = el("p.head-line", { testid: "room-topic", dir: "auto" });
  const count = el("span.head-count");
  const picture = avatar(roomId, "?", "square");
  const mark = presenceMark("unknown");
  /** @type {Room | undefined} */
  let shown;
  /** @param {(room: Room) => void} open */
  const withRoom = (open) => () => shown && open(shown);
  const item = (/** @type {string} */ glyph, /** @type {string} */ label, /** @type {string} */ testid, /** @type {() => void} */ onclick) =>
    el("button.menu-item", { type: "button", testid, onclick }, icon(glyph), label);
  const peopleToggle = el(
    "button.icon-button.with-count",
    { type: "button", title: "People in this room", testid: "people-toggle", onclick: onPeople },
    icon("people"),
    hiddenText("People in this room:"),
    count,
  );
  const call = (/** @type {boolean} */ video) => () => void context.phone.call(roomId, video);
  const calls = el(
    "div.head-calls",
    { hidden: true },
    iconButton("phone", "Call", { testid: "call-voice", onclick: call(false) }),
    iconButton("camera", "Video call", { testid: "call-video", onclick: call(true) }),
  );
  const menu = el(
    "div.menu.room-menu",
    { id: "room-menu", popover: "auto", testid: "room-menu" },
    item("person-add", "Invite people", "invite", () => openInvite(context, roomId)),
    item("search", "Search messages", "room-menu-search", () => openSearch(context, roomId)),
    item("settings", "About this room", "room-about", withRoom((room) => openRoomSettings(context, room))),
    item("leave", "Leave room", "leave-room", withRoom((room) => openLeaveRoom(context, room))),
  );
  menu.addEventListener("click", () => menu.hidePopover());

  return {
    node: el(
      "header.room-head",
      {},
      el("a.icon-button.back", { href: routeHref({ pane: "rooms" }), "aria-label": "Back to rooms", testid: "back" }, icon("back")),
      picture,
      el("div.head-text", {}, name, line),
      calls,
      iconButton("search", "Search messages", { class: "head-search", testid: "room-search", "aria-keyshortcuts": "Control+Shift+F", onclick: () => openSearch(context, roomId) }),
      peopleToggle,
      iconButton("more", "Room menu", { testid: "room-menu-toggle", popovertarget: "room-menu" }),
      menu,
    ),
    focusPeople() {
      peopleToggle.focus();
    },
    /** @param {Room} room */
    update(room) {
      shown = room;
      const other = people.counterpart(room);
      const presence = other === undefined ? undefined : people.presence(other);
      setText(name, room.name);
      if (other === undefined) setText(line, room.topic || counted(room.memberCount, "person", "people"));
      else fill(line, stateLine(people.state(other), presence?.statusMsg), lastActive(presence));
      // Calls are between two, and in the open.
      calls.hidden = room.encrypted || (other === undefined && room.memberCount !== 2);
      setText(count, room.memberCount.toLocaleString());
      renameAvatar(picture, room.name);
      pictureAvatar(picture, people.roomPicture(room));
      recolourAvatar(picture, other ?? roomId);
      reshapeAvatar(picture, room.isDirect ? "round" : "square");
      if (other === undefined) {
        mark.remove();
      } else {
        setPresenceMark(mark, people.state(other));
        if (!mark.isConnected) picture.append(mark);
      }
    },
  };
}

/** @param {import("./shell.js").Context} context @param {string} roomId */
function createTypingLine({ client, people }, roomId) {
  const text = el("span", { dir: "auto" });
  const dots = el("span.typing-dots", { "aria-hidden": "true" }, el("i"), el("i"), el("i"));
  const node = el("p.typing", { testid: "typing", "aria-live": "off" }, dots, text);
  const update = () => {
    const typing = [...people.members(roomId)].filter((member) => member.typing && member.userId !== people.myId);
    const names = typing.map((member) => people.name(member.userId, member));
    node.classList.toggle("shown", names.length > 0);
    if (names.length > 0) setText(text, `${nameList(names)} ${names.length === 1 ? "is" : "are"} typing`);
    else setText(text, "");
  };
  const stop = client.on("members", (changedRoom) => changedRoom === roomId && update());
  update();
  return { node, dispose: stop };
}
