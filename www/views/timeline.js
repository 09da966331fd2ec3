// What was said in a room. Changes come as operations, and each touches the rows it is about and their neighbours.

import { el, fill, icon, setText } from "../lib/dom.js";
import { isShown } from "../lib/describe.js";
import { counted, dayLabel, sameDay } from "../lib/format.js";
import { toast } from "../lib/toast.js";
import { errorText } from "../lib/errors.js";
import { TimelineRow } from "./timeline-row.js";

/** @typedef {import("/pkg/index.js").TimelineItem} TimelineItem */
/** @typedef {import("/pkg/index.js").TimelineOp} TimelineOp */

const PAGE = 40;
const NEAR_BOTTOM_PX = 60;
const GROUP_MS = 5 * 60_000;

export class Timeline {
  /** @type {Map<string, TimelineRow>} */
  #rows = new Map();
  /** @type {WeakMap<Element, TimelineRow>} */
  #byNode = new WeakMap();
  #stuck = true;
  #unseen = 0;
  #loading = false;

  /** @param {import("./shell.js").Context} context @param {string} roomId */
  constructor(context, roomId) {
    this.context = context;
    this.roomId = roomId;
    this.list = el("ol.timeline", { testid: "timeline", role: "list" });
    this.top = el("div.timeline-top");
    this.log = el("div.log", { role: "log", "aria-live": "polite", "aria-relevant": "additions", "aria-label": "Messages" }, this.list);
    this.scroller = el("div.scroller", { tabindex: "0", "aria-label": "Messages", role: "group" }, this.top, this.log);
    this.pill = el("button.pill", { type: "button", testid: "new-messages", hidden: true, onclick: () => this.toBottom("smooth") });
    this.node = el("div.timeline-frame", {}, this.scroller, this.pill);
    this.#fill(context.client.timeline(roomId));
    this.#markFirstUnread();
    this.stops = this.#listen();
    this.#showTop();
  }

