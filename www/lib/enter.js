// Going into a room: by its address and the servers that know it; and where that is refused, why, and what can be done.

import { viaQuery } from "./links.js";
import { navigate } from "./router.js";
import { toast } from "./toast.js";

/** @typedef {import("/pkg/index.js").Client} Client */
/** @typedef {import("./links.js").MatrixLink} MatrixLink */

const V3 = "/_matrix/client/v3";

/** @type {Record<string, string>} */
export const ENTER_WORDS = { M_NOT_FOUND: "There is no room at that address." };

/**
 * Joins a room, and goes to it or to an event in it.
 * @param {Client} client
 * @param {MatrixLink} link
 * @param {"push" | "replace"} [how]
 * @throws {Error} with an `offer` where there is another way in
 */
export async function enterRoom(client, link, how) {
  let roomId;
  try {
    roomId = await join(client, link);
  } catch (error) {
    throw await explained(client, link, error);
  }
  navigate({ pane: "room", roomId, eventId: link.eventId }, how);
}

/** @param {Client} client @param {MatrixLink} link @returns {Promise<string>} */
async function join(client, link) {
  if (link.via.length === 0) return client.joinRoom(link.id);
  const { room_id: roomId } = await client.request("POST", at(`${V3}/join`, link), {});
  // By now the server knows the way; this goes on as every join does.
  return client.joinRoom(roomId);
}

/** @param {Client} client @param {MatrixLink} link @param {any} error */
async function explained(client, link, error) {
  if (error?.code !== "M_FORBIDDEN") return error;
  const { membership, join_rule: rule } = await client.request("GET", at("/_matrix/client/v1/room_summary", link)).catch(() => ({}));
  if (membership === "ban" || /\bbanned\b/i.test(error.message)) return new Error("You are banned from that room.");
  if (membership === "knock") return new Error("You have asked to be let into that room; nobody has answered yet.");
  if (rule === "public") return error;
  if (rule !== "knock" && rule !== "knock_restricted") return new Error("You need an invitation to that room.");
  const act = async () => {
    await client.request("POST", at(`${V3}/knock`, link), {});
    toast("You have asked to be let in. Once somebody lets you in, the room is among your invitations.");
  };
  return Object.assign(new Error("Who wants to be in that room has to ask."), { offer: { label: "Ask to be let in", testid: "knock", act } });
}

/** @param {string} path @param {MatrixLink} link */
function at(path, { id, via }) {
  return `${path}/${encodeURIComponent(id)}${via.length > 0 ? `?${viaQuery(via)}` : ""}`;
}
