// What the package's client gives to read: the same objects until they change; whom it tells of a change; what it iterates over;
// why it shows somebody as it does.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { asked, raw } from "./lib/raw.mjs";
import * as pilotlight from "../../pkg/node.js";
import { Homeserver, stock } from "./lib/homeserver.mjs";
import { Device, path, until } from "./lib/matrix.mjs";
import { root } from "./lib/paths.mjs";

let server;
const clients = [];
const STOCK = { skip: stock && "a stock server has no presence lists" };
const coded = (type, code) => (error) => error instanceof type && error.code === code;

before(async () => {
  server = await Homeserver.start();
});

after(async () => {
  clients.forEach((client) => client.free());
  await server?.stop();
});

const sessionOf = (device) => ({ baseUrl: device.baseUrl, userId: device.userId, deviceId: device.deviceId, accessToken: device.token });

async function arrive(options, device) {
  const client = await pilotlight.Client.create(sessionOf(device ?? (await Device.register(server.baseUrl))), options);
  clients.push(client);
  client.start();
  await until("online", () => client.connection === "online");
  return client;
}

/** A client in a room with others, of whom it has heard. */
async function company(count) {
  const client = await arrive();
  const others = await Promise.all(Array.from({ length: count }, () => Device.register(server.baseUrl)));
  const roomId = await client.createRoom({ public: true });
  for (const other of others) {
    await other.join(roomId);
    await other.setPresence("online", "here");
  }
  await until("everybody", () => others.every((other) => client.presenceOf(other.userId)?.statusMsg === "here"));
  return { client, others, roomId };
}

/** A room or the members of one as both say it: a member who types is told of, whether the wasm lists them or not. */
const READERS = ["presences", "rooms", "contacts", "calls"];
function same(client, roomIds, users) {
  for (const name of READERS) assert.deepEqual(client[name](), raw(client, name), name);
  for (const name of ["me", "notifySettings"]) assert.deepEqual(client[name], raw(client, name), name);
  for (const userId of users) assert.deepEqual(client.presenceOf(userId), raw(client, "presenceOf", userId), userId);
  for (const roomId of roomIds) {
    for (const name of ["timeline", "past", "members"]) assert.deepEqual(client[name](roomId), raw(client, name, roomId), name);
    assert.deepEqual(client.room(roomId), raw(client, "rooms").find((room) => room.roomId === roomId));
  }
}

test("what is read is the same object, frozen, until that very thing changes", async () => {
  const { client, others: [ann, ben, cat], roomId } = await company(3);
  const elsewhere = await client.createRoom({ name: "Elsewhere" });
  await until("there", () => client.room(elsewhere)?.name === "Elsewhere" && client.members(elsewhere).length === 1);
  const selectors = [
    "me", "presences", "contacts", "rooms", "calls", "notifySettings", { presence: ann.userId }, { presence: ben.userId },
    { room: roomId }, { room: elsewhere }, { timeline: roomId }, { timeline: elsewhere }, { past: roomId }, { members: roomId }, { members: elsewhere },
  ];
  await until("all members", () => client.members(roomId).filter((member) => member.membership === "join").length === 4);
  const once = selectors.map((selector) => client.read(selector));
  const stays = (...changed) => {
    selectors.forEach((selector, at) => {
      const words = JSON.stringify(selector);
      const [before, now] = [once[at], client.read(selector)];
      // The server may have told of more meanwhile, such as when somebody was active.
      assert.equal(now === before, JSON.stringify(now) === JSON.stringify(before), `${words} is another object if it is another thing`);
      if (changed.includes(words)) assert.notEqual(now, before, words);
      assert.ok(now === undefined || Object.isFrozen(now), words);
      once[at] = now;
    });
  };
  stays();
  assert.equal(client.me, client.me);
  assert.equal(client.presenceOf(ann.userId), client.presences().find((one) => one.userId === ann.userId), "one object for one user");
  assert.equal(client.rooms().find((room) => room.roomId === roomId), client.room(roomId));
  const before = client.presences();

  await ben.setPresence("online", "at lunch");
  await until("told", () => client.presenceOf(ben.userId).statusMsg === "at lunch");
  stays(JSON.stringify("presences"), JSON.stringify({ presence: ben.userId }));
  for (const one of client.presences()) {
    const then = before.find(({ userId }) => userId === one.userId);
    assert.equal(one === then, JSON.stringify(one) === JSON.stringify(then), "the others are who they were");
  }

  await cat.send(roomId, "hello");
  await until("said", () => client.timeline(roomId).at(-1).content.body === "hello");
  await until("unread is counted", () => client.room(roomId).unread === 1);
  stays(JSON.stringify("rooms"), JSON.stringify({ room: roomId }), JSON.stringify({ timeline: roomId }));

  await client.setPresence("busy");
  await until("told of me", () => client.presenceOf(client.session.userId)?.state === "busy");
  stays(JSON.stringify("me"), JSON.stringify("presences"));
  for (const write of [() => client.presences().push(1), () => (client.me.state = "online"), () => (client.timeline(roomId)[0].key = "x")]) {
    assert.throws(write, TypeError);
  }
  assert.throws(() => pilotlight.applyTimeline(client.timeline(roomId), []), coded(TypeError, "BAD_ARGUMENT"));
});