  #listen() {
    const { client } = this.context;
    const resized = new ResizeObserver(() => this.#stuck && this.#jumpToBottom());
    resized.observe(this.list);
    resized.observe(this.scroller);
    const atTop = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && void this.#scrollBack(), {
      root: this.scroller,
      rootMargin: "240px 0px 0px 0px",
    });
    atTop.observe(this.top);
    this.scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    const onLook = () => this.#markRead();
    addEventListener("focus", onLook);
    return [
      client.on("timeline", (roomId, ops) => roomId === this.roomId && this.#apply(ops)),
      client.on("members", (roomId, changed) => roomId === this.roomId && this.#rename(changed.map((member) => member.userId))),
      client.on("rooms", (changed) => changed.some((room) => room.roomId === this.roomId) && this.#showTop()),
      () => resized.disconnect(),
      () => atTop.disconnect(),
      () => removeEventListener("focus", onLook),
    ];
  }

  dispose() {
    for (const stop of this.stops) stop();
  }

  /** Shows the latest message and stays with what comes. @param {"smooth" | "instant"} [behavior] */
  toBottom(behavior = "instant") {
    this.#stuck = true;
    this.#unseen = 0;
    this.#showPill();
    this.scroller.scrollTo({ top: this.scroller.scrollHeight, behavior });
    this.#markRead();
  }

  /** @param {TimelineOp[]} ops */
  #apply(ops) {
    for (const op of ops) {
      switch (op.op) {
        case "append":
          this.#add(op.item, null);
          this.#count(op.item);
          break;
        case "prepend":
          this.#keepingPlace(() => this.#prepend(op.items));
          break;
        case "update":
          this.#update(op.item);
          break;
        case "remove":
          this.#remove(op.key);
          break;
        case "reset":
          this.#fill(op.items);
          break;
      }
    }
    if (this.#stuck) this.#jumpToBottom();
    this.#markRead();
  }

  /** @param {TimelineItem[]} items */
  #fill(items) {
    const wanted = new Set(items.map((item) => item.key));
    for (const key of [...this.#rows.keys()]) if (!wanted.has(key)) this.#remove(key);
    /** @type {Element | null} */
    let next = this.list.firstElementChild;
    for (const item of items) {
      const known = this.#rows.get(item.key);
      if (known && known.node === next) {
        next = next.nextElementSibling;
        this.#update(item);
      } else {
        this.#remove(item.key);
        this.#add(item, next);
      }
    }
  }

  /** @param {TimelineItem} item @param {Element | null} next */
  #add(item, next) {
    if (this.#rows.has(item.key) || !isShown(item)) return;
    const row = new TimelineRow(this.context, this.roomId, item);
    this.#rows.set(item.key, row);
    this.#byNode.set(row.node, row);
    this.list.insertBefore(row.node, next);
    this.#arrange(row.node);
    this.#arrange(row.node.previousElementSibling);
    this.#arrange(next);
  }

  /** @param {TimelineItem[]} items oldest first */
  #prepend(items) {
    const first = this.list.firstElementChild;
    for (const item of items) this.#add(item, first);
  }

  /** @param {TimelineItem} item */
  #update(item) {
    const row = this.#rows.get(item.key);
    if (!row) {
      return;
    }
    row.update(item);
    this.#arrange(row.node);
    this.#arrange(row.node.nextElementSibling);
  }

  /** @param {string} key */
  #remove(key) {
    const row = this.#rows.get(key);
    if (!row) return;
    const { previousElementSibling, nextElementSibling } = row.node;
    this.#rows.delete(key);
    row.node.remove();
    this.#arrange(previousElementSibling);
    this.#arrange(nextElementSibling);
  }

  /** What a row shows because of its neighbours: the day, and where a sender's run begins and ends. @param {Element | null} node */
  #arrange(node) {
    const row = node && this.#byNode.get(node);
    if (!row) return;
    const before = node.previousElementSibling && this.#byNode.get(node.previousElementSibling);
    const after = node.nextElementSibling && this.#byNode.get(node.nextElementSibling);
    const newDay = !before || !sameDay(before.item.ts, row.item.ts);
    row.arrange({
      day: newDay ? dayLabel(row.item.ts) : undefined,
      starts: newDay || !joins(before, row),
      ends: !after || !joins(row, after),
    });
  }

  /** @param {string[]} userIds */
  #rename(userIds) {
    const who = new Set(userIds);
    for (const row of this.#rows.values()) if (who.has(row.item.sender)) row.rename();
  }

  /** @param {TimelineItem} item */
  #count(item) {
    if (this.#stuck || item.sender === this.context.people.myId || !isShown(item)) return;
    this.#unseen += 1;
    this.#showPill();
  }

  #showPill() {
    this.pill.hidden = this.#unseen === 0 && this.#stuck;
    const label = this.#unseen > 0 ? counted(this.#unseen, "new message", "new messages") : "Latest";
    if (!this.pill.hidden) fill(this.pill, icon("down"), label);
  }

  /** @param {() => void} change that adds rows above what is looked at */
  #keepingPlace(change) {
    if (this.#stuck) {
      change();
      return;
    }
    const anchor = this.#firstVisible();
    const before = anchor?.getBoundingClientRect().top ?? 0;
    change();
    const moved = (anchor?.getBoundingClientRect().top ?? 0) - before;
    if (moved !== 0) this.scroller.scrollTop += moved;
  }

  #firstVisible() {
    const { top } = this.scroller.getBoundingClientRect();
    for (const node of this.list.children) if (node.getBoundingClientRect().bottom > top) return node;
    return undefined;
  }

  async #scrollBack() {
    if (this.#loading || !this.#room()?.canScrollBack) return;
    this.#loading = true;
    this.#showTop();
    let more = false;
    try {
      more = await this.context.client.scrollBack(this.roomId, PAGE);
    } catch (error) {
      toast(errorText(error), "error");
    } finally {
      this.#loading = false;
      this.#showTop();
    }
    if (more && this.top.getBoundingClientRect().bottom > this.scroller.getBoundingClientRect().top - 240) void this.#scrollBack();
  }

  #showTop() {
    const room = this.#room();
    this.top.classList.toggle("loading", this.#loading);
    if (this.#loading || room?.canScrollBack) setText(this.top, "Loading earlier messages…");
    else setText(this.top, room ? `This is where ${room.name} begins.` : "");
  }

  #onScroll() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    const stuck = scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX;
    if (stuck === this.#stuck) return;
    this.#stuck = stuck;
    if (stuck) {
      this.#unseen = 0;
      this.#markRead();
    }
    this.#showPill();
  }

  #jumpToBottom() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  #markRead() {
    if (this.#stuck && document.hasFocus() && (this.#room()?.unread ?? 0) > 0) this.context.client.markRead(this.roomId);
  }

  /** A line above the first message that was unread when the room was opened. */
  #markFirstUnread() {
    let left = this.#room()?.unread ?? 0;
    for (const row of left > 0 ? [...this.#rows.values()].reverse() : []) {
      if (row.isMessage && row.item.sender !== this.context.people.myId) left -= 1;
      if (left === 0) {
        row.node.classList.add("first-unread");
        return;
      }
    }
  }

  #room() {
    return this.context.client.rooms().find((room) => room.roomId === this.roomId);
  }
}

/** Whether two rows that follow each other belong to one run of a sender. @param {TimelineRow} one @param {TimelineRow} next */
function joins(one, next) {
  return (
    one.isMessage && next.isMessage && one.item.sender === next.item.sender &&
    Math.abs(next.item.ts - one.item.ts) < GROUP_MS && sameDay(one.item.ts, next.item.ts)
  );
}
