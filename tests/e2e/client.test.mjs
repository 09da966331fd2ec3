// The package's client in Node, on its own terms: how long it lives, what it refuses, what it knows without a server.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import ts from "typescript";
import * as pilotlight from "../../pkg/node.js";
import { Call, Calls } from "../../pkg/call.js";
import { Homeserver, stock } from "./lib/homeserver.mjs";
import { Device, path, until } from "./lib/matrix.mjs";
import { root } from "./lib/paths.mjs";

let server;
const clients = [];

before(async () => {
  server = await Homeserver.start();
});

after(async () => {
  clients.forEach((client) => client.free());
  await server?.stop();
});

async function arrive(username, options, homeserver = server) {
  const session = await pilotlight.register(homeserver.baseUrl, { username, password: "correct horse battery" });
  const client = await pilotlight.Client.create(session, options);
  clients.push(client);
  client.start();
  await until("online", () => client.connection === "online");
  return client;
}

/** Runs a program with the package at hand; its exit code and what it printed. */
function node(program, ...args) {
  const head = `import * as pilotlight from ${JSON.stringify(new URL(`file://${root}/pkg/node.js`).href)};`;
  const child = spawn(process.execPath, ["--expose-gc", "--input-type=module", "--eval", head + program, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  child.printed = "";
  child.stdout.setEncoding("utf8").on("data", (text) => (child.printed += text));
  child.ended = new Promise((resolve) => child.once("exit", (code) => resolve(code)));
  return child;
}

const sessionOf = (device) => ({ baseUrl: server.baseUrl, userId: device.userId, deviceId: device.deviceId, accessToken: device.token });
const coded = (type, code) => (error) => error instanceof type && error.code === code;

test("a started client goes on when nobody holds it, through any number of collections", async () => {
  const [keeper, talker] = [await Device.register(server.baseUrl), await Device.register(server.baseUrl)];
  const room = await talker.createRoom();
  await keeper.join(room);
  const child = node(`
    async function begin() {
      const client = await pilotlight.Client.create(JSON.parse(process.argv[1]));
      client.on("connection", (state) => console.log(state));
      client.on("timeline", (_, ops) => ops.forEach((op) => op.item && console.log(op.item.content.body)));
      client.start();
    }
    await begin();
    setInterval(() => gc(), 20);
  `, JSON.stringify(sessionOf(keeper)));
  try {
    await until("online", () => child.printed.includes("online"));
    await new Promise((resolve) => setTimeout(resolve, 500)); // some twenty collections
    await talker.send(room, "still there?");
    await until("heard", () => child.printed.includes("still there?"));
  } finally {
    child.kill();
    await child.ended;
  }
});

for (const end of ["stop", "logout", "free"]) {
  test(`a client that ${end} ended keeps neither itself nor the process`, async () => {
    const device = await Device.register(server.baseUrl);
    const child = node(`
      const registry = new FinalizationRegistry(() => console.log("collected"));
      async function run() {
        const client = await pilotlight.Client.create(JSON.parse(process.argv[1]));
        registry.register(client);
        const online = new Promise((resolve) => client.on("connection", (state) => state === "online" && resolve()));
        client.start();
        await online;
        await client.${end}();
      }
      await run();
      for (let i = 0; i < 20; i++) {
        gc();
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    `, JSON.stringify(sessionOf(device)));
    assert.equal(await child.ended, 0);
    assert.match(child.printed, /collected/);
  });
}

/** A `Storage` that lasts as long as the test. */
function memory() {
  const kept = new Map();
  return {
    get length() {
      return kept.size;
    },
    key: (at) => [...kept.keys()][at] ?? null,
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
    keys: () => [...kept.keys()],
  };
}

test("logging out while the server is away forgets all that waits, and says that the server was not told", async () => {
  const own = await Homeserver.start();
  const storage = memory();
  const uma = await arrive("uma", { storage }, own);
  const roomId = await uma.createRoom({ name: "Mine" });
  await until("the room", () => uma.rooms().some((room) => room.roomId === roomId));
  await own.stop();
  uma.sendText(roomId, "nobody else's business");
  assert.ok(storage.keys().some((key) => /action\./.test(key)));
  assert.equal(uma.waiting, 1);
  const out = uma.logout();
  const left = () => storage.keys().filter((key) => !key.endsWith("/last"));
  assert.deepEqual(left(), [], "before the server is known to be away");
  await assert.rejects(out, coded(pilotlight.PilotlightError, "NETWORK"));
  assert.deepEqual([uma.connection, uma.waiting, left()], ["logged_out", 0, []]);
});

test("every misuse has a code, and nothing is sent", async () => {
  const { PilotlightError, Client } = pilotlight;
  const eve = await arrive("eve");
  const roomId = await eve.createRoom({ name: "Mine" });
  await until("the room", () => eve.rooms().some((room) => room.roomId === roomId));
  await assert.rejects(eve.addContact("notanid"), coded(PilotlightError, "BAD_USER_ID"));
  await assert.rejects(eve.invite(roomId, "notanid"), coded(PilotlightError, "BAD_USER_ID"));
  await assert.rejects(eve.joinRoom("lunch"), coded(PilotlightError, "BAD_ROOM"));
  assert.throws(() => eve.sendText("!nowhere:localhost", "hi"), coded(PilotlightError, "NOT_IN_ROOM"));
  assert.throws(() => eve.sendText(roomId, "x".repeat(60_000)), coded(PilotlightError, "TOO_LARGE"));
  for (const body of [undefined, null, 5, {}, ""]) assert.throws(() => eve.sendText(roomId, body), coded(TypeError, "BAD_ARGUMENT"));
  for (const wrong of [() => eve.presenceOf(undefined), () => eve.on("nothing", () => {}), () => eve.on("me"), () => eve.send(roomId, "m.room.message")]) {
    assert.throws(wrong, coded(TypeError, "BAD_ARGUMENT"), String(wrong));
  }
  await assert.rejects(eve.setPresence("asleep"), coded(TypeError, "BAD_ARGUMENT"));
  assert.throws(() => eve.retry(-1), coded(RangeError, "OUT_OF_RANGE"));
  for (const options of [{ idleTimeoutMs: 1 }, { presenceGraceMs: -1 }, { presenceGraceMs: 300_001 }, { presenceGraceMs: Number.NaN }]) {
    await assert.rejects(Client.create(eve.session, options), coded(RangeError, "OUT_OF_RANGE"), JSON.stringify(options));
  }
  await assert.rejects(Client.create(undefined), coded(TypeError, "BAD_ARGUMENT"));
  await assert.rejects(pilotlight.login(undefined, { user: "a", password: "b" }), coded(TypeError, "BAD_ARGUMENT"));
  assert.equal(eve.timeline(roomId).filter((item) => item.type === "m.room.message").length, 0);

  eve.free();
  eve.free();
  for (const use of [() => eve.rooms(), () => eve.me, () => eve.start(), () => eve.sendText(roomId, "hi"), () => eve.on("me", () => {})]) {
    assert.throws(use, coded(PilotlightError, "FREED"), String(use));
  }
  await assert.rejects(eve.setPresence("busy"), coded(PilotlightError, "FREED"));
});

/** Every member of the class in the types: its name, whether it is static, and whether it returns a promise. */
function typed() {
  const source = ts.createSourceFile("index.d.ts", readFileSync(`${root}/pkg/index.d.ts`, "utf8"), ts.ScriptTarget.Latest, true);
  const found = source.statements.find((statement) => ts.isClassDeclaration(statement) && statement.name?.text === "Client");
  return found.members.filter(ts.isMethodDeclaration).map((member) => ({
    name: member.name.getText(), isStatic: member.modifiers?.some(({ kind }) => kind === ts.SyntaxKind.StaticKeyword) ?? false,
    isPromise: /^Promise<.*>$/s.test(member.type?.getText() ?? ""), arity: member.parameters.length,
  }));
}

test("whatever is typed as a promise rejects, and nothing else does: not for a misuse, nor of a client that was freed", async () => {
  const own = await arrive("tabulated");
  const loop = {};
  loop.loop = loop;
  const misuses = [[], [undefined], [null], [7], [{}], [[]], [10n], [loop], ["x", undefined], ["x", "y", 10n], [Symbol("x")]];
  const members = typed();
  assert.ok(members.length > 40 && members.filter(({ isPromise }) => isPromise).length > 25, "the types are read");
  // These end the client, or do what they say whatever they are given.
  const left = new Set(["stop", "logout", "free", "start"]);
  const freed = await pilotlight.Client.create({ ...own.session, deviceId: "OTHER" }, { storage: null });
  freed.free();
  for (const { name, isStatic, isPromise } of members) {
    const subject = isStatic ? pilotlight.Client : own;
    for (const given of left.has(name) ? [] : misuses) {
      let result;
      try {
        result = subject[name](...given);
      } catch (error) {
        assert.equal(isPromise, false, `${name} threw ${error}`);
        assert.ok(error.code, `${name}: ${error} has a code`);
        continue;
      }
      assert.equal(result instanceof Promise, isPromise, name);
      if (isPromise) await result.catch((error) => assert.ok(error.code, `${name}: ${error} has a code`));
    }
    if (isStatic || name === "free") continue;
    if (isPromise) await assert.rejects(freed[name](), coded(pilotlight.PilotlightError, "FREED"), name);
    else assert.throws(() => freed[name](), coded(pilotlight.PilotlightError, "FREED"), name);
  }
});

test("what nobody can do to an event is refused at once, and what the server refuses leaves no trace but the reason", async () => {
  const { PilotlightError } = pilotlight;
  const [ann, ben] = [await arrive("ann-refuses"), await Device.register(server.baseUrl)];
  const roomId = await ann.createRoom({ name: "Refusals", public: true });
  await ben.join(roomId);
  const theirs = await ben.send(roomId, "theirs");
  ann.sendText(roomId, "mine");
  const said = (body) => until(`“${body}” is placed`, () => ann.timeline(roomId).find((item) => item.content.body === body && item.echo === "placed"));
  const [mine, other] = [await said("mine"), await said("theirs")];
  const state = ann.timeline(roomId).find((item) => item.stateKey !== undefined && item.sender === ann.session.userId);
  for (const item of [other, state, { ...mine, redacted: true }, { ...mine, sender: other.sender }, { ...mine, edits: other.eventId }, { ...mine, type: undefined }, { eventId: "$nowhere" }]) {
    assert.throws(() => ann.edit(roomId, item, "x"), coded(PilotlightError, "BAD_TARGET"), JSON.stringify(item));
  }
  // Whatever the item says: what is held counts.
  assert.throws(() => ann.edit(roomId, { ...other, sender: ann.session.userId }, "x"), coded(PilotlightError, "BAD_TARGET"));
  for (const wrong of [() => ann.react(roomId, "", "👍"), () => ann.react(roomId, "nothing", "👍"), () => ann.react(roomId, theirs, ""), () => ann.react(roomId, theirs, "x".repeat(257)),
    () => ann.reply(roomId, {}, "x"), () => ann.reply(roomId, { eventId: "x" }, "x"), () => ann.edit(roomId, undefined, "x")]) {
    assert.throws(wrong, coded(TypeError, "BAD_ARGUMENT"), String(wrong));
  }
  assert.equal(ann.waiting, 0);

  const refused = [];
  ann.on("refused", (where, item) => refused.push([where, item.type, item.error]));
  const count = () => ann.timeline(roomId).length;
  ann.react(roomId, theirs, "👍");
  assert.throws(() => ann.react(roomId, theirs, "👍"), coded(PilotlightError, "M_DUPLICATE_ANNOTATION"));
  const before = await until("it is placed", () => ann.timeline(roomId).find((item) => item.eventId === theirs).reactions?.[0].mine?.echo === "placed" && count());
  // Only the server knows of this one: what it is about is not at hand.
  const far = await ben.ok("PUT", path("/_matrix/client/v3/rooms/{}/send/{}/{}", roomId, "org.example.x", "far"), {});
  await until("it is there", () => ann.timeline(roomId).some((item) => item.eventId === far.event_id));
  await assert.rejects(ann.redact(roomId, "$nowhere:localhost"), PilotlightError);
  assert.equal(refused.length, 1);
  assert.deepEqual(refused[0].slice(0, 2), [roomId, "m.room.redaction"]);
  assert.match(refused[0][2], /^M_[A-Z_]+: /);
  assert.deepEqual([count(), ann.waiting], [before + 1, 0]);
  ann.reply(roomId, { eventId: "$nowhere:localhost", sender: ben.userId }, "an answer to nothing");
  assert.equal((await said("an answer to nothing")).replyTo, "$nowhere:localhost");
});

test("every refusal names the argument and what is wanted of it, and an option that there is not the nearest that there is", async () => {
  const { Client, login, register } = pilotlight;
  const kim = await arrive("kim");
  const account = { username: "lea", password: "correct horse battery" };
  const settings = { mutedIn: ["busy"], groups: {} };
  for (const [what, run, words] of [
    ["an option", () => Client.create(kim.session, { idleTimout: 60_000 }), /^options has no field "idleTimout": did you mean "idleTimeoutMs"\?$/],
    ["another", () => Client.create(kim.session, { presenceGrace: 0 }), /did you mean "presenceGraceMs"/],
    ["one like none", () => Client.create(kim.session, { colour: "red" }), /no field "colour"; it may have idleTimeoutMs, presenceGraceMs, deviceType, storage, trackActivity$/],
    ["its type", () => Client.create(kim.session, { idleTimeoutMs: "long" }), /^options\.idleTimeoutMs must be a number$/],
    ["a flag", () => Client.create(kim.session, { trackActivity: 1 }), /^options\.trackActivity must be true or false$/],
    ["options", () => Client.create(kim.session, "fast"), /^options must be an object$/],
    ["a session", () => Client.create({ ...kim.session, userId: 5 }), /^session\.userId must be a string$/],
    ["half a session", () => Client.create({ baseUrl: "http://x" }), /^session\.userId must be a string$/],
    ["no session", () => Client.create("session"), /^session must be an object$/],
    ["a login", () => login(server.baseUrl, { username: "kim", password: "x" }), /^account has no field "username": did you mean "user"\?$/],
    ["a password", () => login(server.baseUrl, { user: "kim" }), /^account\.password must be a string$/],
    ["a registration", () => register(server.baseUrl, { ...account, device: "x" }), /^account has no field "device": did you mean "deviceName"\?$|it may have/],
    ["an address", () => login(undefined, { user: "kim", password: "x" }), /^baseUrl must be a string$/],
    ["no address", () => login("notaurl", { user: "kim", password: "x" }), /^baseUrl must be an address with http/],
    ["a registration's", () => register("ftp://x", account), /^baseUrl must be an address with http/],
    ["a session's address", () => Client.create({ ...kim.session, baseUrl: "http://" }), /^baseUrl must be an address with http/],
    ["a session's user", () => Client.create({ ...kim.session, userId: "bob" }), /^userId must look like @name:server$/],
    ["a storage", () => Client.create(kim.session, { storage: {} }), /^storage must be a Storage$/],
    ["a storage's type", () => Client.create(kim.session, { storage: "disk" }), /^storage must be a Storage$/],
    ["a room", () => kim.createRoom({ isDirect: true }), /^room has no field "isDirect": did you mean "direct"\?$/],
    ["a room's name", () => kim.createRoom({ name: 5 }), /^room\.name must be a string$/],
    ["privacy", () => kim.setPrivacy({ autoaccept: "reverse" }), /did you mean "autoAccept"/],
    ["notify settings", () => kim.setNotifySettings({ ...settings, mutdIn: [] }), /did you mean "mutedIn"/],
    ["a state", () => kim.setPresence("asleep"), /^state must be free_for_chat, online, busy, unavailable, offline or hidden$/],
    ["words", () => kim.setPresence("busy", 5), /^statusMsg must be a string$/],
    ["an answer", () => kim.answerRequest("@bob:localhost", "maybe"), /^answer must be accept, deny or revoke$/],
    ["a user", () => kim.presenceOf(5), /^userId must be a string$/],
    ["a room ID", () => kim.timeline(), /^roomId must be a string$/],
    ["a text", () => kim.sendText("!r:localhost", 5), /^body must be a string that is not empty$/],
    ["a method", () => kim.request("PATCH", "/_matrix/x"), /^method must be GET, POST, PUT or DELETE$/],
    ["an upload's option", () => kim.upload("x", { nmae: "y" }), /^options has no field "nmae": did you mean "name"\?$/],
    ["a download's", () => kim.download("mxc://localhost/x", { abort: 1 }), /^options has no field "abort"; it may have signal$/],
    ["a thumbnail's", () => kim.thumbnail("mxc://localhost/x", { widht: 5, height: 5 }), /did you mean "width"/],
    ["an upload's name", () => kim.upload("x", { name: 5 }), /^options\.name must be a string$/],
    ["progress", () => kim.upload("x", { onProgress: true }), /^options\.onProgress must be a function$/],
    ["a signal", () => kim.upload("x", { signal: 5 }), /^options\.signal must be an AbortSignal$/],
    ["no options", () => kim.upload("x", null), /^options must be an object$/],
  ]) {
    await assert.rejects(async () => run(), (error) => error instanceof TypeError && error.code === "BAD_ARGUMENT" && words.test(error.message), what);
  }
  (await Client.create({ ...kim.session, savedAt: 5 }, { idleTimeoutMs: undefined })).free();
});

test("calls are refused where there is nothing to call with, and whatever is wrong with one has a code", async () => {
  const [lou, mia] = [await arrive("lou"), await Device.register(server.baseUrl)];
  const roomId = await lou.createRoom({ public: true });
  await mia.join(roomId);
  await until("both are there", () => lou.rooms().find((room) => room.roomId === roomId)?.memberCount === 2);
  assert.throws(() => Calls.of(lou), coded(pilotlight.PilotlightError, "UNSUPPORTED"));
  const page = { RTCPeerConnection: class {}, addEventListener: () => {}, removeEventListener: () => {} };
  const missing = Object.keys(page).filter((name) => !(name in globalThis));
  for (const name of missing) globalThis[name] = page[name];
  try {
    const calls = Calls.of(lou, { iceTransportPolicy: undefined });
    assert.equal(Calls.of(lou), calls);
    const call = calls.place(roomId);
    for (const [run, words] of [
      [() => Calls.of({}), /^client must be a Client$/],
      [() => Calls.of(lou, { iceServer: [] }), /^options has no field "iceServer": did you mean "iceServers"\?$/],
      [() => Calls.of(lou, { foo: 1 }), /^options has no field "foo"; it may have iceTransportPolicy, iceServers$/],
      [() => Calls.of(lou, { iceTransportPolicy: "none" }), /^options\.iceTransportPolicy must be all or relay$/],
      [() => new Calls(), /^client must be a Client$/],
      [() => new Call(), /^a call comes of place/],
      [() => calls.place(5), /^roomId must be a string$/],
      [() => calls.place(roomId, { vidoe: true }), /^options has no field "vidoe": did you mean "video"\?$/],
      [() => calls.place(roomId, { video: 1 }), /^options\.video must be true or false$/],
      [() => calls.place(roomId, { userId: 5 }), /^options\.userId must be a string$/],
      [() => calls.get(), /^callId must be a string$/],
      [() => calls.on("cal", () => {}), /^on\(\) takes/],
      [() => call.answer({ vidoe: true }), /did you mean "video"/],
      [() => call.muteMicrophone("x"), /^muted must be true or false$/],
      [() => call.setHold(), /^hold must be true or false$/],
    ]) {
      assert.throws(run, (error) => error instanceof TypeError && error.code === "BAD_ARGUMENT" && words.test(error.message), String(run));
    }
    await assert.rejects(call.setCamera(1), coded(TypeError, "BAD_ARGUMENT"));
    assert.throws(() => calls.place(roomId), coded(pilotlight.PilotlightError, "BUSY"));
    calls.close();
    assert.throws(() => calls.place(roomId), coded(pilotlight.PilotlightError, "NO_SUCH_CALL"));
    assert.notEqual(Calls.of(lou), calls);
    Calls.of(lou).close();
  } finally {
    for (const name of missing) delete globalThis[name];
  }
});

test("an answer of what is no homeserver is not understood, whatever its status", async () => {
  for (const [status, body] of [[404, "<h1>Not Found</h1>"], [200, "hello"], [502, ""], [403, "{}"]]) {
    const web = createServer((_, response) => response.writeHead(status, { "Content-Type": "text/html" }).end(body)).listen(0, "127.0.0.1");
    await once(web, "listening");
    const login = pilotlight.login(`http://127.0.0.1:${web.address().port}`, { user: "kim", password: "x" });
    await assert.rejects(login, (error) => error instanceof pilotlight.PilotlightError && error.code === "BAD_ANSWER", String(status));
    web.close();
  }
});

test("what a server refuses is said without its parser's words", async () => {
  const may = await arrive("may");
  const room = await may.createRoom({ name: "May" });
  for (const [run, words] of [
    [() => may.setPrivacy({ share: "friends" }), /^unknown value `friends`, expected one of `nobody`, `list`, `shared_rooms`$/],
    [() => may.request("POST", `/_matrix/client/v3/rooms/${encodeURIComponent(room)}/kick`, { user_id: "bob" }), /^an ID begins with @/],
  ]) {
    const { message } = await run().catch((error) => error);
    assert.match(message, words);
    assert.doesNotMatch(message, / line \d/);
  }
});

test("what has nothing to say resolves to nothing", async () => {
  const ned = await arrive("ned");
  assert.equal(await ned.setPresence("busy", "writing"), undefined);
  assert.deepEqual([ned.me.state, ned.me.statusMsg], ["busy", "writing"], "what was taken");
  assert.equal(await ned.setDisplayName("Ned"), undefined);
  assert.equal(await ned.setNotifySettings({ mutedIn: [], groups: {} }), undefined);
});

for (const told of [true, false]) {
  test(`who logs out in one client has logged out in all of the session, ${told ? "server or not" : "also while the server is away"}`, async () => {
    const own = await Homeserver.start();
    const storage = memory();
    const here = await arrive("vera", { storage }, own);
    const there = await pilotlight.Client.create(here.session, { storage });
    const roomId = await here.createRoom({ name: "Mine" });
    there.start();
    await until("the room", () => there.rooms().some((room) => room.roomId === roomId));
    if (!told) await own.stop();
    if (!told) there.sendText(roomId, "nobody else's business");
    await here.logout().catch((error) => assert.equal(told, false, error.message));
    await until("the other is told", () => there.connection === "logged_out");
    assert.throws(() => there.sendText(roomId, "later"), coded(pilotlight.PilotlightError, "LOGGED_OUT"));
    await assert.rejects(there.setPresence("busy"), coded(pilotlight.PilotlightError, "LOGGED_OUT"));
    there.start();
    assert.deepEqual([there.connection, there.waiting], ["logged_out", 0]);
    assert.deepEqual(storage.keys().filter((key) => !key.endsWith("/last")), [], "and nothing comes back");
    for (const client of [here, there]) client.free();
    if (told) await own.stop();
  });
}

test("a registration shows its token where the homeserver asks for one", { skip: stock && "is configured in another way there" }, async () => {
  const guarded = await Homeserver.start({ registration: "token", registration_token: "sesame" });
  const register = (more) => pilotlight.register(guarded.baseUrl, { username: "wim", password: "correct horse battery", ...more });
  try {
    await assert.rejects(register(), coded(pilotlight.PilotlightError, "REGISTRATION_TOKEN_NEEDED"));
    await assert.rejects(register({ registrationToken: "wrong" }), coded(pilotlight.PilotlightError, "M_FORBIDDEN"));
    assert.equal((await register({ registrationToken: "sesame" })).userId, "@wim:localhost");
  } finally {
    await guarded.stop();
  }
});

test("plain text is never sent into an encrypted room, by no way", async () => {
  const cat = await arrive("cat");
  const talker = await Device.register(server.baseUrl);
  const roomId = await talker.createRoom();
  await cat.joinRoom(roomId);
  cat.sendText(roomId, "in the open"); // before the stream has brought the room: it waits until then
  await until("placed", () => cat.timeline(roomId).some((item) => item.content.body === "in the open" && item.echo === "placed"));
  await talker.ok("PUT", path("/_matrix/client/v3/rooms/{}/state/m.room.encryption/", roomId), { algorithm: "m.megolm.v1.aes-sha2" });
  await until("encrypted", () => cat.rooms().find((room) => room.roomId === roomId).encrypted);
  const refused = coded(pilotlight.PilotlightError, "ENCRYPTED_ROOM");
  assert.throws(() => cat.sendText(roomId, "secret"), refused);
  assert.throws(() => cat.send(roomId, "m.room.message", { msgtype: "m.text", body: "secret" }), refused);
  const target = path("/_matrix/client/v3/rooms/{}/send/m.room.message/1", roomId);
  await assert.rejects(cat.request("PUT", target, { msgtype: "m.text", body: "secret" }), refused);
  const bodies = (await talker.history(roomId)).map((event) => event.content.body).filter(Boolean);
  assert.deepEqual(bodies, ["in the open"]);

  // A room that is encrypted from its first event on, and written to before the stream has brought it.
  const vault = await talker.createRoom({ preset: "public_chat", initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }] });
  await cat.joinRoom(vault);
  try {
    cat.sendText(vault, "secret");
    await until("failed", () => cat.timeline(vault).some((item) => item.echo === "failed" && item.error.startsWith("ENCRYPTED_ROOM")));
  } catch (error) {
    assert.ok(refused(error), error);
  }
  assert.equal((await talker.history(vault)).filter((event) => event.type === "m.room.message").length, 0);
});

