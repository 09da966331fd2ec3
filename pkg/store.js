// What a client knows, as values that stay the same objects until that very thing changes, and whom to tell when it does. What
// was read is kept until it changes; what changes and nobody is subscribed to is forgotten. While nothing is kept or listened
// to, the wasm is asked for no event.
import { badArgument, checkFields, checkKind } from "./options.js";

/** What can be read and subscribed to, and the event that tells of its changes; those with a name are of one user or room. */
const KINDS = {
  me: { event: "me" },
  connection: { event: "connection" },
  idle: { event: "idle" },
  notifySettings: { event: "notifySettings" },
  presences: { event: "presence", book: "presence" },
  contacts: { event: "contacts", book: "contact" },
  rooms: { event: "rooms", book: "room" },
  calls: { event: "call", book: "call" },
  presence: { event: "presence", named: "userId" },
  contact: { event: "contacts", named: "userId" },
  room: { event: "rooms", named: "roomId" },
  timeline: { event: "timeline", named: "roomId" },
  past: { event: "past", named: "roomId" },
  members: { event: "members", named: "roomId" },
};
const NAMED = Object.fromEntries(Object.entries(KINDS).flatMap(([kind, { named }]) => (named ? [[kind, "text"]] : [])));
const PLAIN = Object.keys(KINDS).filter((kind) => !(kind in NAMED));

/** The kind and the name that a selector stands for. */
export function chosen(selector) {
  if (typeof selector === "string") {
    if (PLAIN.includes(selector)) return [selector, ""];
    throw badArgument(`selector must be ${PLAIN.join(", ")}, or an object with one of ${Object.keys(NAMED).join(", ")}`);
  }
  const given = Object.entries(checkFields(selector, "selector", NAMED)).filter(([, name]) => name !== undefined);
  if (given.length !== 1) throw badArgument(`selector must have one of ${Object.keys(NAMED).join(", ")}`);
  return given[0];
}

/** Whether two things have the same fields. */
function same(one, other) {
  if (other === undefined) return false;
  const fields = Object.keys(one);
  return fields.length === Object.keys(other).length && fields.every((field) => one[field] === other[field]);
}

/** Things of one kind by their IDs, each frozen, and all of them in the order of these. */
class Book {
  #id;
  #all;
  #one;
  #known = new Map();
  /** The last list: it stands, or only its order does. */
  #list;
  #stands = false;

