// Asking the server for messages by their words, a page at a time.

import { plainName } from "./names.js";

/** @typedef {import("/pkg/index.js").Client} Client */

/**
 * A message that was found, with what was said right before and after it.
 * @typedef {{ roomId: string, eventId: string, sender: string, ts: number, text: string, before?: Line, after?: Line }} Found
 * @typedef {{ sender: string, text: string }} Line
 * @typedef {{ found: Found[], count: number, highlights: string[], next?: string }} Page
 */

const PAGE = 20;

/**
 * @param {Client} client
 * @param {string} term
 * @param {{ roomId?: string, next?: string }} options one room only; where the page before ended
 * @returns {Promise<Page>}
 */
export async function find(client, term, { roomId, next } = {}) {
  const path = `/_matrix/client/v3/search${next === undefined ? "" : `?next_batch=${encodeURIComponent(next)}`}`;
  const { search_categories: categories } = await client.request("POST", path, {
    search_categories: {
      room_events: {
        search_term: term, keys: ["content.body"], order_by: "recent",
        filter: { limit: PAGE, ...(roomId === undefined ? {} : { rooms: [roomId] }) },
        event_context: { before_limit: 1, after_limit: 1 },
      },
    },
  });
  const { results = [], count = 0, highlights = [], next_batch } = categories?.room_events ?? {};
  return { found: results.map(foundOf), count, highlights, next: next_batch };
}

/** @param {any} one @returns {Found} */
function foundOf({ result, context }) {
  return {
    roomId: result.room_id, eventId: result.event_id, sender: result.sender, ts: result.origin_server_ts, text: textOf(result),
    before: lineOf(context?.events_before?.[0]), after: lineOf(context?.events_after?.[0]),
  };
}

/** @param {any} event @returns {Line | undefined} */
function lineOf(event) {
  const isEdit = event?.content?.["m.relates_to"]?.rel_type === "m.replace";
  const text = event?.type === "m.room.message" && !isEdit ? textOf(event) : "";
  return text === "" ? undefined : { sender: event.sender, text };
}

/** What a message says, in its last version. @param {any} event */
function textOf(event) {
  const edited = event.unsigned?.["m.relations"]?.["m.replace"]?.content?.["m.new_content"]?.body;
  const body = edited ?? event.content?.body;
  return typeof body === "string" ? plainName(body) : "";
}

/**
 * The text around its first highlight, in parts: every other one is a highlight.
 * @param {string} text @param {string[]} highlights @param {number} [length]
 * @returns {string[]}
 */
export function excerpt(text, highlights, length = 160) {
  const words = highlights.filter(Boolean).sort((a, b) => b.length - a.length).map((word) => word.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  if (words.length === 0) return [cut(text, 0, length)];
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}])(?:${words.join("|")})[\\p{L}\\p{N}]*`, "giu");
  const first = Math.max(0, text.search(pattern));
  const shown = cut(text, Math.max(0, first - length / 4), length);
  const parts = [];
  let at = 0;
  for (const match of shown.matchAll(pattern)) {
    parts.push(shown.slice(at, match.index), match[0]);
    at = match.index + match[0].length;
  }
  return [...parts, shown.slice(at)];
}

/** A piece of a text on one line, from a word on. @param {string} text @param {number} from @param {number} length */
function cut(text, from, length) {
  const begin = from === 0 ? 0 : text.indexOf(" ", from) + 1 || from;
  const piece = text.slice(begin, begin + length).replace(/\s+/g, " ");
  return `${begin > 0 ? "…" : ""}${piece}${begin + length < text.length ? "…" : ""}`;
}
