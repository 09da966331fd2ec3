// The rows of a timeline, kept by operations: each touches the rows it is about and their neighbours.

import { el } from "../lib/dom.js";
import { editOf, isComing, isShown } from "../lib/describe.js";
import { sameDay } from "../lib/format.js";
import { TimelineRow } from "./timeline-row.js";

/** @typedef {import("/pkg/index.js").TimelineItem} TimelineItem */
/** @typedef {import("/pkg/index.js").TimelineOp} TimelineOp */

const GROUP_MS = 5 * 60_000;
/** From how many comings and goings in a row on they are one line. */
const FOLDED_FROM = 3;
/** Rows shown at first, and with each step back. */
const STEP = 120;
/** Rows beyond which the oldest are put away again while one looks at the latest. */
const MOST = 600;

export class TimelineRows {
  /** @type {Map<string, TimelineRow>} */
  #rows = new Map();
  /** @type {WeakMap<Element, TimelineRow>} */
  #byNode = new WeakMap();
  /** What is older than the first row: known, but not shown yet. @type {TimelineItem[]} */
  #older = [];
  /** The latest edit of each message that was edited, by the edited event's ID. @type {Map<string, TimelineItem>} */
  #edits = new Map();

  /** @param {import("./shell.js").Context} context @param {string} roomId */
  constructor(context, roomId) {
    this.context = context;
    this.roomId = roomId;
    this.node = el("ol.timeline", { testid: "timeline", role: "list" });
    this.reset(context.client.timeline(roomId));
  }

  /** @param {TimelineOp} op */
  apply(op) {
    switch (op.op) {
      case "append":
        return this.#add(op.item, op.before === undefined ? null : this.#placeBefore(op.before));
      case "prepend":
        return this.#prepend(op.items);
      case "update":
        return this.#update(op.item);
      case "remove":
        return this.#remove(op.key);
      case "reset":
        return this.reset(op.items);
    }
  }

  /** Makes the rows be these, keeping the ones that are there already. @param {TimelineItem[]} items oldest first */
  reset(items) {
    this.#older = items.slice(0, -STEP);
    const shown = items.slice(-STEP);
    const wanted = new Set(shown.map((item) => item.key));
    for (const key of [...this.#rows.keys()]) if (!wanted.has(key)) this.#remove(key);
    /** @type {Element | null} */
    let next = this.node.firstElementChild;
    for (const item of shown) {
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

  /** Whether there are items that `reveal` would show. */
  get hasOlder() {
    return this.#older.length > 0;
  }

  /** Shows a step of the older items. */
  reveal() {
    const items = this.#older.splice(-STEP);
    this.#insertAbove(items);
  }

  /** Puts the oldest rows away where there are very many. */
  trim() {
    if (this.#rows.size <= MOST) return;
    const away = [];
    while (this.#rows.size > STEP) {
      const row = /** @type {TimelineRow} */ (this.#byNode.get(/** @type {Element} */ (this.node.firstElementChild)));
      away.push(row.original);
      this.#rows.delete(row.item.key);
      row.node.remove();
    }
    this.#older.push(...away);
    this.#arrange(this.node.firstElementChild);
  }

  /** Shows names as they are. @param {string[]} userIds */
  rename(userIds) {
    const who = new Set(userIds);
    for (const row of this.#rows.values()) if (who.has(row.item.sender)) row.rename();
  }

  /** The row of the `count`th latest message of others. @param {number} count from 1 */
  nthLatestOfOthers(count) {
    let left = count;
    for (let node = this.node.lastElementChild; node; node = node.previousElementSibling) {
      const row = this.#byNode.get(node);
      if (row?.isMessage && !row.own) left -= 1;
      if (left === 0) return row;
    }
    return undefined;
  }

  /** Where an item goes that comes before another: what is still on its way stays at the end. @param {string} key */
  #placeBefore(key) {
    const row = this.#rows.get(key);
    if (row) return row.node;
    /** @type {Element | null} */
    let next = null;
    for (let node = this.node.lastElementChild; node; node = node.previousElementSibling) {
      if (this.#byNode.get(node)?.item.echo === "placed") break;
      next = node;
    }
    return next;
  }

  /** @param {TimelineItem} item @param {Element | null} next */
  #add(item, next) {
    const edited = editOf(item);
    if (edited !== undefined) {
      this.#edit(edited, item);
      return;
    }
    if (this.#rows.has(item.key) || !isShown(item)) return;
    const row = new TimelineRow(this.context, this.roomId, this.#withEdit(item));
    row.original = item;
    this.#rows.set(item.key, row);
    this.#byNode.set(row.node, row);
    this.node.insertBefore(row.node, next);
    this.#arrange(row.node);
    this.#arrange(row.node.previousElementSibling);
    this.#arrange(next);
  }

  /** @param {TimelineItem[]} items oldest first */
  #prepend(items) {
    if (this.hasOlder) this.#older.unshift(...items);
    else this.#insertAbove(items);
  }

  /** @param {TimelineItem[]} items oldest first */
  #insertAbove(items) {
    const first = this.node.firstElementChild;
    for (const item of items) if (editOf(item) !== undefined) this.#add(item, null);
    for (const item of items) if (editOf(item) === undefined) this.#add(item, first);
  }

  /** @param {TimelineItem} item */
  #update(item) {
    const row = this.#rows.get(item.key);
    if (!row) {
      this.#older = this.#older.map((one) => (one.key === item.key ? item : one));
      return;
    }
    row.original = item;
    row.update(this.#withEdit(item));
    this.#arrange(row.node);
    this.#arrange(row.node.nextElementSibling);
  }

  /** @param {string} key */
  #remove(key) {
    const row = this.#rows.get(key);
    if (!row) {
      this.#older = this.#older.filter((one) => one.key !== key);
      return;
    }
    const { previousElementSibling, nextElementSibling } = row.node;
    this.#rows.delete(key);
    row.node.remove();
    this.#arrange(previousElementSibling);
    this.#arrange(nextElementSibling);
  }

  /** @param {string} eventId of the edited message @param {TimelineItem} edit */
  #edit(eventId, edit) {
    const known = this.#edits.get(eventId);
    if (known && known.ts > edit.ts) return;
    this.#edits.set(eventId, edit);
    for (const row of this.#rows.values()) if (row.item.eventId === eventId) row.update(this.#withEdit(row.original));
  }

  /** The item with its latest edit, which only its own sender can make. @param {TimelineItem} item @returns {TimelineItem} */
  #withEdit(item) {
    const edit = item.eventId === undefined || item.redacted ? undefined : this.#edits.get(item.eventId);
    return edit?.sender === item.sender ? { ...item, content: edit.content["m.new_content"] } : item;
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

/** Whether two rows that follow each other belong to one run of a sender. @param {TimelineRow} one @param {TimelineRow} next */
function joins(one, next) {
  return (
    one.isMessage && next.isMessage && one.item.sender === next.item.sender &&
    Math.abs(next.item.ts - one.item.ts) < GROUP_MS && sameDay(one.item.ts, next.item.ts)
  );
}