test("without its server a client knows nobody's presence, and takes up where it was", async () => {
  const own = await Homeserver.start({ "presence.offline_grace": "20s" });
  try {
    const [ann, ben] = [await arrive("ann", { presenceGraceMs: 300 }, own), await arrive("ben", {}, own)];
    const roomId = await ann.createRoom({ public: true });
    await ben.joinRoom(roomId);
    const seen = () => ann.presenceOf(ben.session.userId)?.state;
    await until("seen", () => seen() === "online" && ann.me.shown === "online");
    const told = [];
    ann.on("presence", (changes) => told.push(...changes.filter((one) => one.userId === ben.session.userId).map((one) => one.state)));
    const before = Date.now();
    await own.end("SIGKILL");
    await until("unknown", () => seen() === "unknown", 3000);
    assert.ok(Date.now() - before >= 250, "after the grace");
    assert.equal(ann.me.shown, "unknown");
    assert.equal(ann.me.state, "online", "the choice stands");
    assert.deepEqual([...new Set(ann.presences().map((one) => one.state))], ["unknown"]);
    const chosen = ann.setPresence("busy", "server hunting");
    assert.equal(ann.me.state, "busy");
    await own.up();
    await chosen;
    await until("back", () => seen() === "online" && ben.presenceOf(ann.session.userId)?.state === "busy", 40_000);
    assert.equal(told[0], "unknown", "told by a change set");
    assert.equal(ben.presenceOf(ann.session.userId).statusMsg, "server hunting");
    for (const client of [ann, ben]) await client.stop();
    assert.equal(seen(), "unknown", "nor does a client that was stopped");
  } finally {
    await own.stop();
  }
});
