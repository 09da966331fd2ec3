// The signed-in layout: sidebar, room, people. On a phone the route decides which of them is shown.

import { el, fill } from "../lib/dom.js";
import { ContactList } from "../lib/contact-list.js";
import { startNotifications } from "../lib/notify.js";
import { failureText } from "../lib/errors.js";
import { matrixLink } from "../lib/links.js";
import { Media, setMedia } from "../lib/media.js";
import { shortFileName } from "../lib/names.js";
import { Outbox } from "../lib/outbox.js";
import { People } from "../lib/people.js";
import { Phone } from "../lib/phone.js";
import { Reach } from "../lib/reach.js";
import { Rooms } from "../lib/rooms.js";
import { navigate, parseRoute, routeHref, watchRoute } from "../lib/router.js";
import { forgetPlace, keepPlace, lastRoom } from "../lib/settings.js";
import { toast } from "../lib/toast.js";
import { createBanner } from "./banner.js";
import { openPerson } from "./person-dialog.js";
import { createPlaceholder } from "./placeholder.js";
import { openJoinRoom } from "./room-dialogs.js";
import { createRoomView } from "./room-view.js";
import { openSearch } from "./search.js";
import { createSidebar } from "./sidebar.js";

/** @typedef {import("/pkg/index.js").Client} Client */
/** @typedef {import("../lib/router.js").Route} Route */
/** @typedef {{ client: Client, people: People, rooms: Rooms, contacts: ContactList, reach: Reach, outbox: Outbox, phone: Phone, open: (link: import("../lib/links.js").MatrixLink) => void, onSignOut: () => void, onRestart: () => void }} Context what the views share */

const wide = matchMedia("(min-width: 760px)");

/**
 * @param {Client} client
 * @param {{ onSignOut: () => void, onRestart: () => void }} options
 */
