// The package in browsers, workers and bundlers: the wasm is a file beside the glue.
import { iterate } from "./events.js";
import { media } from "./media.js";
import { badArgument, checkKind } from "./options.js";
import { Store, chosen } from "./store.js";
import { watchSystem } from "./system.js";
import { joinTabs } from "./tabs.js";
import load, { Client as Wasm, login as logIn, register as signUp, setErrorClass } from "./wasm/pilotlight.js";

/** Why a request did not succeed. */
export class PilotlightError extends Error {
  constructor(code, message, status, retryAfterMs) {
    super(message);
    this.name = "PilotlightError";
    this.code = code;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** A device of a user; `create` makes one. */
export function Client() {
  throw badArgument("a client comes of Client.create()");
}
Client.prototype = Wasm.prototype;
Client.prototype.constructor = Client;

let loading;
/** What ends the watch over the system, by client. */
const watching = new WeakMap();
/** What ties a client to the others of its session. */
const tied = new WeakMap();
/** The clients that follow their homeserver: held here, so that they go on when nobody else holds them. */
const following = new Set();
const freed = new WeakSet();

/** Loads the wasm, once. `source`: a URL, a Response, the bytes or a module, where the usual place is wrong. */
export function init(source) {
  loading ??= load(source === undefined ? undefined : { module_or_path: source }).then(
    () => setErrorClass(PilotlightError),
    (error) => {
      loading = undefined;
      throw error;
    },
  );
  return loading;
}

export async function register(baseUrl, account) {
  await init();
  checkUrl(baseUrl);
  return coded(() => signUp(baseUrl, account));
}

export async function login(baseUrl, account) {
  await init();
  checkUrl(baseUrl);
  return coded(() => logIn(baseUrl, account));
}

/** What is called of a storage. */
const STORAGE = ["key", "getItem", "setItem", "removeItem"];

Client.create = async (session, options) => {
  await init();
  const { baseUrl, userId } = session ?? {};
  // What is of another type, the wasm refuses by name.
  if (typeof baseUrl === "string") checkUrl(baseUrl);
  if (typeof userId === "string" && !/^@[^:]*:./.test(userId)) throw badArgument("userId must look like @name:server");
  const storage = options?.storage;
  if (storage != null && STORAGE.some((name) => typeof storage[name] !== "function")) throw badArgument("storage must be a Storage");
  const client = new Wasm(session, options);
  const itself = new WeakRef(client);
  const tabs = joinTabs(client.session, (name, given) => {
    const left = itself.deref();
    if (left && !freed.has(left)) left[name](given);
    else tabs.leave();
  });
  tied.set(client, tabs);
  client.on("tabs", tabs.post);
  client.on("connection", (state) => {
    const ended = state === "stopped" || state === "logged_out";
    following[ended ? "delete" : "add"](itself.deref());
    tabs[state === "logged_out" ? "leave" : ended ? "rest" : "follow"]();
  });
  if (options?.trackActivity !== false) watching.set(client, watchSystem(client, options?.idleTimeoutMs));
  return client;
};

const { free } = Wasm.prototype;
/** What the wasm has of its own, before anything is put around it. */
const inner = Object.getOwnPropertyDescriptors(Wasm.prototype);

/** What is kept of each client, and who listens to it: for as long as it lives, since a listener may hold its client. */
const stores = new WeakMap();

/** A function of its own, so that no store holds its client. */
function caller(client) {
  return (name, ...given) => (inner[name].get ?? inner[name].value).apply(client.deref(), given);
}

function storeOf(client) {
  let store = stores.get(client);
  if (store === undefined) {
    store = new Store(caller(new WeakRef(client)));
    stores.set(client, store);
  }
  return store;
}

Client.prototype.on = function (event, listener) {
  checkKind(listener, "act", "listener");
  return storeOf(this).on(event, listener);
};

Client.prototype.subscribe = function (selector, listener) {
  checkKind(listener, "act", "listener");
  return storeOf(this).subscribe(...chosen(selector), listener);
};

Client.prototype.read = function (selector) {
  return storeOf(this).read(...chosen(selector));
};

Client.prototype.events = function (event, options = {}) {
  return iterate(this, event, options, storeOf(this).ends);
};

/** What reads a snapshot, and of what. */
const READERS = {
  presenceOf: "presence", presences: "presences", contacts: "contacts", rooms: "rooms", room: "room", calls: "calls",
  timeline: "timeline", past: "past", members: "members",
};
for (const [name, kind] of Object.entries(READERS)) {
  Client.prototype[name] = function (which) {
    return storeOf(this).read(kind, which);
  };
}
for (const name of ["me", "notifySettings"]) {
  Object.defineProperty(Client.prototype, name, {
    configurable: true,
    get() {
      return storeOf(this).read(name);
    },
  });
}

Client.prototype.sendText = function (roomId, body) {
  if (typeof body !== "string" || body === "") throw badArgument("body must be a string that is not empty");
  return this.send(roomId, "m.room.message", { msgtype: "m.text", body });
};

/** A message in the words of a string, or a content as it is. */
function contentOf(given) {
  if (typeof given === "string" && given !== "") return { msgtype: "m.text", body: given };
  if (given === null || typeof given !== "object") throw badArgument("content must be a content, or a string that is not empty");
  return given;
}

Client.prototype.reply = function (roomId, item, given) {
  checkItem(item);
  const content = contentOf(given);
  const { rel_type: kind, event_id: root } = item.content?.["m.relates_to"] ?? {};
  const thread = kind === "m.thread" && { rel_type: kind, event_id: root, is_falling_back: false };
  const told = new Set(content["m.mentions"]?.user_ids).add(item.sender);
  told.delete(this.session.userId);
  return this.send(roomId, "m.room.message", {
    ...content,
    "m.mentions": { ...content["m.mentions"], ...(told.size > 0 && { user_ids: [...told] }) },
    "m.relates_to": { ...thread, "m.in_reply_to": { event_id: item.eventId } },
  });
};

Client.prototype.edit = function (roomId, item, given) {
  checkItem(item);
  // The wasm looks at what it holds; an item of longer ago is what it says.
  if (item.sender !== this.session.userId) throw badTarget("only its sender can edit a message");
  if (item.redacted) throw badTarget("the event was deleted");
  if (typeof item.type !== "string" || item.stateKey !== undefined || item.edits !== undefined) throw badTarget("that is no message");
  const content = contentOf(given);
  const { user_ids: ids = [], room } = content["m.mentions"] ?? {};
  const before = item.content?.["m.mentions"] ?? {};
  // Whom the message mentioned before is not told again.
  const fresh = ids.filter((id) => !before.user_ids?.includes?.(id));
  return this.send(roomId, item.type, {
    ...content,
    body: `* ${content.body}`,
    ...(content.formatted_body && { formatted_body: `* ${content.formatted_body}` }),
    "m.mentions": { ...(fresh.length > 0 && { user_ids: fresh }), ...(room && !before.room && { room }) },
    "m.new_content": content,
    "m.relates_to": { rel_type: "m.replace", event_id: item.eventId },
  });
};

Client.prototype.react = function (roomId, eventId, key) {
  checkEvent(eventId, "eventId");
  // Longer ones are words, which nobody shows.
  if (typeof key !== "string" || key === "" || new TextEncoder().encode(key).length > 256) throw badArgument("key must be a string of 1 to 256 bytes");
  return this.send(roomId, "m.reaction", { "m.relates_to": { rel_type: "m.annotation", event_id: eventId, key } });
};

/** The arguments that the wasm takes as texts, by name. */
const TEXTS = {
  on: ["event"], events: ["event"], presenceOf: ["userId"], explain: ["userId"], room: ["roomId"], timeline: ["roomId"], past: ["roomId"], members: ["roomId"], member: ["roomId", "userId"], send: ["roomId", "type"],
  sendText: ["roomId"], reply: ["roomId"], edit: ["roomId"], react: ["roomId"], setTyping: ["roomId"], markRead: ["roomId"],
};

// Every misuse has a code, that of a client which was freed too.
for (const [name, member] of Object.entries(Object.getOwnPropertyDescriptors(Client.prototype))) {
  if (name === "constructor" || name === "free" || name.startsWith("__")) continue;
  const kind = member.get ? "get" : "value";
  const inner = member[kind];
  const outer = function (...given) {
    // What is typed as a promise says everything by it.
    if (freed.has(this)) return name === "stop" ? Promise.reject(wasFreed()) : raise(wasFreed());
    TEXTS[name]?.forEach((text, at) => checkText(given[at], text));
    return coded(() => inner.apply(this, given));
  };
  Object.defineProperty(Client.prototype, name, { ...member, [kind]: outer });
}

Client.prototype.free = function () {
  if (freed.has(this)) return;
  watching.get(this)?.abort();
  free.call(this);
  following.delete(this);
  tied.get(this)?.leave();
  freed.add(this);
  stores.get(this)?.end();
};

if (Symbol.dispose) {
  Client.prototype[Symbol.dispose] = Client.prototype.free;
  Client.prototype[Symbol.asyncDispose] = async function () {
    if (!freed.has(this)) await this.stop();
    this.free();
  };
}

const COMMANDS = [
  "logout", "setPresence", "setDisplayName", "addContact", "dropContact", "answerRequest", "setGroup", "inviteGroup",
  "privacy", "setPrivacy", "deliverPresence", "setNotifySettings", "createRoom", "joinRoom", "leaveRoom", "forgetRoom",
  "invite", "kick", "redact", "scrollBack", "jump", "scrollPast", "event", "publicRooms", "request",
];
for (const name of COMMANDS) {
  Client.prototype[name] = async function (...given) {
    if (freed.has(this)) throw wasFreed();
    // In JSON what is undefined at the end would be null, which clears where absence keeps.
    while (given.length > 0 && given.at(-1) === undefined) given.pop();
    if (name === "logout" && this.connection !== "logged_out") tied.get(this)?.tell();
    return this.command(name, coded(() => JSON.stringify(given)));
  };
}

for (const [name, run] of Object.entries(media)) {
  Client.prototype[name] = async function (...given) {
    if (freed.has(this)) throw wasFreed();
    return run(this, ...given);
  };
}

function wasFreed() {
  return new PilotlightError("FREED", "the client was freed");
}

function checkText(value, name) {
  checkKind(value, "text", name);
}

function checkEvent(value, name) {
  if (typeof value !== "string" || !/^\$./.test(value)) throw badArgument(`${name} must be an event's ID, which begins with $`);
}

function checkItem(item) {
  checkEvent(item?.eventId, "item.eventId");
}

function badTarget(message) {
  return new PilotlightError("BAD_TARGET", message);
}

function raise(error) {
  throw error;
}

function checkUrl(baseUrl) {
  checkText(baseUrl, "baseUrl");
  if (!/^https?:/i.test(baseUrl) || !URL.canParse(baseUrl)) throw badArgument("baseUrl must be an address with http:// or https://");
}

/** What the glue refuses, as a number where it wants a text, has no code of its own. */
function coded(run) {
  try {
    return run();
  } catch (error) {
    if (error instanceof TypeError) error.code ??= "BAD_ARGUMENT";
    throw error;
  }
}

export { applyTimeline } from "./store.js";