  constructor(id, all, one) {
    [this.#id, this.#all, this.#one] = [id, all, one];
  }

  get isEmpty() {
    return this.#known.size === 0 && this.#list === undefined;
  }

  of(id) {
    if (!this.#known.has(id)) {
      if (!this.#one) this.list();
      else if (this.#list === undefined) this.#keep(this.#one(id));
    }
    return this.#known.get(id);
  }

  list() {
    if (this.#stands) return this.#list;
    if (this.#list === undefined) {
      this.#list = this.#all().map((one) => this.#known.get(one[this.#id]) ?? this.#keep(one));
    } else {
      const inOrder = this.#list.length === this.#known.size && this.#list.every((one) => this.#known.has(one[this.#id]));
      const ids = inOrder ? this.#list.map((one) => one[this.#id]) : [...this.#known.keys()].sort();
      this.#list = ids.map((id) => this.#known.get(id));
    }
    this.#stands = true;
    return Object.freeze(this.#list);
  }

  /** Answers whose it is that changed. `wanted`: whether somebody is subscribed to one of them; `wantsAll`: to the list. */
  change(changed, removed, wanted, wantsAll) {
    const different = changed.filter((one) => !same(one, this.#known.get(one[this.#id])));
    const ids = [...removed, ...different.map((one) => one[this.#id])];
    if (ids.length === 0) return ids;
    if (!wantsAll) this.#list = undefined;
    this.#stands = false;
    for (const id of ids) this.#known.delete(id);
    for (const one of different) if (this.#list || wanted?.has(one[this.#id])) this.#keep(one);
    return ids;
  }

  #keep(one) {
    if (one !== undefined) this.#known.set(one[this.#id], Object.freeze(one));
    return one;
  }
}

/** The items of rooms. What nobody is subscribed to is kept for as long as somebody else holds it. */
class Stretches {
  #read;
  #kept = new Map();

  constructor(read) {
    this.#read = read;
  }

  get isEmpty() {
    return this.#kept.size === 0;
  }

  of(roomId, wanted) {
    const kept = this.#kept.get(roomId);
    const held = kept?.list ?? kept?.weak?.deref();
    const list = held ?? Object.freeze(kept?.items?.slice() ?? this.#read(roomId).map(Object.freeze));
    if (wanted) this.#kept.set(roomId, { list, items: kept?.items });
    else if (!held || !kept.weak) this.#kept.set(roomId, { weak: new WeakRef(list) });
    return list;
  }

  change(roomId, ops, wanted) {
    const kept = this.#kept.get(roomId);
    if (!kept) return;
    const items = kept.items ?? (kept.list ?? kept.weak?.deref())?.slice();
    if (wanted && items) this.#kept.set(roomId, { items: applyTimeline(items, ops, Object.freeze) });
    else this.#kept.delete(roomId);
  }

  forget(roomId) {
    this.#kept.delete(roomId);
  }
}

export class Store {
  #wasm;
  #itself = new WeakRef(this);
  /** What ends the hearing of an event from the wasm, and who listens to it, by event. */
  #heard = new Map();
  #listeners = new Map();
  /** Who is subscribed: by kind, then by name. */
  #cells = new Map();
  #changed = new Set();
  #singles = new Map();
  #books;
  #members = new Map();
  #stretches;
  /** What ends with the client. */
  ends = new Set();

  /** `wasm` calls what the wasm has for a client, by name. */
  constructor(wasm) {
    this.#wasm = wasm;
    this.#books = {
      presence: new Book("userId", () => wasm("presences"), (userId) => wasm("presenceOf", userId)),
      contact: new Book("userId", () => wasm("contacts")),
      room: new Book("roomId", () => wasm("rooms")),
      call: new Book("callId", () => wasm("calls")),
    };
    this.#stretches = {
      timeline: new Stretches((roomId) => wasm("timeline", roomId)),
      past: new Stretches((roomId) => wasm("past", roomId)),
    };
  }

  read(kind, name) {
    const { event, book, named } = KINDS[kind];
    if (kind === "connection" || kind === "idle") return this.#wasm(kind);
    this.#hear(event);
    if (named === "roomId") this.#hear("rooms");
    if (book) return this.#books[book].list();
    if (this.#books[kind]) return this.#books[kind].of(name);
    if (this.#stretches[kind]) return this.#stretches[kind].of(name, this.#isWanted(kind, name));
    if (kind === "members") return this.#membersOf(name).list();
    if (!this.#singles.has(kind)) this.#singles.set(kind, Object.freeze(this.#wasm(kind)));
    return this.#singles.get(kind);
  }

  subscribe(kind, name, listener) {
    this.#hear("settled");
    this.#hear(KINDS[kind].event);
    if (KINDS[kind].named === "roomId") this.#hear("rooms");
    const cells = this.#cells.get(kind) ?? new Map();
    this.#cells.set(kind, cells);
    const cell = cells.get(name) ?? { kind, name, listeners: new Set() };
    cells.set(name, cell);
    const entry = { listener };
    cell.listeners.add(entry);
    // The whole list is asked for by who reads it.
    if (kind === "members") this.read(kind, name);
    return () => {
      cell.listeners.delete(entry);
      if (cell.listeners.size === 0 && cells.get(name) === cell) cells.delete(name);
    };
  }

  on(event, listener) {
    this.#hear(event);
    const all = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, all);
    const entry = { listener };
    all.add(entry);
    return () => void all.delete(entry);
  }

  /** An event of the wasm: what is kept follows, then it is told. */
  handle(event, first, second) {
    if (event === "settled") this.#tellChanges();
    else this.#follow(event, first, second);
    call(this.#listeners.get(event), first, second);
    if (!this.#isNeeded(event)) {
      this.#heard.get(event)?.();
      this.#heard.delete(event);
    }
  }

  /** The client is freed. */
  end() {
    for (const end of [...this.ends]) end();
    // Who frees the client while it tells others ends that too.
    for (const cell of [...this.#cells.values()].flatMap((cells) => [...cells.values()])) cell.listeners.clear();
    for (const all of this.#listeners.values()) all.clear();
    for (const map of [this.#listeners, this.#cells, this.#singles, this.#members]) map.clear();
  }

  #hear(event) {
    if (!this.#heard.has(event)) this.#heard.set(event, this.#wasm("on", event, through(this.#itself, event)));
  }

  #isWanted(kind, name = "") {
    return this.#cells.get(kind)?.has(name) ?? false;
  }

  #isNeeded(event) {
    if (this.#listeners.get(event)?.size > 0) return true;
    const subscribed = (kind) => this.#cells.get(kind)?.size > 0;
    if (event === "settled") return this.#changed.size > 0 || Object.keys(KINDS).some(subscribed);
    return Object.entries(KINDS).some(([kind, { event: own, book, named }]) => {
      // What is kept of a room goes with the room.
      if (own !== event && !(event === "rooms" && named === "roomId")) return false;
      if (subscribed(kind) || this.#singles.has(kind)) return true;
      const kept = this.#books[book ?? kind] ?? this.#stretches[kind];
      return kept ? !kept.isEmpty : kind === "members" && this.#members.size > 0;
    });
  }

  #membersOf(roomId) {
    let book = this.#members.get(roomId);
    if (book === undefined) {
      book = new Book("userId", () => this.#wasm("members", roomId));
      // Who is not in a room cannot ask for its members.
      book.asked = this.#books.room.of(roomId)?.membership === "join";
      this.#members.set(roomId, book);
    }
    return book;
  }

  #follow(event, first, second) {
    switch (event) {
      case "presence":
        return this.#change("presence", "presences", first, []);
      case "contacts":
        return this.#change("contact", "contacts", first, second);
      case "rooms":
        this.#change("room", "rooms", first, second);
        return this.#followRooms(first, second);
      case "call": {
        const over = first.state === "ended";
        return this.#change("call", "calls", over ? [] : [first], over ? [first.callId] : []);
      }
      case "members":
        if (this.#members.get(first)?.change(second, [], undefined, true).length === 0) return;
        if (!this.#isWanted("members", first)) this.#members.delete(first);
        return this.#note("members", first);
      case "timeline":
      case "past":
        this.#stretches[event].change(first, second, this.#isWanted(event, first));
        return this.#note(event, first);
      default:
        this.#singles.delete(event);
        this.#note(event, "");
    }
  }

  #change(kind, list, changed, removed) {
    const cells = this.#cells.get(kind);
    if (this.#books[kind].isEmpty && !cells?.size && !this.#isWanted(list)) return;
    const ids = this.#books[kind].change(changed, removed, cells, this.#isWanted(list));
    if (ids.length > 0) this.#note(list, "");
    if (cells?.size) for (const id of ids) this.#note(kind, id);
  }

  #followRooms(changed, removed) {
    for (const roomId of removed) {
      this.#members.delete(roomId);
      for (const kind of ["timeline", "past", "members"]) {
        this.#stretches[kind]?.forget(roomId);
        this.#note(kind, roomId);
      }
    }
    for (const { roomId, membership } of changed) {
      if (membership !== "join" || this.#members.get(roomId)?.asked !== false) continue;
      this.#members.delete(roomId);
      this.#note("members", roomId);
    }
  }

  #note(kind, name) {
    const cell = this.#cells.get(kind)?.get(name);
    if (cell) this.#changed.add(cell);
  }

  #tellChanges() {
    const changed = [...this.#changed];
    this.#changed.clear();
    for (const { kind, name, listeners } of changed) {
      if (listeners.size > 0) call(listeners, this.read(kind, name));
    }
  }
}

/** A function of its own, whose closure holds nothing but this. */
function through(store, event) {
  return (first, second) => store.deref()?.handle(event, first, second);
}

/** Calls those who still listen; what one of them throws reaches the console and not the others. */
function call(entries, first, second) {
  for (const entry of [...(entries ?? [])]) {
    if (!entries.has(entry)) continue;
    try {
      entry.listener(first, second);
    } catch (error) {
      console.error(error);
    }
  }
}

/** Applies the edits of a `timeline` event to an array of items, in place; returns the array. What is there already stays once. */
export function applyTimeline(items, ops, given = (item) => item) {
  checkKind(items, "list", "items");
  if (Object.isFrozen(items)) throw badArgument("items must be an array of your own: [...client.timeline(roomId)]");
  const at = (key) => items.findLastIndex((item) => item.key === key);
  for (const op of ops) {
    // What is about an item that is not there changes nothing.
    const place = at(op.op === "append" ? op.item.key : (op.item?.key ?? op.key));
    switch (op.op) {
      case "append":
        if (place >= 0) items[place] = given(op.item);
        else {
          const before = op.before === undefined ? -1 : at(op.before);
          items.splice(before < 0 ? items.length : before, 0, given(op.item));
        }
        break;
      case "prepend": {
        const known = new Set(items.map((item) => item.key));
        items.unshift(...op.items.filter((item) => !known.has(item.key)).map(given));
        break;
      }
      case "update":
        if (place >= 0) items[place] = given(op.item);
        break;
      case "remove":
        if (place >= 0) items.splice(place, 1);
        break;
      case "reset":
        items.splice(0, items.length, ...op.items.map(given));
        break;
    }
  }
  return items;
}
