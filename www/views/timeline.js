// What was said in a room: where one looks at it, staying with the latest, and going through its past in both directions.

import { applyTimeline } from "../pkg/index.js";
import { el, fill, icon, setText } from "../lib/dom.js";
import { isShown } from "../lib/describe.js";
import { counted } from "../lib/format.js";
import { roving } from "../lib/roving.js";
import { receiptsArePrivate } from "../lib/settings.js";
import { orToast, toast } from "../lib/toast.js";
import { createMessageMenu } from "./message-menu.js";
import { TimelineRows } from "./timeline-rows.js";

/** @typedef {import("/pkg/index.js").TimelineItem} TimelineItem */
/** @typedef {import("/pkg/index.js").TimelineOp} TimelineOp */

const PAGE = 40;
const NEAR_BOTTOM_PX = 60;
const AHEAD_PX = 240;
const FLASH_MS = 1_800;

export class Timeline {
  #stuck = true;
  #unseen = 0;
  /** Where the last scroll event found the scroller. */
  #seen = { scrollTop: 0, scrollHeight: 0 };
  #loading = false;
  /** Whether the rows are those of a stretch of the past, and not of the live timeline. */
  #inPast = false;
  /** That stretch, before it is shown. @type {TimelineItem[]} */
  #past = [];
  #isReadLineSet = false;

  /** @param {import("./talk.js").Talk} talk */
  constructor(talk) {
    const { context, roomId } = talk;
    this.talk = talk;
    this.context = context;
    this.roomId = roomId;
    this.rows = new TimelineRows(talk);
    talk.find = (eventId) => this.rows.find(eventId);
    talk.onJump = (eventId) => void this.jump(eventId);
    const menu = createMessageMenu(talk);
    talk.onMenu = (item, anchor) => menu.open(item, anchor);
    this.rows.reset(context.client.timeline(roomId));
    this.top = el("p.timeline-top", { testid: "timeline-top" });
    this.log = el("div.log", { role: "log", "aria-live": "polite", "aria-relevant": "additions", "aria-label": "Messages" }, this.rows.node);
    this.scroller = el("div.scroller", {}, this.top, this.log);
    this.pill = el("button.pill", { type: "button", testid: "new-messages", hidden: true, onclick: () => this.toBottom("smooth") });
    this.node = el("div.timeline-frame", {}, this.scroller, this.pill, menu.node);
    this.refreshRoving = roving(this.rows.node, ".line", "last");
    this.refreshRoving();
    this.stops = this.#listen();
    this.#showReadLine();
    this.#showReaders();
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
    this.rows.node.addEventListener("keydown", (event) => this.#onKey(event));
    const onLook = () => this.#markRead();
    addEventListener("focus", onLook);
    document.addEventListener("visibilitychange", onLook);
    return [
      client.on("timeline", (roomId, ops) => roomId === this.roomId && this.#onTimeline(ops)),
      client.on("past", (roomId, ops) => roomId === this.roomId && this.#onPast(ops)),
      client.on("members", (roomId, changed) => {
        if (roomId !== this.roomId) return;
        this.rows.rename(changed.map((member) => member.userId));
        this.#showReadLine();
        this.rows.showReaders(changed);
      }),
      client.on("rooms", (changed) => {
        if (changed.some((room) => room.roomId === this.roomId)) this.#onRoom();
      }),
      () => resized.disconnect(),
      () => atTop.disconnect(),
      () => removeEventListener("focus", onLook),
      () => document.removeEventListener("visibilitychange", onLook),
      () => this.#inPast && void client.jump(this.roomId).catch(() => {}),
    ];
  }

  dispose() {
    for (const stop of this.stops) stop();
  }

  /** Shows the latest message and stays with what comes. @param {"smooth" | "instant"} [behavior] */
  toBottom(behavior = "instant") {
    const far = this.#inPast || this.rows.hasNewer;
    if (far) this.#showLive();
    this.#stuck = true;
    this.#unseen = 0;
    this.#showPill();
    this.scroller.scrollTo({ top: this.scroller.scrollHeight, behavior: far ? "instant" : behavior });
    this.#markRead();
  }

  /** Goes to an event, wherever in the room's past it is. @param {string} eventId */
  async jump(eventId) {
    const { client } = this.context;
    let row = this.rows.bring(eventId);
    if (!row) {
      /** @type {"live" | "past" | undefined} */
      let where;
      this.#past = [];
      if (!(await orToast(async () => (where = await client.jump(this.roomId, eventId)), { M_NOT_FOUND: "That message is not available." })) || !this.node.isConnected) return;
      this.#inPast = where === "past";
      this.rows.reset(this.#inPast ? this.#past : client.timeline(this.roomId), eventId);
      row = this.rows.bring(eventId);
      this.#changed();
    }
    if (!row) {
      toast("That message is not shown here.");
      return;
    }
    this.#stuck = false;
    row.node.scrollIntoView({ block: "center" });
    this.#seen = { scrollTop: this.scroller.scrollTop, scrollHeight: this.scroller.scrollHeight };
    row.node.classList.add("flash");
    setTimeout(() => row.node.classList.remove("flash"), FLASH_MS);
    this.refreshRoving();
    /** @type {HTMLElement | null} */ (row.node.querySelector(".line"))?.focus({ preventScroll: true });
    this.#showTop();
    this.#showPill();
  }

  /** Leaves the past. */
  #showLive() {
    const { client } = this.context;
    if (this.#inPast) void client.jump(this.roomId).catch(() => {});
    this.#inPast = false;
    this.rows.reset(client.timeline(this.roomId));
    this.#changed();
  }

  /** @param {TimelineOp[]} ops */
  #onTimeline(ops) {
    for (const op of ops) if (op.op === "append") this.#count(op.item);
    if (!this.#inPast) this.#apply(ops);
  }

  /** @param {TimelineOp[]} ops */
  #onPast(ops) {
    const [first] = ops;
    if (!this.#inPast) {
      this.#past = applyTimeline(this.#past, ops);
    } else if (first.op === "reset" && first.items.length === 0) {
      // It has become a part of the timeline.
      this.#inPast = false;
      this.#keepingPlace(() => this.rows.rebase(this.context.client.timeline(this.roomId)));
      this.#changed();
    } else {
      this.#apply(ops);
    }
  }

  /** @param {TimelineOp[]} ops */
  #apply(ops) {
    const near = ops.some(({ op }) => op === "prepend") && !this.rows.hasOlder;
    this.#keepingPlace(() => {
      this.rows.apply(ops);
      if (near) this.rows.revealOlder();
      if (this.#stuck) this.rows.trim();
    });
    this.#changed();
  }

  #changed() {
    this.refreshRoving();
    this.#showReadLine();
    this.#showReaders();
    this.#showTop();
    this.#showPill();
    this.#markRead();
  }