for (const subscribed of [false, true]) {
  test(`what is kept is what the wasm says, after every step of a busy hour, ${subscribed ? "with" : "without"} subscriptions`, async () => {
    const { client, others: [ann, ben, cat], roomId } = await company(3);
    const users = [ann, ben, cat].map((one) => one.userId);
    const rooms = [roomId];
    const seen = {};
    const watch = (selector) => client.subscribe(selector, (value) => (seen[JSON.stringify(selector)] = value));
    if (subscribed) {
      for (const name of [...READERS, "me", "notifySettings"]) watch(name);
      for (const kind of ["room", "timeline", "past", "members"]) watch({ [kind]: roomId });
      for (const userId of users) watch({ presence: userId });
    }
    // Who listens reads while more is still to be told.
    let turn = 0;
    for (const event of ["presence", "rooms", "timeline", "members", "me", "contacts"]) {
      client.on(event, () => ++turn % 2 && [client.rooms(), client.timeline(roomId), client.presences(), client.members(roomId)]);
    }
    const step = async (what, run, seenBy) => {
      await run();
      if (seenBy) await until(what, seenBy);
      await until(`${what}: settled`, () => client.waiting === 0);
      same(client, rooms, users);
      for (const [words, value] of Object.entries(seen)) assert.equal(client.read(JSON.parse(words)), value, `${what}: ${words} was told`);
    };
    const bodies = () => client.timeline(roomId).map((item) => item.content.body);
    let eventId, root;
    await step("a message", () => ann.send(roomId, "one").then((id) => (eventId = id)), () => bodies().includes("one"));
    await step("an echo", () => client.sendText(roomId, "two"), () => client.timeline(roomId).at(-1).echo === "placed");
    await step("an answer", () => client.reply(roomId, client.timeline(roomId).find((item) => item.eventId === eventId), "three"), () => client.timeline(roomId).at(-1).echo === "placed");
    await step("a reaction", () => client.react(roomId, eventId, "👍"), () => client.timeline(roomId).some((item) => item.reactions?.length > 0));
    await step("a redaction", () => ann.ok("PUT", path("/_matrix/client/v3/rooms/{}/redact/{}/1", roomId, eventId), {}), () => client.timeline(roomId).some((item) => item.redacted));
    await step("presence", () => Promise.all([ann, ben, cat].map((one) => one.setPresence("unavailable", "away"))), () => users.every((id) => client.presenceOf(id).statusMsg === "away"));
    await step("typing", () => ben.ok("PUT", path("/_matrix/client/v3/rooms/{}/typing/{}", roomId, ben.userId), { typing: true, timeout: 20_000 }), () => client.members(roomId).some((member) => member.typing));
    await step("a name", () => client.setDisplayName("Kay"), () => client.me.displayName === "Kay");
    await step("settings", () => client.setNotifySettings({ mutedIn: ["offline"], groups: {} }), () => client.notifySettings.mutedIn.length === 1);
    await step("a new room", async () => rooms.push(await client.createRoom({ name: "New" })), () => client.room(rooms[1])?.name === "New");
    for (let n = 0; n < 40; n++) root = await cat.send(roomId, `n${n}`);
    await step("many messages", () => {}, () => client.timeline(roomId).at(-1).eventId === root);
    await step("somebody leaves", () => cat.ok("POST", path("/_matrix/client/v3/rooms/{}/leave", roomId), {}), () => client.members(roomId).some((member) => member.membership === "leave"));
    if (!stock) {
      await step("a request", () => client.addContact(cat.userId), () => client.contacts().some((one) => one.listed === "pending"));
      await step("a drop", () => client.dropContact(cat.userId), () => client.contacts().length === 0);
    }
    await step("a room that is left", () => client.leaveRoom(rooms[1]), () => client.room(rooms[1])?.membership !== "join");
    await step("and forgotten", () => client.forgetRoom(rooms[1]), () => client.room(rooms[1]) === undefined);
    await step("the stop", () => client.stop(), () => users.every((id) => client.presenceOf(id).state === "unknown"));
    client.start();
    await step("the start", () => {}, () => client.connection === "online" && users.slice(0, 2).every((id) => client.presenceOf(id).state === "unavailable"));
    if (subscribed) assert.ok(Object.keys(seen).length > 10, "they were told");
  });
}

