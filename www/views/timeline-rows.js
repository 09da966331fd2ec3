// The rows of a timeline: of those of its items that are near to what is looked at. What changes touches the rows it is
// about and their neighbours.

import { applyTimeline } from "../pkg/index.js";
import { outcomes } from "../lib/call-words.js";
import { el } from "../lib/dom.js";
import { isComing, isMessage, isShown } from "../lib/describe.js";
import { sameDay } from "../lib/format.js";
import { TimelineRow } from "./timeline-row.js";

/** @typedef {import("/pkg/index.js").TimelineItem} TimelineItem */
/** @typedef {import("/pkg/index.js").TimelineOp} TimelineOp */

const GROUP_MS = 5 * 60_000;
/** From how many comings and goings in a row on they are one line. */
const FOLDED_FROM = 3;
/** Rows at first, and with each step further: items that have none do not count. */
const STEP = 120;
/** The most rows: with more of them those furthest away go. */
const MOST = 480;

export class TimelineRows {
  /** All that is known, oldest first. @type {TimelineItem[]} */
  #items = [];
  /** Those from here to before `#end` have rows. */
  #start = 0;
  #end = 0;
  /** @type {Map<string, TimelineRow>} */
  #rows = new Map();
  /** @type {WeakMap<Element, TimelineRow>} */
  #byNode = new WeakMap();
  /** Where somebody has read up to, by user. @type {Map<string, TimelineRow>} */
  #readers = new Map();
  /** The key of the item with which what is new begins. @type {string | undefined} */
  #firstUnread;

  /** @param {import("./talk.js").Talk} talk */
  constructor(talk) {
    this.talk = talk;
    this.node = el("ol.timeline", { testid: "timeline", role: "list" });
  }

  /** Shows these, their end or the surroundings of an event. @param {readonly TimelineItem[]} items oldest first @param {string} [eventId] */
  reset(items, eventId) {
    this.#items = [...items];
    const at = eventId === undefined ? -1 : items.findIndex((item) => item.eventId === eventId);
    this.#end = at < 0 ? items.length : this.#after(at, STEP / 2);
    this.#start = this.#before(this.#end, STEP);
    this.#show();
  }

