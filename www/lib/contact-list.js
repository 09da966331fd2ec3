// My presence list, as the client tells of it: who is on it, who asks, who may see me.

/** @typedef {import("/pkg/index.js").Client} Client */
/** @typedef {import("/pkg/index.js").Contact} Contact */

export class ContactList {
  /** @type {Map<string, Contact>} */
  #contacts = new Map();
  /** @type {Set<(changed: string[]) => void>} */
  #listeners = new Set();

  /** @param {Client} client */
  constructor(client) {
    this.client = client;
    for (const contact of client.contacts()) this.#contacts.set(contact.userId, contact);
    this.stops = [
      client.on("contacts", (changed, removed) => {
        for (const contact of changed) this.#contacts.set(contact.userId, contact);
        for (const userId of removed) this.#contacts.delete(userId);
        this.#tell([...changed.map((contact) => contact.userId), ...removed]);
      }),
      // Whether there is a list is known when the server has answered.
      client.on("connection", (state) => state === "online" && this.#tell([])),
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

  /** Whether the server keeps such lists. */
  get supported() {
    return this.client.hasPresenceList === true;
  }

  /** Somebody on my list. @param {string} userId */
  entry(userId) {
    const contact = this.#contacts.get(userId);
    return contact?.listed === undefined ? undefined : contact;
  }

  /** Everybody on my list. */
  entries() {
    return [...this.#contacts.values()].filter((contact) => contact.listed !== undefined);
  }

  /** Who waits for my answer. */
  requests() {
    return this.#observers("asked");
  }

  /** Whom I accepted: they may see me. */
  accepted() {
    return this.#observers("accepted");
  }

  /** The names of all groups, in order. */
  groups() {
    const names = new Set(this.entries().flatMap((entry) => entry.groups));
    return [...names].sort((a, b) => a.localeCompare(b));
  }

  /** Moves a user from one group to another; none stands for being in no group. @param {string} userId @param {string | undefined} from @param {string | undefined} to */
  async move(userId, from, to) {
    if (to !== undefined) await this.client.setGroup(userId, to, true);
    if (from !== undefined) await this.client.setGroup(userId, from, false);
  }

  /** @param {Contact["observer"]} standing */
  #observers(standing) {
    return [...this.#contacts.values()].filter((contact) => contact.observer === standing).map((contact) => contact.userId);
  }

  /** @param {string[]} changed */
  #tell(changed) {
    for (const listener of this.#listeners) listener(changed);
  }
}