test("who is subscribed to one user is told of that one, once, with what is read", async () => {
  const { client, others: [ann, ben], roomId } = await company(2);
  const [told, order] = [{ ann: [], ben: [], all: [] }, []];
  client.subscribe({ presence: ann.userId }, (one) => told.ann.push(one));
  client.subscribe({ presence: ben.userId }, (one) => told.ben.push(one));
  client.subscribe("presences", (all) => told.all.push(all));
  client.on("presence", () => order.push("on"));
  client.subscribe({ presence: ben.userId }, () => order.push("subscribe"));
  await ben.setPresence("online", "at lunch");
  await until("told", () => told.ben.length > 0);
  assert.deepEqual([told.ann.length, told.ben.length, told.all.length], [0, 1, 1]);
  assert.equal(told.ben[0], client.presenceOf(ben.userId));
  assert.equal(told.all[0], client.presences());
  assert.deepEqual(order, ["on", "subscribe"], "those who are told of everything come first");

  // An echo, its sending and its place are three changes, and each is told before `send` or the answer returns.
  const echoes = [];
  client.subscribe({ timeline: roomId }, (items) => echoes.push(items.at(-1).echo));
  client.sendText(roomId, "hi");
  assert.equal(echoes.length, 1, "before it returns");
  await until("placed", () => echoes.at(-1) === "placed");
});

test("a change set of many is one call for each who is concerned", async () => {
  const { client, others } = await company(4);
  let calls = 0;
  client.subscribe("presences", () => calls++);
  others.forEach((other) => client.subscribe({ presence: other.userId }, () => calls++));
  await client.stop();
  assert.equal(calls, 5, "everybody became unknown: the list once, each user once");
});

test("one who throws stops nobody, one who left is not called, one who comes is called from the next on", async (t) => {
  const { client, others: [ann] } = await company(1);
  const thrown = t.mock.method(console, "error", () => {});
  const told = [];
  const selector = { presence: ann.userId };
  client.subscribe(selector, () => {
    told.push("first");
    second();
    client.subscribe(selector, () => told.push("late"));
    throw new Error("mine");
  });
  const second = client.subscribe(selector, () => told.push("second"));
  client.subscribe(selector, () => told.push("third"));
  client.on("presence", () => {
    throw new Error("mine too");
  });
  await ann.setPresence("online", "one");
  await until("told", () => told.length === 2);
  assert.deepEqual(told, ["first", "third"]);
  assert.deepEqual(thrown.mock.calls.map(({ arguments: [error] }) => error.message), ["mine too", "mine"]);
  await ann.setPresence("online", "two");
  await until("told again", () => told.length === 5);
  assert.deepEqual(told.slice(2), ["first", "third", "late"]);
  second();
});

test("one who frees the client while it tells ends everything, and nothing is called any more", async () => {
  const { client, others: [ann] } = await company(1);
  const told = [];
  const changes = client.events("presence");
  client.subscribe({ presence: ann.userId }, () => {
    told.push("first");
    client.free();
  });
  const off = client.subscribe({ presence: ann.userId }, () => told.push("second"));
  client.subscribe("presences", () => told.push("third"));
  await ann.setPresence("online", "one");
  await until("told", () => told.length > 0);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(told, ["third", "first"]);
  assert.equal((await changes.next()).value.length, 1, "what was told before");
  assert.deepEqual(await changes.next(), { value: undefined, done: true });
  off();
  for (const use of [() => client.subscribe("me", () => {}), () => client.read("me"), () => client.events("me"), () => client.room("!x:y"), () => client.explain("@x:y")]) {
    assert.throws(use, coded(pilotlight.PilotlightError, "FREED"), String(use));
  }
});

