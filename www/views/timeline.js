// What was said in a room: where one looks at it, staying with the latest, and scrolling back.

import { el, fill, icon, setText } from "../lib/dom.js";
import { editOf, isShown } from "../lib/describe.js";
import { counted } from "../lib/format.js";
import { roving } from "../lib/roving.js";
import { orToast } from "../lib/toast.js";
import { TimelineRows } from "./timeline-rows.js";

/** @typedef {import("/pkg/index.js").TimelineItem} TimelineItem */
/** @typedef {import("/pkg/index.js").TimelineOp} TimelineOp */

const PAGE = 40;
const NEAR_BOTTOM_PX = 60;
const AHEAD_PX = 240;

export class Timeline {
  #stuck = true;
  #unseen = 0;
  /** Where the last scroll event found the scroller. */
  #seen = { scrollTop: 0, scrollHeight: 0 };
  #loading = false;

  /** @param {import("./shell.js").Context} context @param {string} roomId */
  constructor(context, roomId) {
    this.context = context;
    this.roomId = roomId;
    this.rows = new TimelineRows(context, roomId);
    this.top = el("p.timeline-top", { testid: "timeline-top" });
    this.log = el("div.log", { role: "log", "aria-live": "polite", "aria-relevant": "additions", "aria-label": "Messages" }, this.rows.node);
    this.scroller = el("div.scroller", {}, this.top, this.log);
    this.pill = el("button.pill", { type: "button", testid: "new-messages", hidden: true, onclick: () => this.toBottom("smooth") });
    this.node = el("div.timeline-frame", {}, this.scroller, this.pill);
    this.rows.nthLatestOfOthers(this.#room()?.unread || -1)?.node.classList.add("first-unread");
    this.refreshRoving = roving(this.rows.node, ".line", "last");
    this.refreshRoving();
    this.stops = this.#listen();
    this.#showTop();
    this.#markRead();
  }

  #listen() {
    const { client } = this.context;
    const resized = new ResizeObserver(() => this.#stuck && this.#jumpToBottom());
    resized.observe(this.rows.node);
    resized.observe(this.scroller);
    const atTop = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && void this.#scrollBack(), {
      root: this.scroller,
      rootMargin: `${AHEAD_PX}px 0px 0px 0px`,
    });
    atTop.observe(this.top);
    this.scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    const onLook = () => this.#markRead();
    addEventListener("focus", onLook);
    return [
      client.on("timeline", (roomId, ops) => roomId === this.roomId && this.#apply(ops)),
      client.on("members", (roomId, changed) => roomId === this.roomId && this.rows.rename(changed.map((member) => member.userId))),
      client.on("rooms", (changed) => {
        if (changed.some((room) => room.roomId === this.roomId)) this.#onRoom();
      }),
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
      if (op.op === "prepend") this.#keepingPlace(() => this.rows.apply(op));
      else this.rows.apply(op);
      if (op.op === "append") this.#count(op.item);
    }
    if (this.#stuck) this.rows.trim();
    this.refreshRoving();
    this.#markRead();
  }

  #onRoom() {
    this.#showTop();
    this.#markRead();
  }

  /** @param {TimelineItem} item */
  #count(item) {
    if (this.#stuck || item.sender === this.context.people.myId || !isShown(item) || editOf(item)) return;
    this.#unseen += 1;
    this.#showPill();
  }

  #showPill() {
    this.pill.hidden = this.#stuck;
    const label = this.#unseen > 0 ? counted(this.#unseen, "new message", "new messages") : "Latest";
    if (!this.pill.hidden) fill(this.pill, icon("down"), label);
  }

  /** @param {() => void} change that adds rows above what is looked at */
  #keepingPlace(change) {
    const anchor = this.#stuck ? undefined : this.#firstVisible();
    const before = anchor?.getBoundingClientRect().top ?? 0;
    change();
    const moved = (anchor?.getBoundingClientRect().top ?? 0) - before;
    if (moved !== 0) this.scroller.scrollTop += moved;
  }

  #firstVisible() {
    const { top } = this.scroller.getBoundingClientRect();
    for (const node of this.rows.node.children) if (node.getBoundingClientRect().bottom > top) return node;
    return undefined;
  }

  async #scrollBack() {
    if (this.#loading) return;
    if (this.rows.hasOlder) {
      this.#keepingPlace(() => this.rows.reveal());
      if (this.#isTopNear()) requestAnimationFrame(() => this.node.isConnected && void this.#scrollBack());
      return;
    }
    if (!this.#room()?.canScrollBack) return;
    this.#loading = true;
    this.#showTop();
    let more = false;
    await orToast(async () => {
      more = await this.context.client.scrollBack(this.roomId, PAGE);
    });
    this.#loading = false;
    this.#showTop();
    if (more && this.node.isConnected && this.#isTopNear()) void this.#scrollBack();
  }

  #isTopNear() {
    return this.top.getBoundingClientRect().bottom > this.scroller.getBoundingClientRect().top - AHEAD_PX;
  }

  #showTop() {
    const room = this.#room();
    this.top.classList.toggle("loading", this.#loading);
    if (this.#loading || room?.canScrollBack || this.rows.hasOlder) setText(this.top, "Loading earlier messages…");
    else setText(this.top, room ? `This is where ${room.name} begins.` : "");
  }

  #onScroll() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    // The observer of the top says nothing when one leaves it and is back before the next frame.
    if (scrollTop < AHEAD_PX) void this.#scrollBack();
    // An event can come late, when more has been added below meanwhile: only who goes upwards leaves the bottom.
    const wentUp = scrollTop < this.#seen.scrollTop && scrollHeight >= this.#seen.scrollHeight;
    const stuck = scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX || (this.#stuck && !wentUp);
    this.#seen = { scrollTop, scrollHeight };
    // The observer is not told of a top that came back within one frame.
    if (this.#isTopNear()) void this.#scrollBack();
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

  #room() {
    return this.context.rooms.get(this.roomId);
  }
}
