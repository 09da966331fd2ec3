// What was said in a room: where one looks at it, staying with the latest, and going through its past in both directions.

import { applyTimeline } from "../pkg/index.js";
import { el, setText } from "../lib/dom.js";
import { roving } from "../lib/roving.js";
import { receiptsArePrivate } from "../lib/settings.js";
import { orToast, toast } from "../lib/toast.js";
import { EndPill } from "./end-pill.js";
import { createMessageMenu } from "./message-menu.js";
import { TimelinePages } from "./timeline-pages.js";
import { TimelineRows } from "./timeline-rows.js";
import { UnreadLine } from "./unread-line.js";

/** @typedef {import("/pkg/index.js").TimelineItem} TimelineItem */
/** @typedef {import("/pkg/index.js").TimelineOp} TimelineOp */

const PAGE = 40;
const NEAR_BOTTOM_PX = 60;
const AHEAD_PX = 240;
const FLASH_MS = 1_800;
/** How long after the last scrolling the address says where one is. */
const NOTE_MS = 300;

/** @typedef {{ eventId: string, top?: number }} Place an event, in the middle and pointed out, or where it was on the screen */

export class Timeline {
  #stuck = true;
  /** Where the scroller was left last, by a scroll event or by itself, and how far it could go. */
  #seen = { scrollTop: 0, end: 0 };
  /** Whether the rows are those of a stretch of the past, and not of the live timeline. */
  #inPast = false;
  /** That stretch, as the client has it. @type {TimelineItem[]} */
  #past = [];
  /** Whether it begins with the room. */
  #pastBegins = false;
  /** Where to go; the last wish is the one that counts. @type {Place | undefined} */
  #wanted;
  #isGoing = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #noting;