test("a selector that there is not is refused, with the nearest that there is", async () => {
  const client = await arrive();
  for (const [selector, words] of [
    ["presence", /^selector must be me, connection, .*, or an object with one of presence, contact, room, timeline, past, members$/],
    [{ presens: "@a:b" }, /^selector has no field "presens": did you mean "presence"\?$/],
    [{ presence: 5 }, /^selector\.presence must be a string$/],
    [{}, /^selector must have one of presence, /],
    [{ room: "!a:b", timeline: "!a:b" }, /^selector must have one of presence, /],
    [undefined, /^selector must be an object$/],
    ["toString", /^selector must be me, /],
  ]) {
    const refused = (error) => coded(TypeError, "BAD_ARGUMENT")(error) && words.test(error.message);
    assert.throws(() => client.subscribe(selector, () => {}), refused, String(selector));
    assert.throws(() => client.read(selector), refused, String(selector));
  }
  assert.throws(() => client.subscribe("me"), coded(TypeError, "BAD_ARGUMENT"));
  for (const wrong of [() => client.events("nothing"), () => client.events("tabs"), () => client.events(), () => client.events("me", { signal: 5 }), () => client.events("me", { signle: 5 })]) {
    assert.throws(wrong, coded(TypeError, "BAD_ARGUMENT"), String(wrong));
  }
});

test("the wasm is asked for no event that nobody reads or listens to, and for none any more when they have gone", async () => {
  const { others: [ann], roomId } = await company(1);
  const client = await arrive();
  await client.joinRoom(roomId);
  const listening = () => {
    const now = new Set();
    for (const event of asked.get(client)) event.startsWith("-") ? now.delete(event.slice(1)) : now.add(event);
    return [...now].filter((event) => !["tabs", "connection"].includes(event)).sort();
  };
  // A room that is read is kept with the others: they are heard of until all has changed.
  await until("a room, by a listener", () => raw(client, "rooms").some((room) => room.roomId === roomId));
  assert.deepEqual(listening(), []);
  await until("presence", () => raw(client, "presenceOf", ann.userId)?.state === "online");
  const off = client.subscribe({ presence: ann.userId }, () => {});
  assert.deepEqual(listening(), ["presence", "settled"]);
  assert.equal(client.presenceOf(ann.userId).state, "online");
  off();
  off();
  await ann.setPresence("online", "gone for tea");
  await until("changed", () => raw(client, "presenceOf", ann.userId).statusMsg === "gone for tea");
  assert.deepEqual(listening(), [], "what was kept of her is forgotten");
  assert.equal(client.presenceOf(ann.userId), client.presenceOf(ann.userId));
  assert.deepEqual(listening(), ["presence"]);
  client.timeline(roomId);
  await ann.send(roomId, "x");
  await until("said", () => raw(client, "timeline", roomId).at(-1).content.body === "x");
  await ann.send(roomId, "y");
  await until("forgotten", () => !listening().some((event) => ["timeline", "rooms"].includes(event)));
});