  #onRoom() {
    this.#showTop();
    this.#markRead();
  }

  /** Where what is new began when the room was opened. */
  #showReadLine() {
    if (this.#isReadLineSet) return;
    const unread = this.#room()?.unread ?? 0;
    if (unread === 0) return;
    const upTo = this.talk.member(this.talk.me)?.readUpTo;
    this.#isReadLineSet = upTo !== undefined && this.rows.markUnreadAfter(upTo);
    if (this.#isReadLineSet) return;
    const row = this.rows.nthLatestOfOthers(unread);
    row?.node.classList.add("first-unread");
    this.#isReadLineSet = row !== undefined;
  }

  #showReaders() {
    this.rows.showReaders(this.context.people.members(this.roomId));
  }

  /** @param {TimelineItem} item */
  #count(item) {
    if ((this.#stuck && !this.#inPast) || item.sender === this.talk.me || !isShown(item)) return;
    this.#unseen += 1;
    this.#showPill();
  }

  #showPill() {
    this.pill.hidden = this.#stuck && !this.#inPast && !this.rows.hasNewer;
    const label = this.#unseen > 0 ? counted(this.#unseen, "new message", "new messages") : "Latest";
    if (!this.pill.hidden && this.pill.textContent !== label) fill(this.pill, icon("down"), label);
  }

  /** @param {() => void} change that adds or takes rows somewhere else than where one looks */
  #keepingPlace(change) {
    const anchors = this.#stuck ? [] : this.#visible();
    const places = anchors.map((node) => node.getBoundingClientRect().top);
    change();
    const at = anchors.findIndex((node) => node.isConnected);
    if (at < 0) return;
    const moved = anchors[at].getBoundingClientRect().top - places[at];
    if (Math.abs(moved) > 0.5) this.scroller.scrollTop += moved;
  }

  /** The rows that are looked at. */
  #visible() {
    const { top, bottom } = this.scroller.getBoundingClientRect();
    return [...this.rows.node.children].filter((node) => {
      const box = node.getBoundingClientRect();
      return box.height > 0 && box.bottom > top && box.top < bottom;
    });
  }

  async #scrollBack() {
    const { client } = this.context;
    const page = this.#inPast ? () => client.scrollPast(this.roomId, "back", PAGE) : () => client.scrollBack(this.roomId, PAGE);
    if (this.#loading) return;
    if (this.rows.hasOlder) {
      this.#keepingPlace(() => this.rows.revealOlder());
      this.#changed();
      if (this.#isTopNear()) requestAnimationFrame(() => this.node.isConnected && void this.#scrollBack());
      return;
    }
    if (!this.#inPast && !this.#room()?.canScrollBack) return;
    if (await this.#load(page) && this.node.isConnected && this.#isTopNear()) void this.#scrollBack();
  }

  async #scrollForward() {
    if (this.rows.hasNewer) {
      this.#keepingPlace(() => this.rows.revealNewer());
      this.#changed();
      return;
    }
    if (!this.#inPast || this.#loading) return;
    const { client } = this.context;
    if (await this.#load(() => client.scrollPast(this.roomId, "forward", PAGE)) && this.node.isConnected && this.#isBottomNear()) void this.#scrollForward();
  }

  /** Whether there is more. @param {() => Promise<boolean>} page */
  async #load(page) {
    this.#loading = true;
    this.#showTop();
    let more = false;
    await orToast(async () => {
      more = await page();
    });
    this.#loading = false;
    this.#showTop();
    return more;
  }

  #isTopNear() {
    return this.top.getBoundingClientRect().bottom > this.scroller.getBoundingClientRect().top - AHEAD_PX;
  }

  #isBottomNear() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < AHEAD_PX;
  }

  #showTop() {
    const room = this.#room();
    this.top.classList.toggle("loading", this.#loading);
    if (this.#loading || this.#inPast || room?.canScrollBack || this.rows.hasOlder) setText(this.top, "Loading earlier messages…");
    else setText(this.top, room ? `This is where ${room.name} begins.` : "");
  }

  #onScroll() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    // The observer of the top says nothing when one leaves it and is back before the next frame.
    if (scrollTop < AHEAD_PX || this.#isTopNear()) void this.#scrollBack();
    const isEnd = !this.#inPast && !this.rows.hasNewer;
    if (!isEnd && scrollTop > this.#seen.scrollTop && this.#isBottomNear()) void this.#scrollForward();
    // An event can come late, when more has been added below meanwhile: only who goes upwards leaves the bottom.
    const wentUp = scrollTop < this.#seen.scrollTop && scrollHeight >= this.#seen.scrollHeight;
    const stuck = isEnd && (scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX || (this.#stuck && !wentUp));
    this.#seen = { scrollTop, scrollHeight };
    if (stuck !== this.#stuck) {
      this.#stuck = stuck;
      if (stuck) this.#unseen = 0;
      this.#showPill();
    }
    this.#markRead();
  }

  /** Enter or the context-menu key on a message opens what can be done with it. @param {KeyboardEvent} event */
  #onKey(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.key === "Escape" && !target.matches(".line")) {
      /** @type {HTMLElement | null} */ (target.closest(".line"))?.focus();
      return;
    }
    const isOpening = event.key === "Enter" || event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey);
    if (!isOpening || !target.matches(".line")) return;
    const row = this.rows.at(/** @type {Element} */ (target.closest(".row")));
    if (!row || row.item.redacted) return;
    event.preventDefault();
    this.talk.onMenu(row.item, target);
  }

  #jumpToBottom() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  /** Tells how far I have read: up to the last message that is seen by somebody who looks. */
  #markRead() {
    if (this.#inPast || !document.hasFocus() || document.visibilityState !== "visible") return;
    const { client } = this.context;
    const isPrivate = receiptsArePrivate();
    if (this.#stuck && !this.rows.hasNewer) {
      const last = this.rows.findLast((item) => item.echo === "placed");
      if (last && (last.sender !== this.talk.me || (this.#room()?.unread ?? 0) > 0)) client.markRead(this.roomId, undefined, isPrivate);
      return;
    }
    if (!this.#stuck) this.#markSeen(isPrivate);
  }

  /** @param {boolean} isPrivate */
  #markSeen(isPrivate) {
    const { bottom } = this.scroller.getBoundingClientRect();
    const seen = this.#visible().findLast((node) => node.getBoundingClientRect().bottom <= bottom + 1);
    const item = seen && this.rows.at(seen)?.item;
    if (item?.eventId !== undefined && item.echo === "placed") this.context.client.markRead(this.roomId, item.eventId, isPrivate);
  }

  #room() {
    return this.context.rooms.get(this.roomId);
  }
}
