// Notifications of the desktop, for messages that come while nobody looks; silent while I am busy.

import { isMessage, oneLine } from "./describe.js";
import { navigate } from "./router.js";

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
 * Notifies of new messages; the returned function stops it.
 * @param {import("../views/shell.js").Context} context
 */
export function startNotifications({ client, people, rooms }) {
  /** @param {string} roomId @param {import("/pkg/index.js").TimelineItem} item */
  const tell = (roomId, item) => {
    const room = rooms.get(roomId);
    const wanted = isMessage(item) && item.sender !== people.myId && Date.now() - item.ts < FRESH_MS;
    if (!room || !wanted || document.hasFocus() || people.me.state === "busy" || !notificationsOn()) return;
    const body = room.isDirect ? oneLine(item) : `${people.name(item.sender)}: ${oneLine(item)}`;
    const note = new Notification(room.name, { body, tag: roomId, icon: "/favicon.svg" });
    note.addEventListener("click", () => {
      window.focus();
      navigate({ pane: "room", roomId });
      note.close();
    });
  };
  return client.on("timeline", (roomId, ops) => {
    for (const op of ops) if (op.op === "append") tell(roomId, op.item);
  });
}
