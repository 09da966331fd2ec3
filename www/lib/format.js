// Turning identifiers and instants into words.

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long" });
const dateWithYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "short" });

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** The name part of `@name:server` or `#name:server`. @param {string} id */
export function localpart(id) {
  const end = id.indexOf(":");
  return end > 1 ? id.slice(1, end) : id.slice(1) || id;
}

/** The server in `@name:server`. @param {string} id */
export function serverOf(id) {
  return id.slice(id.indexOf(":") + 1);
}

/** One or two letters that stand for a name. @param {string} name */
export function initials(name) {
  const words = name.replace(/^[@#!]/, "").split(/[\s._-]+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : words;
  return letters.map((word) => String.fromCodePoint(word.codePointAt(0) ?? 63).toUpperCase()).join("") || "?";
}

/** One of eight hues, always the same one for the same identifier. @param {string} id */
export function hueOf(id) {
  let hash = 0x811c9dc5;
  for (let i = 0; i < id.length; i += 1) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
  return ((hash >>> 13) ^ hash) & 7;
}

/** `14:05`. @param {number} ts ms since the epoch */
export function clockTime(ts) {
  return clock.format(ts);
}

/** Date and time in full, for tooltips. @param {number} ts ms since the epoch */
export function fullTime(ts) {
  return full.format(ts);
}

/** @param {number} a @param {number} b */
export function sameDay(a, b) {
  return startOfDay(a) === startOfDay(b);
}

/** @param {number} ts */
function startOfDay(ts) {
  return new Date(ts).setHours(0, 0, 0, 0);
}

/** `Today`, `Yesterday`, `Tuesday`, `3 March`, `3 March 2024`. @param {number} ts @param {number} [now] */
export function dayLabel(ts, now = Date.now()) {
  const days = Math.round((startOfDay(now) - startOfDay(ts)) / DAY);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days > 1 && days < 7) return weekday.format(ts);
  return (new Date(ts).getFullYear() === new Date(now).getFullYear() ? date : dateWithYear).format(ts);
}

/** A short stamp for lists: the time today, else the day. @param {number} ts @param {number} [now] */
export function listTime(ts, now = Date.now()) {
  return sameDay(ts, now) ? clockTime(ts) : dayLabel(ts, now);
}

/** `just now`, `5 min ago`, `3 h ago`, `2 days ago`. @param {number} ts @param {number} [now] */
export function ago(ts, now = Date.now()) {
  const passed = Math.max(0, now - ts);
  if (passed < MINUTE) return "just now";
  if (passed < HOUR) return `${Math.floor(passed / MINUTE)} min ago`;
  if (passed < DAY) return `${Math.floor(passed / HOUR)} h ago`;
  const days = Math.floor(passed / DAY);
  return days === 1 ? "1 day ago" : `${days} days ago`;
}

/** How long something has lasted: `1 min`, `20 min`, `3 h`, `2 days`. @param {number} ts @param {number} [now] */
export function lasting(ts, now = Date.now()) {
  const minutes = Math.max(1, Math.floor((now - ts) / MINUTE));
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 24 ? `${hours} h` : counted(Math.floor(hours / 24), "day", "days");
}

/** `1 person`, `2 people`. @param {number} count @param {string} one @param {string} many */
export function counted(count, one, many) {
  return `${count.toLocaleString()} ${count === 1 ? one : many}`;
}

/** `Ada`, `Ada and Ben`, `Ada, Ben and 3 others`. @param {string[]} names */
export function nameList(names) {
  if (names.length <= 1) return names[0] ?? "";
  if (names.length === 2) return `${names[0]} and ${names[1]}`;
  const others = names.length - 2;
  return `${names[0]}, ${names[1]} and ${counted(others, "other", "others")}`;
}
