// What is told of events that come while nobody looks, by the rule that all my devices share.

import { oneLine } from "./describe.js";
import { asShown } from "./rooms.js";
import { navigate } from "./router.js";

/** @typedef {import("/pkg/index.js").Room} Room */
/** @typedef {import("/pkg/index.js").TimelineItem} TimelineItem */

const KEY = "pilotlight.notify";
/** Older messages are news to this page only, as after a reconnect. */
const FRESH_MS = 60_000;

/** Whether the user asked for notifications and the browser still allows them. */
export function notificationsOn() {
  return "Notification" in window && localStorage.getItem(KEY) === "yes" && Notification.permission === "granted";
}

/**
 * Turns notifications on, which asks the user where the browser has not done so yet, or off.
 * @param {boolean} on
 * @throws {Error} with a message for the person, when the browser refuses
 */
export async function setNotifications(on) {
  if (!on) {
    localStorage.removeItem(KEY);
    return;
  }
  if (!("Notification" in window)) throw new Error("This browser has no notifications.");
  if ((await Notification.requestPermission()) !== "granted") {
    throw new Error("The browser does not allow notifications: its settings for this site decide.");
  }
  localStorage.setItem(KEY, "yes");
}

/**
 * Shows in the page's title how much waits, and tells of what comes while nobody looks and is worth it (`shouldNotify`): on the desktop
 * where the user asked for that. The returned function stops it.
 * @param {import("../views/shell.js").Context} context
 */
export function startNotifications({ client, people, rooms }) {
  let news = 0;
  const showCount = () => {
    const quiet = client.notifySettings.mutedIn.includes(people.me.state);
    const count = Math.max(news, quiet ? 0 : rooms.unread());
    document.title = count > 0 ? `(${count}) Pilotlight` : "Pilotlight";
  };
  /** @param {number} count */
  const showNews = (count) => {
    news = count;
    showCount();
  };
  /** @param {Room} room @param {Pick<TimelineItem, "type" | "sender" | "stateKey" | "content">} item @param {string} body */
  const tell = (room, item, body) => {
    if (document.hasFocus() || !client.shouldNotify(item)) return;
    showNews(news + 1);
    if (notificationsOn()) showOnDesktop(room, body);
  };
  /** The rooms that I am known to be invited to. @type {Set<string>} */
  const invitations = new Set();
  let following = false;
  const onLook = () => showNews(0);
  addEventListener("focus", onLook);
  const stops = [
    client.on("timeline", (roomId, ops) => {
      const room = rooms.get(roomId);
      for (const op of ops) {
        if (!room || op.op !== "append" || Date.now() - op.item.ts > FRESH_MS) continue;
        const words = op.item.type === "m.call.invite" ? "Calls you" : oneLine(op.item);
        tell(room, op.item, room.isDirect ? words : `${people.name(op.item.sender)}: ${words}`);
      }
    }),
    client.on("rooms", (changed, removed) => {
      for (const roomId of removed) invitations.delete(roomId);
      for (const room of changed.map(asShown)) {
        if (!isInvitation(room)) invitations.delete(room.roomId);
        else if (!invitations.has(room.roomId)) {
          invitations.add(room.roomId);
          if (!following) continue;
          const { inviter = "" } = room;
          const content = { membership: "invite" };
          tell(room, { type: "m.room.member", sender: inviter, stateKey: people.myId, content }, `${people.name(inviter)} invites you`);
        }
      }
      showCount();
    }),
    client.on("me", showCount),
    // The first answer's invitations, which come with this, are no news.
    client.on("connection", (state) => state === "online" && queueMicrotask(() => (following = true))),
    () => removeEventListener("focus", onLook),
    () => (document.title = "Pilotlight"),
  ];
  return () => stops.forEach((stop) => stop());
}

/** @param {Room} room */
function isInvitation(room) {
  return room.membership === "invite";
}

/** @param {Room} room @param {string} body */
function showOnDesktop(room, body) {
  const note = new Notification(room.name, { body, tag: room.roomId, icon: "/favicon.svg" });
  note.addEventListener("click", () => {
    window.focus();
    navigate(room.membership === "join" ? { pane: "room", roomId: room.roomId } : { pane: "rooms" });
    note.close();
  });
}