  /** @param {import("./talk.js").Talk} talk @param {(eventId: string | undefined) => void} onPlace told which event of the past one is at, or none */
  constructor(talk, onPlace) {
    const { context, roomId } = talk;
    this.talk = talk;
    this.context = context;
    this.roomId = roomId;
    this.onPlace = onPlace;
    this.rows = new TimelineRows(talk);
    this.pages = new TimelinePages(() => this.#showTop());
    talk.find = (eventId) => this.rows.find(eventId);
    talk.onJump = (eventId) => void this.jump(eventId);
    const menu = createMessageMenu(talk);
    talk.onMenu = (item, anchor) => menu.open(item, anchor);
    this.rows.reset(context.client.timeline(roomId));
    this.unreadLine = new UnreadLine(talk, this.rows);
    this.top = el("p.timeline-top", { testid: "timeline-top" });
    this.log = el("div.log", { role: "log", "aria-live": "polite", "aria-relevant": "additions", "aria-label": "Messages" }, this.rows.node);
    this.scroller = el("div.scroller", {}, this.top, this.log);
    this.pill = new EndPill(talk, () => this.toBottom("smooth"));
    this.node = el("div.timeline-frame", {}, this.scroller, this.pill.node, menu.node);
    this.refreshRoving = roving(this.rows.node, ".line", "last");
    this.refreshRoving();
    this.stops = this.#listen();
    this.unreadLine.show();
    this.#showReaders();
    this.#showTop();
    this.#markRead();
  }

  #listen() {
    const { client } = this.context;
    const resized = new ResizeObserver(() => this.#stuck && this.#jumpToBottom());
    resized.observe(this.rows.node);
    resized.observe(this.scroller);
    const atTop = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && this.#fill(), {
      root: this.scroller,
      rootMargin: `${AHEAD_PX}px 0px 0px 0px`,
    });
    atTop.observe(this.top);
    this.scroller.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    // At an end there is nothing to scroll, but to go on by.
    for (const way of ["wheel", "touchmove", "keydown"]) this.scroller.addEventListener(way, () => this.#tryAgain(), { passive: true });
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
        this.unreadLine.show();
        this.rows.showReaders(changed);
      }),
      client.on("rooms", (changed) => {
        if (changed.some((room) => room.roomId === this.roomId)) this.#onRoom();
      }),
      client.on("connection", (state) => state === "online" && this.#tryAgain()),
      () => resized.disconnect(),
      () => atTop.disconnect(),
      () => removeEventListener("focus", onLook),
      () => document.removeEventListener("visibilitychange", onLook),
      () => clearTimeout(this.#noting),
      () => this.pill.dispose(),
      () => this.#past.length > 0 && void client.jump(this.roomId).catch(() => {}),
    ];
  }

  dispose() {
    for (const stop of this.stops) stop();
  }

  /** Shows the latest message and stays with what comes. @param {"smooth" | "instant"} [behavior] */
  toBottom(behavior = "instant") {
    this.#wanted = undefined;
    const far = this.#inPast || this.rows.hasNewer;
    if (far) this.#showLive();
    this.#stuck = true;
    this.#showPill();
    this.scroller.scrollTo({ top: this.scroller.scrollHeight, behavior: far ? "instant" : behavior });
    this.#markRead();
  }

  /** Goes to an event, wherever in the room's past it is. @param {string} eventId */
  jump(eventId) {
    return this.#goTo({ eventId });
  }

  /** @param {Place} place */
  async #goTo(place) {
    this.#wanted = place;
    if (this.#isGoing) return;
    this.#isGoing = true;
    while (this.#wanted) {
      /** @type {Place} */
      const next = this.#wanted;
      await this.#show(next);
      if (this.#wanted === next) this.#wanted = undefined;
    }
    this.#isGoing = false;
    this.#fill();
    this.#markRead();
  }

  /** @param {Place} place */
  async #show(place) {
    const { client } = this.context;
    const { eventId, top } = place;
    let row = this.rows.bring(eventId);
    if (!row) {
      /** @type {"live" | "past" | undefined} */
      let where;
      if (!(await orToast(async () => (where = await client.jump(this.roomId, eventId)), { M_NOT_FOUND: "That message is not available." })) || !this.node.isConnected) return;
      if (this.#wanted !== place) {
        if (!this.#wanted && !this.#inPast) void client.jump(this.roomId).catch(() => {});
        return;
      }
      this.#setPast(where === "past");
      this.rows.reset(this.#inPast ? [...this.#past] : client.timeline(this.roomId), eventId);
      row = this.rows.bring(eventId);
      this.#changed();
    }
    if (!row) {
      toast("That message is not shown here.");
      return;
    }
    this.#stuck = false;
    if (top === undefined) this.#pointOut(row);
    else this.scroller.scrollTop += row.node.getBoundingClientRect().top - top;
    this.#seen = this.#position();
    this.#showTop();
    this.#showPill();
    this.#notePlace();
  }

  /** @param {import("./timeline-row.js").TimelineRow} row */
  #pointOut({ node }) {
    node.scrollIntoView({ block: "center" });
    node.classList.add("flash");
    setTimeout(() => node.classList.remove("flash"), FLASH_MS);
    this.refreshRoving();
    /** @type {HTMLElement | null} */ (node.querySelector(".line"))?.focus({ preventScroll: true });
  }

  /** @param {boolean} inPast */
  #setPast(inPast) {
    this.#inPast = inPast;
    this.talk.inPast = inPast;
    this.#pastBegins = false;
    this.pages.forgive();
  }

  /** Leaves the past. */
  #showLive() {
    const { client } = this.context;
    const wasInPast = this.#inPast;
    this.#setPast(false);
    if (wasInPast) void client.jump(this.roomId).catch(() => {});
    this.rows.reset(client.timeline(this.roomId));
    this.#changed();
    this.#notePlace();
  }

  /** @param {TimelineOp[]} ops */
  #onTimeline(ops) {
    for (const op of ops) {
      if (op.op !== "append") continue;
      this.unreadLine.handleItem(op.item, this.#isLookedAt() && this.#isAtEnd());
      this.pill.handleItem(op.item);
    }
    if (!this.#inPast) this.#apply(ops);
    // What the last page may have missed has come.
    else if (this.#isBottomNear()) this.#fill();
  }

  /** @param {TimelineOp[]} ops */
  #onPast(ops) {
    this.#past = applyTimeline(this.#past, ops);
    if (!this.#inPast) return;
    if (this.#past.length === 0) {
      // It has become a part of the timeline, or was left.
      this.#setPast(false);
      this.#keepingPlace(() => this.rows.rebase(this.context.client.timeline(this.roomId)));
      this.#changed();
      this.#notePlace();
      requestAnimationFrame(() => this.#fill());
    } else if (!ops.some(({ op }) => op === "reset")) {
      // Another stretch is shown once it is gone to.
      this.#apply(ops);
    }
  }

  /** @param {TimelineOp[]} ops */
  #apply(ops) {
    const near = ops.some(({ op }) => op === "prepend") && !this.rows.hasOlder;
    this.#keepingPlace(() => {
      this.rows.apply(ops);
      if (near) this.rows.revealOlder(this.#stuck ? undefined : this.#near().at(-1));
      if (this.#stuck) this.rows.trim();
    });
    this.#changed();
  }

  #changed() {
    this.refreshRoving();
    this.unreadLine.show();
    this.#showReaders();
    this.#showTop();
    this.#showPill();
    this.#markRead();
  }

  #onRoom() {
    this.#showTop();
    this.pill.handleRoom();
    this.#showPill();
    this.#markRead();
  }

  #showReaders() {
    this.rows.showReaders(this.context.people.members(this.roomId));
  }

  #isAtEnd() {
    return this.#stuck && !this.#inPast && !this.rows.hasNewer;
  }

  #isLookedAt() {
    return document.hasFocus() && document.visibilityState === "visible";
  }

  #showPill() {
    this.pill.show(this.#isAtEnd());
  }

  /** @param {() => void} change that adds or takes rows somewhere else than where one looks */
  #keepingPlace(change) {
    const anchors = this.#stuck ? [] : this.#visible();
    const places = anchors.map((node) => node.getBoundingClientRect().top);
    change();
    const at = anchors.findIndex((node) => node.isConnected);
    if (at >= 0) {
      const moved = anchors[at].getBoundingClientRect().top - places[at];
      if (Math.abs(moved) > 0.5) this.scroller.scrollTop += moved;
      return;
    }
    // What one looks at was too old to be held, or came before a gap: it is looked up again.
    const lost = anchors.findIndex((node) => this.rows.at(node)?.item.eventId !== undefined);
    if (lost < 0 || this.#isGoing) return;
    void this.#goTo({ eventId: /** @type {string} */ (this.rows.at(anchors[lost])?.item.eventId), top: places[lost] });
  }

  /** The rows that are looked at. */
  #visible() {
    return this.#rowsWithin(0);
  }

  /** The rows that are looked at or soon will be, more of them than those for which an end is near. */
  #near() {
    return this.#rowsWithin(2 * AHEAD_PX);
  }

  /** @param {number} beyond in pixels */
  #rowsWithin(beyond) {
    const { top, bottom } = this.scroller.getBoundingClientRect();
    return [...this.rows.node.children].filter((node) => {
      const box = node.getBoundingClientRect();
      return box.height > 0 && box.bottom > top - beyond && box.top < bottom + beyond;
    });
  }

  /** Asks for more wherever an end of what has rows is near. */
  #fill() {
    if (!this.node.isConnected || this.scroller.clientHeight === 0) return;
    if (this.#isTopNear()) void this.#goBack();
    if (this.#isBottomNear()) void this.#goForward();
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    if (!this.#stuck && !this.#isGoing && !this.#inPast && !this.rows.hasNewer && scrollHeight - scrollTop - clientHeight < NEAR_BOTTOM_PX) {
      this.#stuck = true;
      this.#showPill();
      this.#markRead();
    }
  }

  #tryAgain() {
    if (this.pages.forgive()) this.#fill();
  }

  async #goBack() {
    if (this.rows.hasOlder) return this.#reveal(() => this.rows.revealOlder(this.#stuck ? undefined : this.#near().at(-1)));
    const { client } = this.context;
    const inPast = this.#inPast;
    if (inPast ? this.#pastBegins : !this.#room()?.canScrollBack) return;
    const more = await this.pages.load("back", () => (inPast ? client.scrollPast(this.roomId, "back", PAGE) : client.scrollBack(this.roomId, PAGE)));
    if (more === undefined) return;
    if (!more && inPast && this.#inPast) this.#pastBegins = true;
    this.#showTop();
    if (more || this.rows.hasOlder || inPast !== this.#inPast) this.#fill();
  }

  async #goForward() {
    if (this.rows.hasNewer) return this.#reveal(() => this.rows.revealNewer(this.#near()[0]));
    if (!this.#inPast) return;
    const more = await this.pages.load("forward", () => this.context.client.scrollPast(this.roomId, "forward", PAGE));
    if (more) this.#fill();
  }

  /** @param {() => void} show */
  #reveal(show) {
    this.#keepingPlace(show);
    this.#changed();
    requestAnimationFrame(() => this.#fill());
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
    const loading = this.pages.isLoading("back");
    this.top.classList.toggle("loading", loading);
    const isMore = this.rows.hasOlder || (this.#inPast ? !this.#pastBegins : room?.canScrollBack);
    if (loading || isMore) setText(this.top, "Loading earlier messages…");
    else setText(this.top, room ? `This is where ${room.name} begins.` : "");
  }

  #onScroll() {
    const seen = this.#seen;
    const { scrollTop, end } = (this.#seen = this.#position());
    // An event can come late, when more has been added below meanwhile: only who goes upwards leaves the bottom, and
    // further than what has become smaller would have taken them.
    const wentUp = scrollTop < seen.scrollTop - Math.max(0, seen.end - end);
    const isEnd = !this.#inPast && !this.rows.hasNewer;
    const stuck = isEnd && (end - scrollTop < NEAR_BOTTOM_PX || (this.#stuck && !wentUp));
    if (stuck !== this.#stuck) {
      this.#stuck = stuck;
      this.#showPill();
    }
    // The observer of the top says nothing when one leaves it and is back before the next frame.
    this.#fill();
    this.#markRead();
    if (this.#inPast) this.#notePlace();
  }

  /** Tells, a while later, which event of the past is in the middle, or that one is not in the past. */
  #notePlace() {
    clearTimeout(this.#noting);
    this.#noting = setTimeout(() => {
      const seen = this.#inPast ? this.#visible() : [];
      this.onPlace(this.rows.at(seen[seen.length >> 1])?.item.eventId);
    }, NOTE_MS);
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
    this.#seen = this.#position();
  }

  #position() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroller;
    return { scrollTop, end: scrollHeight - clientHeight };
  }

  /** Tells how far I have read: up to the last message that is seen by somebody who looks. */
  #markRead() {
    // What is in sight on the way to somewhere else is not read.
    if (this.#inPast || this.#isGoing || !this.#isLookedAt()) return;
    const { client } = this.context;
    const isPrivate = receiptsArePrivate();
    if (this.#isAtEnd()) {
      this.unreadLine.handleSeen();
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
