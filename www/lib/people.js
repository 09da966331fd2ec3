// What is known about a person, from presence, rooms and my own state together.

import { localpart, serverOf } from "./format.js";
import { plainName } from "./names.js";

/** @typedef {import("/pkg/index.js").Client} Client */
/** @typedef {import("/pkg/index.js").Presence} Presence */
/** @typedef {import("/pkg/index.js").Member} Member */
/** @typedef {Parameters<import("/pkg/index.js").Events["me"]>[0]} Me */

export class People {
  /** Members by room and ID, read from the client once and kept by its changes. @type {Map<string, Map<string, Member>>} */
  #members = new Map();
  /** The rooms I am in, as far as their members are kept. @type {Set<string>} */
  #joined = new Set();

  /** @param {Client} client @param {import("./contact-list.js").ContactList} contacts */
  constructor(client, contacts) {
    this.client = client;
    this.contacts = contacts;
    this.myId = client.session.userId;
    /** @type {Me} */
    this.me = client.me;
    client.on("me", (me) => {
      this.me = me;
    });
    client.on("members", (roomId, changed) => {
      const known = this.#members.get(roomId);
      for (const member of known ? changed : []) known?.set(member.userId, member);
    });
    client.on("rooms", (changed, removed) => {
      for (const roomId of removed) this.#members.delete(roomId);
      // What an invitation says of a room's members is not all: who comes in asks anew.
      for (const { roomId, membership } of changed) {
        if (membership !== "join") this.#joined.delete(roomId);
        else if (!this.#joined.has(roomId)) {
          this.#joined.add(roomId);
          this.#members.delete(roomId);
        }
      }
    });
  }

  /** My own state as it is shown: away while idle, unknown while the server is away. */
  myState() {
    return this.me.shown;
  }

  /**
   * Calls back when the server comes or goes: then the state of those never heard of is another. The returned
   * function stops it.
   * @param {() => void} listener
   */
  onSightChange(listener) {
    let blind = this.me.shown === "unknown";
    return this.client.on("me", ({ shown }) => {
      if ((shown === "unknown") === blind) return;
      blind = !blind;
      listener();
    });
  }

  /** @param {string} userId @returns {Presence | undefined} */
  presence(userId) {
    const known = this.client.presenceOf(userId);
    if (userId !== this.myId) return known;
    const state = this.myState();
    return { currentlyActive: !this.me.idle, ...known, userId, state, statusMsg: state === "unknown" ? undefined : this.me.statusMsg };
  }

  /**
   * Somebody's state. A server need not tell of its own people who are not there: who of them was never heard of is offline,
   * unless they were asked whether they may be seen and have not said yes. Of those of other servers it may know nothing.
   * @param {string} userId
   */
  state(userId) {
    const listed = this.contacts.entry(userId)?.listed;
    const isUnseen = this.me.shown === "unknown" || listed === "pending" || listed === "denied" || !this.isNeighbour(userId);
    return this.presence(userId)?.state ?? (isUnseen ? "unknown" : "offline");
  }

  /** Whether somebody is of my server. @param {string} userId */
  isNeighbour(userId) {
    return serverOf(userId) === serverOf(this.myId);
  }

  /**
   * Somebody's name; of somebody at another server who has none, the whole address: there may be one here called so, too.
   * @param {string} userId @param {Member} [member] the person in a room, whose name there wins
   */
  name(userId, member) {
    const own = userId === this.myId ? this.me.displayName : undefined;
    const address = this.isNeighbour(userId) ? localpart(userId) : userId;
    const said = [member?.displayName, own, this.client.presenceOf(userId)?.displayName].map((name) => plainName(name ?? ""));
    return said.find((name) => name !== "") ?? address;
  }

  /** The address of somebody's picture. @param {string} userId @param {Member} [member] the person in a room */
  picture(userId, member) {
    if (userId === this.myId) return this.me.avatarUrl;
    return member?.avatarUrl || this.client.presenceOf(userId)?.avatarUrl;
  }

  /** That of a room's picture: its own, or of a direct chat that of the other. @param {import("/pkg/index.js").Room} room */
  roomPicture(room) {
    const other = this.counterpart(room);
    return room.avatarUrl || (other === undefined ? undefined : this.picture(other, this.member(room.roomId, other)));
  }

  /** Somebody in a room as far as is known; nobody is asked. @param {string} roomId @param {string} userId */
  knownMember(roomId, userId) {
    return this.#members.get(roomId)?.get(userId) ?? this.client.member(roomId, userId);
  }

  /** Somebody in a room. @param {string} roomId @param {string} userId */
  member(roomId, userId) {
    let known = this.#members.get(roomId);
    if (!known) {
      known = new Map(this.client.members(roomId).map((member) => [member.userId, member]));
      this.#members.set(roomId, known);
    }
    return known.get(userId);
  }

  /** Everybody in a room. @param {string} roomId */
  members(roomId) {
    this.member(roomId, "");
    return /** @type {Map<string, Member>} */ (this.#members.get(roomId)).values();
  }

  /** The other one of a direct chat. @param {import("/pkg/index.js").Room} room */
  counterpart(room) {
    if (!room.isDirect) return undefined;
    const others = [...this.members(room.roomId)].filter(({ userId, membership }) => userId !== this.myId && membership !== "leave");
    return others.length === 1 ? others[0].userId : undefined;
  }
}
