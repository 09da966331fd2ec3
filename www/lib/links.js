// Links to people, rooms and events, as all Matrix clients write them.

/** @typedef {{ id: string, eventId?: string }} MatrixLink a user, room or alias, and an event in it */

const BASE = "https://matrix.to/#/";

/** What a `matrix.to` address is about; nothing for any other. @param {string} href @returns {MatrixLink | undefined} */
export function matrixLink(href) {
  if (!href.startsWith(BASE)) return undefined;
  const [path] = href.slice(BASE.length).split("?");
  try {
    const [id, eventId] = path.split("/").map(decodeURIComponent);
    if (!/^[@!#]./.test(id)) return undefined;
    return eventId?.startsWith("$") ? { id, eventId } : { id };
  } catch {
    return undefined;
  }
}

/** The address of an event, for others. @param {string} roomId @param {string} eventId @param {string} via a server that is in the room */
export function eventLink(roomId, eventId, via) {
  return `${BASE}${encodeURIComponent(roomId)}/${encodeURIComponent(eventId)}?via=${encodeURIComponent(via)}`;
}