export function createShell(client, { onSignOut, onRestart }) {
  const contacts = new ContactList(client);
  setMedia(new Media(client));
  const context = /** @type {Context} */ ({ client, people: new People(client, contacts), rooms: new Rooms(client), contacts, reach: new Reach(client), outbox: new Outbox(client), onSignOut, onRestart });
  const callPlace = el("div.calls", { testid: "calls" });
  context.phone = new Phone(context, callPlace);
  context.open = openLink;
  const { rooms } = context;
  const sidebar = createSidebar(context);
  const banner = createBanner(client);
  const main = el("main.main", { "aria-label": "Room" });
  const node = el("div.shell", {}, banner.node, callPlace, el("div.panes", {}, sidebar.node, main));
  /** @type {ReturnType<typeof createRoomView> | undefined} */
  let room;
  let openedByItself = false;
  /** The files whose failure is known. @type {Set<number>} */
  let told = new Set();
  /** The event that the address names, once it was gone to. @type {string | undefined} */
  let shownEvent;

  /** @param {Route} route */
  function show(route) {
    const roomId = "roomId" in route ? route.roomId : undefined;
    node.dataset.pane = route.pane;
    sidebar.setRoute(route);
    if (roomId !== undefined) keepPlace(roomId);
    if (room && room.roomId !== roomId && (roomId !== undefined || route.pane === "rooms")) closeRoom();
    if (roomId !== undefined && !room && rooms.isJoined(roomId)) {
      room = createRoomView(context, roomId, { onPlace: (eventId) => notePlace({ pane: "room", roomId, eventId }) });
      fill(main, room.node);
    }
    room?.setPane(route.pane);
    const eventId = "roomId" in route ? route.eventId : undefined;
    if (room && eventId !== undefined && eventId !== shownEvent) room.jump(eventId);
    if (room || eventId === undefined) shownEvent = eventId;
    if (!room) fill(main, createPlaceholder(context, roomId));
    if (route.pane === "rooms") openLastRoom();
  }

  /** Says in the address where in a room's past one is, so that a reload comes back there. @param {{ pane: "room", roomId: string, eventId: string | undefined }} place */
  function notePlace(place) {
    if (route.pane !== "room" || route.roomId !== place.roomId || route.eventId === place.eventId) return;
    // A link was followed, and the page is about to hear of it.
    if (routeHref(parseRoute(location.hash)) !== routeHref(route)) return;
    route = place;
    shownEvent = place.eventId;
    history.replaceState(history.state, "", routeHref(place));
  }

  /** Where somebody else has, says who it was and why. @param {string} roomId */
  function tellWhoTookMeOut(roomId) {
    const { client, people } = context;
    const left = rooms.get(roomId);
    if (!left) return;
    const mine = (/** @type {import("/pkg/index.js").TimelineItem} */ { type, stateKey }) => type === "m.room.member" && stateKey === people.myId;
    const item = client.timeline(roomId).findLast(mine);
    if (!item || item.sender === people.myId || !["leave", "ban"].includes(item.content?.membership)) return;
    const deed = item.content.membership === "ban" ? "banned you from" : "removed you from";
    const { reason } = item.content;
    const because = typeof reason === "string" && reason !== "" ? `: ${reason}` : ".";
    toast(`${people.name(item.sender, people.member(roomId, item.sender))} ${deed} ${left.name}${because}`);
  }

  /** Files that failed where nobody looks are told of once, each time. */
  function tellFailedFiles() {
    const failed = context.outbox.failed();
    for (const { id, roomId, file, problem = "" } of failed) {
      if (!told.has(id) && roomId !== room?.roomId) toast(`${shortFileName(file.name)} was not sent to ${rooms.get(roomId)?.name ?? "its room"}. ${problem}`, "error");
    }
    told = new Set(failed.map(({ id }) => id));
  }

  function closeRoom() {
    room?.dispose();
    room = undefined;
  }

  /** Where there is space for it, a page opened without a place shows the room it was left in. */
  function openLastRoom() {
    const last = lastRoom();
    if (openedByItself || !wide.matches || !last || !rooms.isJoined(last)) return;
    openedByItself = true;
    navigate({ pane: "room", roomId: last }, "replace");
  }

  /** What is in Matrix is looked at here: a person, a room that I am in, or one to join. @param {import("../lib/links.js").MatrixLink} link */
  function openLink(link) {
    const { id, eventId } = link;
    const known = rooms.joined().find(({ roomId, alias }) => roomId === id || alias === id);
    if (id.startsWith("@")) openPerson(context, id, room && context.people.knownMember(room.roomId, id) ? room.roomId : undefined);
    else if (known) navigate({ pane: "room", roomId: known.roomId, eventId });
    else openJoinRoom(context, link);
  }

  /** Links, wherever they stand, lead there, unless another tab is wished for. @param {MouseEvent} event */
  function onClick(event) {
    const anchor = event.target instanceof Element ? event.target.closest("a[href]") : null;
    const link = anchor && matrixLink(anchor.getAttribute("href") ?? "");
    if (!link || event.defaultPrevented || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    anchor.closest("dialog")?.close();
    openLink(link);
  }

  /** Search is a key away, wherever one is. @param {KeyboardEvent} event */
  function onKey(event) {
    if (event.key.toLowerCase() !== "f" || !event.shiftKey || !(event.ctrlKey || event.metaKey) || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    openSearch(context, room?.roomId);
  }

  /** @type {Route} */
  let route = { pane: "rooms" };
  addEventListener("keydown", onKey);
  addEventListener("click", onClick);
  const stops = [
    () => removeEventListener("keydown", onKey),
    () => removeEventListener("click", onClick),
    startNotifications(context),
    context.outbox.subscribe(tellFailedFiles),
    watchRoute((next) => {
      route = next;
      show(route);
    }),
    client.on("connection", () => !room && show(route)),
    client.on("refused", (_, item) => toast(`${item.type === "m.reaction" ? "Not added" : "Not deleted"}: ${failureText(item.error)}`, "error")),
    contacts.subscribe(() => !room && show(route)),
    client.on("rooms", () => {
      if (room && !rooms.isJoined(room.roomId)) {
        tellWhoTookMeOut(room.roomId);
        closeRoom();
        forgetPlace();
        navigate({ pane: "rooms" }, "replace");
      } else if (!room) {
        show(route);
      }
    }),
  ];

  return {
    node,
    dispose() {
      for (const stop of stops) stop();
      closeRoom();
      context.phone.dispose();
      sidebar.dispose();
      context.contacts.dispose();
      context.outbox.dispose();
      setMedia(undefined);
      banner.dispose();
    },
  };
}
