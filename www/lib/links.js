// Links to people, rooms and events, as all Matrix clients write them: addresses of matrix.to, and `matrix:` URIs.

/** @typedef {{ id: string, eventId?: string, via: string[] }} MatrixLink a user, room or alias, an event in it, and servers that know it */

const BASE = "https://matrix.to/#/";
const MATRIX_TO = /^https?:\/\/matrix\.to\/#\/([^?]+)/i;
const URI = /^matrix:(u|user|r|room|roomid)\/([^/?#]+)(?:\/(?:e|event)\/([^/?#]+))?\/?(?:[?#]|$)/i;
/** @type {Record<string, string>} */
const SIGILS = { u: "@", user: "@", r: "#", room: "#", roomid: "!" };
/** The ID of a room of today names no server. */
const ID = /^(?:[@#][^\s:]+:|!)[^\s]+$/;
/** More servers than this are not asked for a room. */
const MAX_VIA = 8;

/** What an address is about; nothing where it is not of Matrix. @param {string} address @returns {MatrixLink | undefined} */
export function matrixLink(address) {
  try {
    const [id, eventId] = named(address) ?? [];
    if (id === undefined || !ID.test(id)) return undefined;
    const query = address.slice(address.lastIndexOf("?") + 1).split("#")[0];
    const via = address.includes("?") ? new URLSearchParams(query).getAll("via").filter(Boolean).slice(0, MAX_VIA) : [];
    return eventId?.startsWith("$") && !id.startsWith("@") ? { id, eventId, via } : { id, via };
  } catch {
    // What is encoded wrongly is no link.
    return undefined;
  }
}

/** @param {string} address @returns {(string | undefined)[] | undefined} */
function named(address) {
  const [, kind, rest, event] = URI.exec(address) ?? [];
  if (kind) return [SIGILS[kind.toLowerCase()] + decodeURIComponent(rest), event && `$${decodeURIComponent(event)}`];
  // The ID of an old event may have a slash in it.
  const [id, ...eventId] = MATRIX_TO.exec(address)?.[1].split("/") ?? [];
  return id === undefined ? undefined : [decodeURIComponent(id), decodeURIComponent(eventId.join("/"))];
}

/** A link as others can follow it. @param {MatrixLink} link */
export function addressOf({ id, eventId, via }) {
  const path = [id, ...(eventId ? [eventId] : [])].map(encodeURIComponent).join("/");
  return BASE + path + (via.length > 0 ? `?${viaQuery(via)}` : "");
}

/** @param {string[]} via */
export function viaQuery(via) {
  return via.map((server) => `via=${encodeURIComponent(server)}`).join("&");
}

/**
 * The room or person that somebody typed: a link, an ID, an alias, or an alias of this server without its name.
 * @param {string} typed
 * @param {string} server
 * @returns {MatrixLink}
 * @throws {Error} in words
 */
export function typedRoom(typed, server) {
  const link = matrixLink(typed);
  if (link) return link;
  const marked = /^[@#!]/.test(typed) ? typed : `#${typed}`;
  const id = marked.startsWith("!") || marked.includes(":") ? marked : `${marked}:${server}`;
  if (!ID.test(id) || /^[@#].*\//.test(id)) throw new Error(`“${typed}” is no room’s address; they look like #name:${server}.`);
  return { id, via: [] };
}
