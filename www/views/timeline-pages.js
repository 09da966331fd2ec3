// The pages of a room's history that are under way: one in each direction, and none again after a failure by itself.

import { orToast } from "../lib/toast.js";

/** @typedef {"back" | "forward"} Way */

export class TimelinePages {
  /** @type {Set<Way>} */
  #loading = new Set();
  /** The ways in which none came: until somebody goes on by hand, or the server is back. @type {Set<Way>} */
  #failed = new Set();

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
  }

  /** @param {Way} way */
  isLoading(way) {
    return this.#loading.has(way);
  }

  /** Whether there is more; nothing where that was not to be learned. @param {Way} way @param {() => Promise<boolean>} page */
  async load(way, page) {
    if (this.#loading.has(way) || this.#failed.has(way)) return undefined;
    this.#loading.add(way);
    this.onChange();
    /** @type {boolean | undefined} */
    let more;
    if (!(await orToast(async () => (more = await page())))) this.#failed.add(way);
    this.#loading.delete(way);
    this.onChange();
    return more;
  }

  /** Forgets failures; whether there was one. */
  forgive() {
    const hadFailed = this.#failed.size > 0;
    this.#failed.clear();
    return hadFailed;
  }
}
