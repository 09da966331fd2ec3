// Files on their way to the server, one after the other; each becomes a message when it is there. They go on while another
// room is looked at, and are gone with the page.

import { describeFile } from "./attachments.js";
import { errorText } from "./errors.js";
import { media } from "./media.js";

/** @typedef {import("/pkg/index.js").Client} Client */
/** @typedef {import("/pkg/index.js").TimelineItem} TimelineItem */
/** @typedef {{ text: string, mentions: import("./markdown.js").Mention[], content?: { body: string }, replyTo?: TimelineItem }} Note what is said with files: as it was typed, and as it is sent */
/** @typedef {{ id: number, batch: number, roomId: string, file: File, note?: Note, state: "waiting" | "sending" | "failed", sent: number, uri?: string, problem?: string, isOffline: boolean, abort: AbortController }} Upload */

/** The most files that wait. */
export const MOST_UPLOADS = 100;

/** @type {Record<string, string>} */
const WORDS = {
  M_TOO_LARGE: "The server does not take files as large as this.",
  NETWORK: "No connection: it goes on when the server is back.",
  NOT_IN_ROOM: "You are not in this room any more.",
  ENCRYPTED_ROOM: "The room is encrypted, and this client sends nothing there.",
};

export class Outbox {
  /** @type {Upload[]} */
  #uploads = [];
  /** @type {Set<() => void>} */
  #listeners = new Set();
  #last = 0;
  #isRunning = false;
  /** @type {Promise<number | undefined> | undefined} */
  #limit;

  /** @param {Client} client */
  constructor(client) {
    this.client = client;
    const stop = client.on("connection", (connection) => {
      if (connection === "online") for (const one of this.#uploads) if (one.isOffline) this.retry(one.id);
    });
    const warn = (/** @type {Event} */ event) => this.#uploads.some((one) => one.state !== "failed") && event.preventDefault();
    addEventListener("beforeunload", warn);
    this.dispose = () => {
      stop();
      removeEventListener("beforeunload", warn);
      for (const one of [...this.#uploads]) this.cancel(one.id);
    };
  }

  /** @param {string} roomId */
  of(roomId) {
    return this.#uploads.filter((one) => one.roomId === roomId);
  }

  /** Those that wait to be tried again, or given up. */
  failed() {
    return this.#uploads.filter((one) => one.state === "failed");
  }

  /** Calls back whenever something changes; the returned function stops that. @param {() => void} listener */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** How large a file may be, in bytes, where the server says. @returns {Promise<number | undefined>} */
  limit() {
    this.#limit ??= this.client.uploadLimit().catch(() => {
      this.#limit = undefined;
      return undefined;
    });
    return this.#limit;
  }

  /** Sends files; the note goes with the first of them. @param {string} roomId @param {File[]} files @param {Note} [note] */
  add(roomId, files, note) {
    const batch = this.#last + 1;
    for (const [at, file] of files.entries()) {
      this.#last += 1;
      this.#uploads.push({ id: this.#last, batch, roomId, file, note: at === 0 ? note : undefined, state: "waiting", sent: 0, isOffline: false, abort: new AbortController() });
    }
    this.#changed();
    void this.#run();
  }

  /** @param {number} id */
  retry(id) {
    const one = this.#uploads.find((upload) => upload.id === id);
    if (one?.state !== "failed") return;
    Object.assign(one, { state: "waiting", sent: 0, problem: undefined, isOffline: false });
    this.#changed();
    void this.#run();
  }

  /** Takes a file back. What was said with it goes with the next that was sent together with it; where there is none, it is returned. @param {number} id */
  cancel(id) {
    const at = this.#uploads.findIndex((upload) => upload.id === id);
    if (at < 0) return undefined;
    const [one] = this.#uploads.splice(at, 1);
    one.abort.abort();
    const heir = this.#uploads.find(({ batch }) => batch === one.batch);
    if (heir) heir.note ??= one.note;
    this.#changed();
    return heir ? undefined : one.note;
  }

  async #run() {
    if (this.#isRunning) return;
    this.#isRunning = true;
    for (let next; (next = this.#uploads.find((one) => one.state === "waiting")); ) await this.#send(next);
    this.#isRunning = false;
  }

  /** @param {Upload} one */
  async #send(one) {
    one.state = "sending";
    this.#changed();
    const { signal } = one.abort;
    const onProgress = (/** @type {number} */ sent) => {
      one.sent = sent;
      this.#changed();
    };
    try {
      const { msgtype, filename, info } = await describeFile(one.file);
      one.uri ??= await this.client.upload(one.file, { name: filename, onProgress, signal });
      if (signal.aborted) return;
      media()?.remember(one.uri, one.file);
      const content = { ...(one.note?.content ?? { body: filename }), msgtype, filename, url: one.uri, info };
      if (one.note?.replyTo) this.client.reply(one.roomId, one.note.replyTo, content);
      else this.client.send(one.roomId, "m.room.message", content);
      this.#uploads.splice(this.#uploads.indexOf(one), 1);
    } catch (error) {
      if (signal.aborted) return;
      const { code } = /** @type {{ code?: string }} */ (error);
      Object.assign(one, { state: "failed", problem: errorText(error, WORDS), isOffline: code === "NETWORK" });
    }
    this.#changed();
  }

  #changed() {
    for (const listener of this.#listeners) listener();
  }
}