test("a timeline that nobody holds or subscribes to is kept by nobody", () => {
  const program = `
    import { Store } from ${JSON.stringify(`file://${root}/pkg/store.js`)};
    let made = 0;
    const big = () => (made++, [{ key: "a", body: new Uint8Array(1 << 20) }]);
    const store = new Store((name) => (name === "on" ? () => {} : big()));
    const turn = () => new Promise((resolve) => setTimeout(resolve, 5));
    const collect = async () => { for (let n = 0; n < 5; n++) { await turn(); gc(); } };
    const rooms = Array.from({ length: 50 }, (_, n) => "!" + n);
    for (const room of rooms) store.read("timeline", room);
    await collect();
    const left = process.memoryUsage().arrayBuffers >> 20;
    const held = store.read("timeline", "!0");
    await collect();
    console.log(JSON.stringify([left, store.read("timeline", "!0") === held, made]));
  `;
  const { stdout, stderr } = spawnSync(process.execPath, ["--expose-gc", "--input-type=module", "--eval", program], { encoding: "utf8" });
  assert.equal(stderr, "");
  const [left, isHeld, made] = JSON.parse(stdout);
  assert.ok(left < 5, `${left} MB left`);
  assert.deepEqual([isHeld, made], [true, 51]);
});

test("an iteration gives what has changed, merged while nobody takes it", async () => {
  const { client, others: [ann, ben], roomId } = await company(2);
  const [changes, rooms, edits, me] = ["presence", "rooms", "timeline", "me"].map((event) => client.events(event));
  for (const words of ["one", "two", "three"]) {
    await ann.setPresence("online", words);
    await until(words, () => client.presenceOf(ann.userId).statusMsg === words);
  }
  await ben.setPresence("online", "four");
  await until("four", () => client.presenceOf(ben.userId).statusMsg === "four");
  const { value } = await changes.next();
  assert.deepEqual(value.map((one) => one.statusMsg), ["three", "four"], "each once, as they are");
  const next = changes.next();
  await ann.setPresence("busy", "five");
  assert.deepEqual((await next).value.map((one) => one.statusMsg), ["five"]);

  const items = [...client.timeline(roomId)];
  for (let n = 0; n < 3; n++) client.sendText(roomId, `text ${n}`);
  await until("placed", () => client.timeline(roomId).at(-1).content.body === "text 2" && client.timeline(roomId).at(-1).echo === "placed");
  const [[changedId, ops], [changed, removed]] = [(await edits.next()).value, (await rooms.next()).value];
  assert.equal(changedId, roomId);
  assert.deepEqual(pilotlight.applyTimeline(items, ops), client.timeline(roomId));
  assert.deepEqual([changed.map((room) => room.roomId), removed], [[roomId], []]);
  assert.deepEqual(changed[0], client.room(roomId));
  await client.setPresence("busy", "a");
  await client.setPresence("busy", "b");
  assert.deepEqual((await me.next()).value, client.me, "the last of several");

  // More edits than are kept one by one: the timeline as it is.
  const many = client.events("timeline");
  const key = client.timeline(roomId).at(-1).eventId;
  for (let n = 0; n < 501; n++) {
    const action = client.react(roomId, key, `k${n}`);
    client.cancel(action);
  }
  const [, reset] = (await many.next()).value;
  assert.deepEqual(reset.map((op) => op.op), ["reset"]);
  assert.deepEqual(reset[0].items, client.timeline(roomId));
});

test("an iteration ends with its loop, the client's stop, its freeing, and by the reason of a signal", async () => {
  const { client, others: [ann] } = await company(1);
  let count = 0;
  setTimeout(() => ann.setPresence("busy", "now"), 10);
  for await (const changes of client.events("presence")) {
    count += changes.length;
    break;
  }
  assert.ok(count > 0);
  const control = new AbortController();
  const reason = new Error("enough");
  const told = client.events("presence", { signal: control.signal });
  const waiting = [told.next(), told.next()];
  control.abort(reason);
  await assert.rejects(waiting[0], reason);
  assert.deepEqual(await waiting[1], { value: undefined, done: true });
  await assert.rejects(client.events("me", { signal: AbortSignal.abort(reason) }).next(), reason);

  const left = client.events("presence");
  assert.deepEqual(await left.return("mine"), { value: "mine", done: true });
  assert.deepEqual(await left.next(), { value: undefined, done: true });

  const connection = client.events("connection");
  const states = [];
  const ended = (async () => {
    for await (const [state] of connection) states.push(state);
  })();
  const presence = client.events("presence");
  await client.stop();
  await ended;
  assert.deepEqual(states, ["stopped"]);
  assert.deepEqual((await presence.next()).value.find((one) => one.userId === ann.userId).state, "unknown", "the last word is still given");
  assert.equal((await presence.next()).done, true);

  const unstarted = client.events("connection");
  client.start();
  assert.deepEqual((await unstarted.next()).value, ["connecting", undefined]);
  const freed = client.events("idle").next();
  client.free();
  assert.deepEqual(await freed, { value: undefined, done: true });
});

test("a client is disposed of as its language has it", { skip: !Symbol.asyncDispose && "this Node has no such symbols" }, async () => {
  const [one, other] = [await arrive(), await arrive()];
  const states = [];
  one.on("connection", (state) => states.push(state));
  await one[Symbol.asyncDispose]();
  await one[Symbol.asyncDispose]();
  assert.deepEqual(states, ["stopped"]);
  other[Symbol.dispose]();
  other[Symbol.dispose]();
  for (const client of [one, other]) assert.throws(() => client.me, coded(pilotlight.PilotlightError, "FREED"));
});

test("nothing throws before the wasm is there: it waits", () => {
  const program = `
    import { readFileSync } from "node:fs";
    import * as p from ${JSON.stringify(`file://${root}/pkg/index.js`)};
    const account = { user: "ann", password: "x" };
    const session = { baseUrl: "http://127.0.0.1:1", userId: "@a:b", deviceId: "D", accessToken: "t" };
    const code = (run) => { try { run(); return "fine"; } catch (error) { return error.constructor.name + " " + error.code; } };
    const waiting = [p.init(readFileSync(${JSON.stringify(`${root}/pkg/wasm/pilotlight_bg.wasm`)})), p.Client.create(session),
      p.login(session.baseUrl, account), p.register(session.baseUrl, { username: "ann", password: "x" }), p.init()];
    const at_once = [() => p.applyTimeline([], []), () => new p.Client(session), () => p.Client(session), () => new p.PilotlightError("A", "b")].map(code);
    const ended = await Promise.allSettled(waiting);
    ended[1].value.free();
    console.log(JSON.stringify([at_once, ended.map(({ status, reason }) => reason?.code ?? status), ended[1].value instanceof p.Client]));
  `;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], { encoding: "utf8" });
  assert.equal(stderr, "");
  assert.deepEqual(JSON.parse(stdout), [
    ["fine", "TypeError BAD_ARGUMENT", "TypeError BAD_ARGUMENT", "fine"], ["fulfilled", "fulfilled", "NETWORK", "NETWORK", "fulfilled"], true,
  ]);
});

test("every code that the package has of its own is in its types, and every one there is used", () => {
  const types = readFileSync(`${root}/pkg/index.d.ts`, "utf8");
  const union = types.slice(types.indexOf("export type OwnErrorCode"), types.indexOf("/**\n * Why something did not succeed"));
  const listed = new Set([...union.matchAll(/"([A-Z_]+)"/g)].map(([, code]) => code));
  const files = spawnSync("git", ["ls-files", "-co", "--exclude-standard", "pkg/*.js", "src/core/client/*.rs", "src/core/call/*.rs", "src/browser/*.rs"], { cwd: root, encoding: "utf8" }).stdout.trim().split("\n");
  const used = new Set();
  for (const file of files.filter((name) => !name.includes("/tests/"))) {
    const source = readFileSync(`${root}/${file}`, "utf8").split("#[cfg(test)]")[0];
    for (const [, code] of source.matchAll(/"([A-Z][A-Z]+(?:_[A-Z]+)*)"/g)) used.add(code);
  }
  for (const other of ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]) used.delete(other);
  const strays = [...used].filter((code) => !listed.has(code) && !code.startsWith("M_"));
  assert.deepEqual(strays, [], "not in the types");
  assert.deepEqual([...listed].filter((code) => !used.has(code)), [], "used by nothing");
});

test("a client says why it shows somebody as it does", STOCK, async () => {
  const own = await Homeserver.start();
  try {
    const [device, friend, stranger, denier] = await Promise.all(Array.from({ length: 4 }, () => Device.register(own.baseUrl)));
    const client = await arrive({ presenceGraceMs: 500 }, device);
    const why = (userId) => client.explain(userId).reasons.map((reason) => reason.code);
    const roomId = await client.createRoom({ public: true });
    await friend.join(roomId);
    await friend.setPresence("busy", "x");
    await until("busy", () => client.presenceOf(friend.userId)?.state === "busy");
    const { shown, reasons, userId } = client.explain(friend.userId);
    assert.deepEqual([userId, shown, reasons[0].code, reasons[0].text], [friend.userId, "busy", "server_said", "the homeserver says busy"]);
    assert.ok(Math.abs(Date.now() - reasons[0].since) < 10_000, "since when");
    assert.deepEqual(why(stranger.userId), ["never_heard", "nothing_shared"]);
    await client.addContact(denier.userId);
    await until("asked", () => why(denier.userId).includes("list_pending"));
    await denier.ok("POST", path("/_matrix/client/unstable/org.pilotlight/presence/requests/{}/{}", denier.userId, device.userId), { answer: "deny" });
    await until("denied", () => why(denier.userId).includes("list_denied"));
    await client.setPresence("busy");
    assert.deepEqual([client.explain(device.userId).shown, why(device.userId)[0]], ["busy", "chosen"]);
    await own.end("SIGKILL");
    await until("lost", () => client.presenceOf(friend.userId).state === "unknown");
    const lost = client.explain(friend.userId);
    assert.deepEqual([lost.shown, lost.reasons.map((reason) => reason.code)], ["unknown", ["connection_lost"]]);
    assert.ok(lost.reasons[0].since <= Date.now() - 400, "since it broke off, not since it is shown");
    void client.setPresence("online").catch(() => {});
    assert.deepEqual(why(device.userId), ["connection_lost", "chosen", "not_told"]);
    await client.stop();
    assert.deepEqual(why(friend.userId), ["stopped"]);
  } finally {
    await own.stop();
  }
});
