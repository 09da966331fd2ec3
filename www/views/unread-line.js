// The line before what is new: where that began when the room was opened, and where somebody looked elsewhere since.

import { isMessage, isShown } from "../lib/describe.js";

/** @typedef {import("/pkg/index.js").TimelineItem} TimelineItem */

export class UnreadLine {
  /** What was new when the room was opened, until the line is drawn. @type {{ upTo: string | undefined, unread: number } | undefined} */
  #atFirst;
  /** Whether somebody has looked at the end since it was drawn: what comes while they do not is new. */
  #isOld = true;

  /** @param {import("./talk.js").Talk} talk @param {import("./timeline-rows.js").TimelineRows} rows */
  constructor(talk, rows) {
    this.talk = talk;
    this.rows = rows;
    const unread = talk.room?.unread ?? 0;
    if (unread > 0) this.#atFirst = { upTo: this.#readUpTo(), unread };
  }

  #readUpTo() {
    return this.talk.member(this.talk.me)?.readUpTo;
  }

  /** Draws it as soon as what it stands before is at hand. */
  show() {
    if (!this.#atFirst) return;
    const { upTo = this.#readUpTo(), unread } = this.#atFirst;
    if ((upTo !== undefined && this.rows.markUnreadAfter(upTo)) || this.rows.markUnreadOfOthers(unread)) this.#atFirst = undefined;
  }

  /** Something was added at the end. @param {TimelineItem} item @param {boolean} isSeen whether somebody looks at it */
  handleItem(item, isSeen) {
    if (item.sender === this.talk.me || !isMessage(item) || !isShown(item)) return;
    if (this.#atFirst) {
      this.#atFirst.unread += 1;
    } else if (this.#isOld && !isSeen) {
      this.#isOld = false;
      this.rows.markUnread(item.key);
    }
  }

  /** Somebody looks at the end. */
  handleSeen() {
    this.#isOld = true;
  }
}
