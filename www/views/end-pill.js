// The way to the end, shown to who looks elsewhere: with how much is new there, which the server tells a while after it came.

import { isMessage, isShown } from "../lib/describe.js";
import { el, fill, icon } from "../lib/dom.js";
import { counted } from "../lib/format.js";

/** How long what came is counted before the server has told: it counts not everything. */
const UNTOLD_MS = 5_000;

export class EndPill {
  /** How much the server has told to be unread. */
  #told;
  /** How much has come since, less than nothing where what is told comes just before it. */
  #untold = 0;
  #isAtEnd = true;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #waiting;

  /** @param {import("./talk.js").Talk} talk @param {() => void} onclick */
  constructor(talk, onclick) {
    this.talk = talk;
    this.#told = this.#unread();
    this.node = el("button.pill", { type: "button", testid: "new-messages", hidden: true, onclick });
  }

  #unread() {
    return this.talk.room?.unread ?? 0;
  }

  /** Something was added at the end. @param {import("/pkg/index.js").TimelineItem} item */
  handleItem(item) {
    if (this.#isAtEnd || item.sender === this.talk.me || !isMessage(item) || !isShown(item) || item.content?.msgtype === "m.notice") return;
    this.#untold += 1;
    clearTimeout(this.#waiting);
    this.#waiting = setTimeout(() => this.#forget(), UNTOLD_MS);
    this.show();
  }

  /** The server may have told. */
  handleRoom() {
    const more = this.#unread() - this.#told;
    this.#told += more;
    if (more < 0) this.#untold = 0;
    else this.#untold -= more;
    queueMicrotask(() => {
      this.#untold = Math.max(0, this.#untold);
      this.show();
    });
  }

  show(isAtEnd = this.#isAtEnd) {
    this.#isAtEnd = isAtEnd;
    this.node.hidden = isAtEnd;
    if (isAtEnd) this.#untold = 0;
    const count = this.#told + Math.max(0, this.#untold);
    const label = count > 0 ? counted(count, "new message", "new messages") : "Latest";
    if (!isAtEnd && this.node.textContent !== label) fill(this.node, icon("down"), label);
  }

  #forget() {
    this.#untold = 0;
    this.show();
  }

  dispose() {
    clearTimeout(this.#waiting);
  }
}
