// Calls, as far as every page needs them: what makes and shows them is loaded when somebody calls.

import { orToast } from "./toast.js";

/** @typedef {import("/pkg/index.js").CallView} CallView */

/** @type {Record<string, string>} */
const WORDS = {
  BUSY: "You are in a call already.",
  ENCRYPTED_ROOM: "This room is encrypted, and this client calls in the open only.",
  BAD_TARGET: "There is no one person to call in this room.",
};

export class Phone {
  /** @type {Promise<ReturnType<typeof import("../views/call-place.js").createCallPlace>> | undefined} */
  #place;

  /** @param {import("../views/shell.js").Context} context @param {HTMLElement} node where calls are shown */
  constructor(context, node) {
    this.context = context;
    this.node = node;
    const { client } = context;
    this.stop = client.on("call", (call) => call.state === "ringing" && call.rings && void this.#load());
    if (client.calls().some((call) => call.rings)) void this.#load();
  }

  /** @param {string} roomId @param {boolean} video */
  call(roomId, video) {
    return orToast(async () => (await this.#load()).call(roomId, video), WORDS);
  }

  #load() {
    this.#place ??= import("../views/call-place.js").then(({ createCallPlace }) => createCallPlace(this.context, this.node));
    this.#place.catch(() => (this.#place = undefined));
    return this.#place;
  }

  dispose() {
    this.stop();
    void this.#place?.then((place) => place.dispose(), () => {});
  }
}
