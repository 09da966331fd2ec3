// The last thing said in each room, kept from the timelines' changes.

import { isMessage, isShown } from "./describe.js";

/** @typedef {import("/pkg/index.js").TimelineItem} TimelineItem */

export class Previews {
  /** @param {import("/pkg/index.js").Client} client @param {(roomId: string) => void} onChange */
  constructor(client, onChange) {
    this.client = client;
    /** @type {Map<string, TimelineItem | undefined>} */
    this.last = new Map();
    this.stop = client.on("timeline", (roomId, ops) => {
      const before = this.last.get(roomId);
      for (const op of ops) this.#apply(roomId, op);
      if (this.last.get(roomId) !== before) onChange(roomId);
    });
  }

  /** @param {string} roomId */
  of(roomId) {
    if (!this.last.has(roomId)) this.last.set(roomId, lastMessage(this.client.timeline(roomId)));
    return this.last.get(roomId);
  }

  /** @param {string} roomId */
  forget(roomId) {
    this.last.delete(roomId);
  }

  /** @param {string} roomId @param {import("/pkg/index.js").TimelineOp} op */
  #apply(roomId, op) {
    const known = this.last.get(roomId);
    switch (op.op) {
      case "append":
        if (isSaid(op.item) && (op.before === undefined || !known)) this.last.set(roomId, op.item);
        break;
      case "update":
        if (known?.key === op.item.key) this.last.set(roomId, isSaid(op.item) ? op.item : this.#again(roomId));
        break;
      case "remove":
        if (known?.key === op.key) this.last.set(roomId, this.#again(roomId));
        break;
      case "prepend":
        if (!known) this.last.set(roomId, lastMessage(op.items));
        break;
      case "reset":
        this.last.set(roomId, lastMessage(op.items));
        break;
    }
  }

  /** @param {string} roomId */
  #again(roomId) {
    return lastMessage(this.client.timeline(roomId));
  }
}

/** @param {readonly TimelineItem[]} items */
function lastMessage(items) {
  return items.findLast(isSaid);
}

/** @param {TimelineItem} item */
function isSaid(item) {
  return isMessage(item) && !item.redacted && isShown(item);
}
