// My presence list: who is on it and in which groups, who asks, who may see me, and how I share.

/** @typedef {import("/pkg/index.js").Client} Client */
/** @typedef {{ userId: string, state: "pending" | "accepted" | "denied", groups: string[] }} Entry */
/** @typedef {"everybody" | "list" | "nobody" | { group: string }} Admit who may begin a private chat */
/** @typedef {"offline" | "unavailable" | "busy" | "online" | "free_for_chat"} Shown */
/**
 * @typedef {{
 *   share: "shared_rooms" | "list" | "nobody", auto_accept: "reverse" | "everybody", invites: Partial<Record<Shown, Admit>>,
 * }} Settings
 */

const CLIENT = "/_matrix/client";
const OURS = `${CLIENT}/unstable/org.pilotlight/presence`;
/** How often a page that is looked at asks for new requests. */
const LOOKED_AT_MS = 30_000;

export class ContactList {
  /** @type {Set<(changed: string[]) => void>} */
  #listeners = new Set();
  #reading = false;
  #again = false;

  /** @param {Client} client */
  constructor(client) {
    this.client = client;
    this.myId = client.session.userId;
    /** Whether the server keeps such lists. */
    this.supported = false;
    /** @type {Map<string, Entry>} */
    this.entries = new Map();
    /** Who waits for my answer. @type {Set<string>} */
    this.requests = new Set();
    /** Whom I accepted: they may see me. @type {Set<string>} */
    this.observers = new Set();
    const look = () => document.visibilityState === "visible" && !client.idle && void this.refresh();
    const timer = setInterval(look, LOOKED_AT_MS);
    addEventListener("focus", look);
    this.stops = [
      client.on("connection", (state) => {
        if (state === "online") void (this.supported ? this.refresh() : this.#discover());
      }),
      client.on("presence", (changes) => {
        // Somebody who is seen has answered.
        if (changes.some(({ userId }) => this.entries.get(userId)?.state === "pending")) void this.refresh();
      }),
      () => clearInterval(timer),
      () => removeEventListener("focus", look),
    ];
  }

  dispose() {
    for (const stop of this.stops) stop();
  }

  /** Calls back with the users of whom something changed; the returned function stops it. @param {(changed: string[]) => void} listener */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The names of all groups, in order. */
  groups() {
    const names = new Set([...this.entries.values()].flatMap((entry) => entry.groups));
    return [...names].sort((a, b) => a.localeCompare(b));
  }

  /** Puts a user on my list, which asks them. @param {string} userId */
  add(userId) {
    return this.#change("POST", `${CLIENT}/v3/presence/list/${this.#me()}`, { invite: [userId] });
  }

  /** @param {string} userId */
  remove(userId) {
    return this.#change("POST", `${CLIENT}/v3/presence/list/${this.#me()}`, { drop: [userId] });
  }

  /** Answers a request, or takes back what was granted. @param {string} userId @param {"accept" | "deny" | "revoke"} answer */
  answer(userId, answer) {
    return this.#change("POST", `${OURS}/requests/${this.#me()}/${encodeURIComponent(userId)}`, { answer });
  }

  /** Puts a user of my list into a group, or out of it. @param {string} userId @param {string} group @param {boolean} inside */
  setGroup(userId, group, inside) {
    const path = `${OURS}/groups/${this.#me()}/${encodeURIComponent(group)}/members/${encodeURIComponent(userId)}`;
    return inside ? this.#change("PUT", path, {}) : this.#change("DELETE", path);
  }

  /** Moves a user from one group to another; none stands for being in no group. @param {string} userId @param {string | undefined} from @param {string | undefined} to */
  async move(userId, from, to) {
    if (to !== undefined) await this.setGroup(userId, to, true);
    if (from !== undefined) await this.setGroup(userId, from, false);
  }

  /** A new room with everybody of a group; its ID. @param {string} group @param {string} name @returns {Promise<string>} */
  async inviteGroup(group, name) {
    const path = `${OURS}/groups/${this.#me()}/${encodeURIComponent(group)}/invite`;
    return (await this.client.request("POST", path, { name })).room_id;
  }

  /** @returns {Promise<Settings>} */
  settings() {
    return this.client.request("GET", `${OURS}/settings/${this.#me()}`);
  }

  /** @param {Settings} settings */
  setSettings(settings) {
    return this.client.request("PUT", `${OURS}/settings/${this.#me()}`, settings);
  }

  #me() {
    return encodeURIComponent(this.myId);
  }

  /** @param {"POST" | "PUT" | "DELETE"} method @param {string} path @param {object} [body] */
  async #change(method, path, body) {
    await this.client.request(method, path, body);
    await this.refresh();
  }

  async #discover() {
    const answer = await this.client.request("GET", `${CLIENT}/versions`).catch(() => undefined);
    this.supported = answer?.unstable_features?.["org.pilotlight.presence_list"] === true;
    if (this.supported) await this.refresh();
  }

  /** Reads the list again; what changes meanwhile is read afterwards, once. */
  async refresh() {
    if (!this.supported) return;
    this.#again = true;
    if (this.#reading) return;
    this.#reading = true;
    try {
      while (this.#again) {
        this.#again = false;
        const [list, asked] = await Promise.all([
          this.client.request("GET", `${CLIENT}/v3/presence/list/${this.#me()}`),
          this.client.request("GET", `${OURS}/requests/${this.#me()}`),
        ]);
        this.#take(list, asked);
      }
    } catch {
      // The connection's own state tells of a server that is away; the next look reads again.
    } finally {
      this.#reading = false;
    }
  }

  /** @param {any[]} list @param {{ requests: string[], observers: string[] }} asked */
  #take(list, asked) {
    const before = [...this.entries.keys(), ...this.requests, ...this.observers];
    this.entries = new Map(list.map((event) => {
      const { state, groups } = event["org.pilotlight.list"];
      return [event.sender, { userId: event.sender, state, groups }];
    }));
    this.requests = new Set(asked.requests);
    this.observers = new Set(asked.observers);
    const changed = [...new Set([...before, ...this.entries.keys(), ...this.requests, ...this.observers])];
    for (const listener of this.#listeners) listener(changed);
  }
}
