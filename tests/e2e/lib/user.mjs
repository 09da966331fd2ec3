// A user of the bare API with a stream open, and a presence list.
import { Device, path, until } from "./matrix.mjs";

/** A user who is there: a stream is open all the time. */
export class User extends Device {
  /** What the stream told last of each user. */
  told = new Map();
  /** `set_presence` of the stream: a stock server believes it rather than what was chosen. */
  streamState = undefined;

  static async arrive(server, name) {
    const user = await User.register(server.baseUrl, name);
    user.done = user.#listen();
    return user;
  }

  static async register(baseUrl, name) {
    const { userId, token, deviceId } = await Device.register(baseUrl, name);
    return new User(baseUrl, { user_id: userId, access_token: token, device_id: deviceId });
  }

  leave() {
    this.left = true;
    return this.done;
  }

  async #listen() {
    while (!this.left) {
      const { presence } = await this.sync({ timeout: 500, setPresence: this.streamState });
      for (const { sender, content } of presence?.events ?? []) this.told.set(sender, content);
    }
  }

  /** Puts others on the list, who accept. */
  async observe(...others) {
    await this.ok("POST", path("/_matrix/client/v3/presence/list/{}", this.userId), { invite: others.map(({ userId }) => userId) });
    for (const other of others) {
      const answer = path("/_matrix/client/unstable/org.pilotlight/presence/requests/{}/{}", other.userId, this.userId);
      await until("asked", async () => (await other.request("POST", answer, { answer: "accept" })).status === 200);
    }
  }

  /** The state in which this user sees another, and the status message. */
  async seesOf({ userId }) {
    const { body } = await this.request("GET", path("/_matrix/client/v3/presence/{}/status", userId));
    return [body["org.pilotlight.presence"]?.state, body.status_msg];
  }

  sees(other, state, message, timeoutMs) {
    let seen;
    return until(`${this.userId} sees ${other.userId} as ${state} ${message ?? ""}`, async () => {
      seen = await this.seesOf(other);
      return seen[0] === state && seen[1] === message;
    }, timeoutMs).catch((error) => {
      throw new Error(`${error.message}, but as ${seen.join(" ")}`);
    });
  }
}
