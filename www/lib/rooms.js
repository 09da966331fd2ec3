// The rooms by ID, read from the client once and kept by its changes.

/** @typedef {import("/pkg/index.js").Room} Room */

export class Rooms {
  /** @param {import("/pkg/index.js").Client} client */
  constructor(client) {
    /** @type {Map<string, Room>} */
    this.byId = new Map(client.rooms().map((room) => [room.roomId, room]));
    client.on("rooms", (changed, removed) => {
      for (const roomId of removed) this.byId.delete(roomId);
      for (const room of changed) this.byId.set(room.roomId, room);
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
