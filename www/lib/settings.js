// What the user set for this browser, beside the session.

const IDLE = "pilotlight.idle-minutes";

/** Minutes without activity after which I am away: what is offered, the third being the default. */
export const IDLE_MINUTES = [1, 2, 3, 4, 5];
const DEFAULT_IDLE_MINUTES = 3;

export function idleMinutes() {
  const stored = Number(localStorage.getItem(IDLE));
  return IDLE_MINUTES.includes(stored) ? stored : DEFAULT_IDLE_MINUTES;
}

/** @param {number} minutes one of `IDLE_MINUTES` */
export function setIdleMinutes(minutes) {
  localStorage.setItem(IDLE, String(minutes));
}

const PRIVATE_RECEIPTS = "pilotlight.private-receipts";

/** Whether only my own devices are told how far I have read. */
export function receiptsArePrivate() {
  return localStorage.getItem(PRIVATE_RECEIPTS) === "yes";
}

/** @param {boolean} isPrivate */
export function setReceiptsPrivate(isPrivate) {
  if (isPrivate) localStorage.setItem(PRIVATE_RECEIPTS, "yes");
  else localStorage.removeItem(PRIVATE_RECEIPTS);
}

const LAST_ROOM = "pilotlight.room";

/** The room that was looked at last. */
export function lastRoom() {
  return localStorage.getItem(LAST_ROOM);
}

/** @param {string} roomId */
export function keepPlace(roomId) {
  localStorage.setItem(LAST_ROOM, roomId);
}

export function forgetPlace() {
  localStorage.removeItem(LAST_ROOM);
}