  /** Shows these in the stead of others that they are a part of, at the same place. @param {readonly TimelineItem[]} items oldest first */
  rebase(items) {
    const [first, last] = [this.#items[this.#start], this.#items[this.#end - 1]];
    const [start, end] = [first, last].map((item) => items.findIndex((one) => one.key === item?.key));
    this.#items = [...items];
    this.#start = start < 0 ? this.#before(items.length, STEP) : start;
    this.#end = end < 0 ? items.length : end + 1;
    this.#show();
  }

  /** @param {TimelineOp[]} ops */
  apply(ops) {
    for (const op of ops) this.#apply(op);
    this.#show();
  }

  /** @param {TimelineOp} op */
  #apply(op) {
    const { length } = this.#items;
    if (op.op === "reset") {
      [this.#items, this.#end] = [op.items, op.items.length];
      this.#start = this.#before(this.#end, STEP);
      return;
    }
    const key = op.op === "append" ? op.before : op.op === "remove" ? op.key : undefined;
    const found = key === undefined ? -1 : this.#items.findIndex((item) => item.key === key);
    const at = op.op === "prepend" ? 0 : found < 0 ? length : found;
    const atEnd = this.#end === length;
    applyTimeline(this.#items, [op]);
    const grown = this.#items.length - length;
    if (at < this.#start || op.op === "prepend") this.#start += grown;
    if (at < this.#end || op.op === "prepend" || (atEnd && grown > 0)) this.#end += grown;
  }

  get hasOlder() {
    return this.#start > 0;
  }

  get hasNewer() {
    return this.#end < this.#items.length;
  }

  /** Gives rows to a step of the older items; the newest lose theirs where there are very many. @param {Element} [last] that keeps its row with all before it; the last one, if none is given */
  revealOlder(last) {
    this.#start = this.#before(this.#start, STEP);
    this.#end = Math.min(this.#end, Math.max(this.#after(this.#start, MOST), this.#indexOf(last, this.#end - 1) + 1));
    this.#show();
  }

  /** Gives rows to a step of the newer items, likewise. @param {Element} [first] */
  revealNewer(first) {
    this.#end = this.#after(this.#end, STEP);
    this.#start = Math.max(this.#start, Math.min(this.#before(this.#end, MOST), this.#indexOf(first, this.#start)));
    this.#show();
  }

  /** From where up to before `end` there are so many items with a row. @param {number} end @param {number} count */
  #before(end, count) {
    let at = end;
    for (let left = count; at > 0 && left > 0; at -= 1) if (isShown(this.#items[at - 1])) left -= 1;
    return at;
  }

  /** Up to before where from `start` on there are so many items with a row. @param {number} start @param {number} count */
  #after(start, count) {
    let at = start;
    for (let left = count; at < this.#items.length && left > 0; at += 1) if (isShown(this.#items[at])) left -= 1;
    return at;
  }

  /** @param {Element | undefined} node @param {number} otherwise */
  #indexOf(node, otherwise) {
    const key = node && this.#byNode.get(node)?.item.key;
    const at = key === undefined ? -1 : this.#items.findIndex((item) => item.key === key);
    return at < 0 ? otherwise : at;
  }

  /** Takes rows away where there are very many, while one looks at the latest. */
  trim() {
    if (this.hasNewer || this.#rows.size <= MOST) return;
    this.#start = this.#before(this.#end, STEP);
    this.#show();
  }

  /** Gives rows to an event that is known and what is around it; its row. @param {string} eventId */
  bring(eventId) {
    if (!this.rowOf(eventId) && this.#items.some((item) => item.eventId === eventId)) this.reset(this.#items, eventId);
    return this.rowOf(eventId);
  }

  /** @param {string} eventId @returns {TimelineRow | undefined} */
  rowOf(eventId) {
    const item = this.find(eventId);
    return item && this.#rows.get(item.key);
  }

  /** @param {string} eventId */
  find(eventId) {
    return this.#items.findLast((item) => item.eventId === eventId);
  }

  /** The latest item that fits. @param {(item: TimelineItem) => boolean} fits */
  findLast(fits) {
    return this.#items.findLast(fits);
  }

  /** The row of a node. @param {Element} node */
  at(node) {
    return this.#byNode.get(node);
  }

  /** Shows names as they are. @param {string[]} userIds */
  rename(userIds) {
    const who = new Set(userIds);
    for (const row of this.#rows.values()) if (who.has(row.item.sender)) row.rename();
  }

  /** Marks an item as the first that is new. @param {string} key */
  markUnread(key) {
    this.#firstUnread = key;
    this.#showUnread();
    return true;
  }

  /** Marks the `count`th latest message of others; whether there is one. @param {number} count from 1 */
  markUnreadOfOthers(count) {
    const theirs = this.#items.filter((item) => this.#isTheirs(item));
    const first = theirs[theirs.length - count];
    return first !== undefined && this.markUnread(first.key);
  }

  /** Marks what others said first after an event, if anything; whether the event is known. @param {string} eventId */
  markUnreadAfter(eventId) {
    const at = this.#items.findLastIndex((item) => item.eventId === eventId);
    if (at < 0) return false;
    const next = this.#items.find((item, place) => place > at && this.#isTheirs(item));
    return next === undefined || this.markUnread(next.key);
  }

  /** @param {TimelineItem} item */
  #isTheirs(item) {
    return isMessage(item) && isShown(item) && item.sender !== this.talk.me;
  }

  #showUnread() {
    for (const row of this.#rows.values()) row.node.classList.toggle("first-unread", row.item.key === this.#firstUnread);
  }

  /** Shows who of others has read up to where. @param {Iterable<import("/pkg/index.js").Member>} members */
  showReaders(members) {
    const rows = this.#rowsByEvent();
    for (const { userId, readUpTo } of members) {
      if (userId === this.talk.me) continue;
      const place = readUpTo === undefined ? undefined : rows.get(readUpTo);
      // Who said it has read it.
      const row = place?.item.sender === userId ? undefined : place;
      const before = this.#readers.get(userId);
      if (row === before) continue;
      before?.readers.delete(userId);
      before?.showReaders();
      if (row) this.#readers.set(userId, row);
      else this.#readers.delete(userId);
      row?.readers.add(userId);
      row?.showReaders();
    }
  }

  /** The row of each event that is looked at, or of the last before it that has one. */
  #rowsByEvent() {
    /** @type {Map<string, TimelineRow>} */
    const rows = new Map();
    /** @type {TimelineRow | undefined} */
    let last;
    for (const { key, eventId } of this.#items.slice(this.#start, this.#end)) {
      const row = this.#rows.get(key);
      if (row && !row.node.hidden) last = row;
      if (eventId !== undefined && last) rows.set(eventId, last);
    }
    return rows;
  }

  /** Makes the rows be those of the items between start and end, touching only what differs. */
  #show() {
    this.#retellCalls();
    const wanted = this.#items.slice(this.#start, this.#end).filter(isShown);
    const keys = new Set(wanted.map((item) => item.key));
    /** @type {Set<Element>} */
    const touched = new Set();
    const touch = (/** @type {(Element | null)[]} */ ...nodes) => nodes.forEach((node) => node && touched.add(node));
    let isOther = false;
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      touch(row.node.previousElementSibling, row.node.nextElementSibling);
      this.#rows.delete(key);
      row.node.remove();
      isOther = true;
    }
    /** @type {Element | null} */
    let next = this.node.firstElementChild;
    for (const item of wanted) {
      let row = this.#rows.get(item.key);
      if (!row) {
        row = new TimelineRow(this.talk, item);
        this.#rows.set(item.key, row);
        this.#byNode.set(row.node, row);
      } else if (row.item !== item) {
        row.update(item);
        touch(row.node);
      }
      if (row.node === next) {
        next = next.nextElementSibling;
      } else {
        this.node.insertBefore(row.node, next);
        touch(row.node.previousElementSibling, row.node, next);
        isOther = true;
      }
    }
    for (const node of touched) if (node.isConnected || node.parentElement === this.node) this.#arrange(node);
    if (isOther) this.#showUnread();
  }

  #retellCalls() {
    const { talk } = this;
    if (talk.calls.size === 0 && !this.#items.some(isOfCall)) return;
    talk.calls = outcomes(this.#items);
    for (const row of this.#rows.values()) if (isOfCall(row.item)) row.retell();
  }

  /** What a row shows because of its neighbours: the day, and where a sender's run begins and ends. @param {Element | null} node */
  #arrange(node) {
    const row = node && this.#byNode.get(node);
    if (!row) return;
    const before = node.previousElementSibling && this.#byNode.get(node.previousElementSibling);
    const after = node.nextElementSibling && this.#byNode.get(node.nextElementSibling);
    const newDay = !before || !sameDay(before.item.ts, row.item.ts);
    row.arrange({ newDay, starts: newDay || !joins(before, row), ends: !after || !joins(row, after) });
    if (isComing(row.item)) this.#fold(row);
  }

  /** Makes one line of the comings and goings around a row, where they are many. @param {TimelineRow} row */
  #fold(row) {
    const run = [row];
    for (const step of /** @type {const} */ (["previousElementSibling", "nextElementSibling"])) {
      for (let node = row.node[step]; node; node = node[step]) {
        const next = /** @type {TimelineRow} */ (this.#byNode.get(node));
        if (!isComing(next.item) || !sameDay(next.item.ts, row.item.ts)) break;
        if (step === "nextElementSibling") run.push(next);
        else run.unshift(next);
      }
    }
    const folded = run.length >= FOLDED_FROM;
    const open = run.some((one) => one.open);
    for (const one of run) one.showInRun({ hidden: folded && !open, head: folded && one === run[0] ? run : undefined, open });
  }
}

/** @param {TimelineItem} item */
function isOfCall(item) {
  return item.type.startsWith("m.call.");
}

/** Whether two rows that follow each other belong to one run of a sender. @param {TimelineRow} one @param {TimelineRow} next */
function joins(one, next) {
  return (
    one.isMessage && next.isMessage && one.item.sender === next.item.sender &&
    Math.abs(next.item.ts - one.item.ts) < GROUP_MS && sameDay(one.item.ts, next.item.ts)
  );
}
