// The rooms by ID, read from the client once and kept by its changes.

import { plainName } from "./names.js";

/** @typedef {import("/pkg/index.js").Room} Room */

export class Rooms {
  /** @param {import("/pkg/index.js").Client} client */
  constructor(client) {
    /** @type {Map<string, Room>} */
    this.byId = new Map(client.rooms().map((room) => [room.roomId, asShown(room)]));
    client.on("rooms", (changed, removed) => {
      for (const roomId of removed) this.byId.delete(roomId);
      for (const room of changed) this.byId.set(room.roomId, asShown(room));
    });
  }

  /** @param {string} roomId */
  get(roomId) {
    return this.byId.get(roomId);
  }

  /** Whether I am in the room. @param {string} roomId */
  isJoined(roomId) {
    return this.byId.get(roomId)?.membership === "join";
  }

  /** How many messages and invitations wait for me. */
  unread() {
    let count = 0;
    for (const { membership, unread } of this.byId.values()) {
      if (membership === "join") count += unread;
      else if (membership === "invite") count += 1;
    }
    return count;
  }

  /** The rooms I am in. @returns {Room[]} */
  joined() {
    return [...this.byId.values()].filter((room) => room.membership === "join");
  }
}

/** A room by what it is called on the screen. @param {Room} room */
export function asShown(room) {
  const name = plainName(room.name) || room.roomId;
  return name === room.name ? room : { ...room, name };
}
