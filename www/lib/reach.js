// Whom a room of this homeserver can hold.

import { serverOf } from "./format.js";

/** Said where somebody is asked into a room who cannot come. */
export const OUT_OF_REACH = "This server has rooms for its own people only; of others it shows presence.";

export class Reach {
  /** Any Matrix homeserver has rooms across servers, unless it says otherwise. */
  #isLocal = false;

  /** @param {import("/pkg/index.js").Client} client */
  constructor(client) {
    this.server = serverOf(client.session.userId);
    const stop = client.on("connection", async (state) => {
      if (state !== "online") return;
      stop();
      try {
        const { unstable_features: features } = await client.request("GET", "/_matrix/client/versions");
        this.#isLocal = features?.["org.pilotlight.local_rooms"] === true;
      } catch {
        // Then a room says by itself whom it does not take.
      }
    });
  }

  /** Whether there can be a chat with somebody. @param {string} userId */
  has(userId) {
    return !this.#isLocal || serverOf(userId) === this.server;
  }
}
