// The npm package as a stranger gets it: packed, installed elsewhere, typed, and used in Node.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { Homeserver } from "./lib/homeserver.mjs";
import { until } from "./lib/matrix.mjs";
import { root } from "./lib/paths.mjs";

// A guard against growth, just above what it is.
const MAX_INSTALLED_BYTES = 668_000;
let dir, pilotlight, server;
const clients = [];

before(async () => {
  dir = mkdtempSync(join(tmpdir(), "pilotlight-package-"));
  const packed = JSON.parse(run("npm", ["pack", "--json", "--pack-destination", dir], join(root, "pkg")))[0];
  writeFileSync(join(dir, "package.json"), '{"private":true,"type":"module"}');
  run("npm", ["install", "--offline", "--no-audit", "--no-fund", `./${packed.filename}`], dir);
  pilotlight = await import(pathToFileURL(join(dir, "node_modules/pilotlight/node.js")));
  server = await Homeserver.start();
});

after(async () => {
  for (const client of clients) {
    await client.stop();
    client.free();
  }
  await server?.stop();
  rmSync(dir, { recursive: true, force: true });
});

function run(program, args, cwd) {
  return execFileSync(program, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

async function arrive(username) {
  const session = await pilotlight.register(server.baseUrl, { username, password: "correct horse battery" });
  const client = await pilotlight.Client.create(session);
  clients.push(client);
  client.start();
  await until("online", () => client.connection === "online");
  return client;
}

test("it holds what it names, depends on nothing, and is small", () => {
  const installed = join(dir, "node_modules/pilotlight");
  const manifest = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
  assert.deepEqual([manifest.dependencies, manifest.scripts], [undefined, undefined]);
  const optional = Object.keys(manifest.peerDependenciesMeta).filter((peer) => manifest.peerDependenciesMeta[peer].optional);
  assert.deepEqual(optional.sort(), Object.keys(manifest.peerDependencies).sort(), "what the entries for frameworks need is theirs to bring");
  const files = run("find", [installed, "-type", "f"]).trim().split("\n");
  const named = Object.values(manifest.exports).flatMap((entry) => (typeof entry === "string" ? [entry] : Object.values(entry)));
  for (const entry of named) assert.ok(files.includes(join(installed, entry)), `${entry} is there`);
  const bytes = files.reduce((sum, file) => sum + statSync(file).size, 0);
  assert.ok(bytes <= MAX_INSTALLED_BYTES, `${bytes} bytes installed`);
});

test("every entry can be imported by its name", () => {
  for (const entry of ["pilotlight", "pilotlight/inline"]) {
    const script = `import * as p from ${JSON.stringify(entry)}; await p.init(); console.log(typeof p.Client, typeof p.login)`;
    assert.equal(run(process.execPath, ["--input-type=module", "--eval", script], dir).trim(), "function function");
  }
});

test("its types hold under tsc --strict, and refuse what is wrong", () => {
  writeFileSync(join(dir, "consumer.ts"), `
    import { Client, login, type CallEnd, type Presence, type TimelineItem } from "pilotlight";
    import { Calls, type Call } from "pilotlight/call";
    const session = await login("http://localhost", { user: "ada", password: "x" });
    const client = await Client.create(session, { idleTimeoutMs: 60_000 });
    client.on("presence", (changes: Presence[]) => changes.map((one) => one.state));
    client.on("timeline", (roomId, ops) => { const id: string = roomId; for (const op of ops) if (op.op === "append") use(op.item); });
    function use(item: TimelineItem): string { return item.key; }
    const action: number = client.sendText("!room:x", "hello");
    await client.setPresence("busy", null);
    client.on("contacts", (changed, removed: string[]) => changed.map((one) => [one.listed === "accepted", one.groups.length, removed]));
    const supported: boolean | undefined = client.hasPresenceList;
    await client.addContact("@bob:x");
    await client.answerRequest("@bob:x", "revoke");
    const room: string = await client.inviteGroup("Work");
    await client.setPrivacy({ share: "list", invites: { busy: { group: "Work" }, online: "everybody" } });
    const told: boolean = client.shouldNotify(client.timeline(room)[0]);
    await client.setNotifySettings({ mutedIn: ["busy"], groups: { Work: "always" } });
    use2(supported, told);
    function use2(..._: unknown[]) {}
    await client.deliverPresence(false);
    client.on("call", (call) => use2(call.state === "ringing" && call.rings, call.reason satisfies CallEnd | undefined));
    const calls = Calls.of(client, { iceTransportPolicy: "relay" });
    const off: () => void = calls.on("call", (call: Call) => use2(call.remoteStream?.getTracks(), call.muted.audio));
    const call = calls.place("!room:x", { video: true });
    await call.setCamera(false);
    off();
    const stop: () => void = client.subscribe("me", (me) => use2(me.shown, me.idle));
    client.subscribe({ presence: "@bob:x" }, (one: Presence | undefined) => use2(one?.state));
    const snapshots: readonly Presence[] = client.read("presences"), items: readonly TimelineItem[] = client.read({ timeline: room });
    for await (const changes of client.events("presence")) changes.map((one) => one.state);
    for await (const [changed, removed] of client.events("rooms", { signal: AbortSignal.timeout(5) })) use2(changed[0].name, removed.length);
    for await (const [state, error] of client.events("connection")) use2(state === "online", error?.code);
    use2(client.explain("@bob:x").reasons.map((reason) => [reason.code === "connection_lost", reason.text, reason.since]), stop, snapshots, items);
    // @ts-expect-error no such thing to read
    client.subscribe({ presens: "@bob:x" }, () => {});
    // @ts-expect-error of whom
    client.read("presence");
    // @ts-expect-error a snapshot
    client.rooms().push(client.rooms()[0]);
    // @ts-expect-error where its types know no such symbols
    client[Symbol.dispose]();
    // @ts-expect-error read only
    call.state = "ended";
    // @ts-expect-error one has them by their client
    new Calls();
    // @ts-expect-error no such answer
    await client.answerRequest("@bob:x", "maybe");
    // @ts-expect-error hidden is not what others see
    await client.setPrivacy({ invites: { hidden: "nobody" } });
    // @ts-expect-error never chosen
    await client.setNotifySettings({ mutedIn: ["unknown"], groups: {} });
    // @ts-expect-error shown, never set
    await client.setPresence("unknown");
    // @ts-expect-error no such event
    client.on("nothing", () => {});
    // @ts-expect-error a number, not a word
    await Client.create(session, { idleTimeoutMs: "long" });
    // @ts-expect-error made by create
    new Client(session);
  `);
  const compilerOptions = {
    noEmit: true, strict: true, target: "ES2022", module: "ESNext", moduleResolution: "bundler", types: [], lib: ["ES2022", "DOM"],
  };
  writeFileSync(join(dir, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["consumer.ts"] }));
  const checked = spawnSync(join(root, "tests/e2e/node_modules/.bin/tsc"), { cwd: dir, encoding: "utf8" });
  assert.equal(checked.stdout, "");
  assert.equal(checked.status, 0);
});

test("its types hold where there is no DOM, and are checked themselves", () => {
  writeFileSync(join(dir, "plain.ts"), `
    import { Client, init, type Session, type TextStorage } from "pilotlight";
    declare const session: Session, storage: TextStorage;
    await init(new ArrayBuffer(8));
    (await Client.create(session, { storage })).reconnect();
    // @ts-expect-error no source
    await init(5);
  `);
  writeFileSync(join(dir, "disposed.ts"), `
    import { Client, type Session } from "pilotlight";
    declare const session: Session;
    { await using client = await Client.create(session); client.start(); }
    { using client = await Client.create(session); client.start(); }
  `);
  const compilerOptions = {
    noEmit: true, strict: true, skipLibCheck: false, target: "ES2022", module: "NodeNext", moduleResolution: "NodeNext", types: [], lib: ["ES2022"],
  };
  writeFileSync(join(dir, "tsconfig.plain.json"), JSON.stringify({ compilerOptions, files: ["plain.ts"] }));
  const checked = spawnSync(join(root, "tests/e2e/node_modules/.bin/tsc"), ["--project", "tsconfig.plain.json"], { cwd: dir, encoding: "utf8" });
  assert.equal(checked.stdout, "");
  compilerOptions.lib.push("ESNext.Disposable");
  writeFileSync(join(dir, "tsconfig.plain.json"), JSON.stringify({ compilerOptions, files: ["disposed.ts"] }));
  const disposed = spawnSync(join(root, "tests/e2e/node_modules/.bin/tsc"), ["--project", "tsconfig.plain.json"], { cwd: dir, encoding: "utf8" });
  assert.equal(disposed.stdout, "");
});

test("options that are not allowed are refused, not bent", async () => {
  const session = { baseUrl: server.baseUrl, userId: "@nobody:localhost", deviceId: "X", accessToken: "x" };
  for (const idleTimeoutMs of [59_999, 300_001, 0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
    await assert.rejects(pilotlight.Client.create(session, { idleTimeoutMs }), RangeError, String(idleTimeoutMs));
  }
});

test("a refusal carries the server's code", async () => {
  const wrong = pilotlight.login(server.baseUrl, { user: "nobody", password: "wrong" });
  await assert.rejects(wrong, (error) => error instanceof pilotlight.PilotlightError && error.code === "M_FORBIDDEN" && error.status === 403);
  const nowhere = pilotlight.login("http://127.0.0.1:1", { user: "nobody", password: "wrong" });
  await assert.rejects(nowhere, (error) => error instanceof pilotlight.PilotlightError && error.code === "NETWORK");
});

test("two clients in Node: presence both ways, a room, an echo that is sent and placed once", async () => {
  const [ada, ben] = [await arrive("ada"), await arrive("ben")];
  const roomId = await ada.createRoom({ name: "The Den", public: true, alias: "den" });
  await ben.joinRoom("#den:localhost");
  const sees = (one, other, state) => until(`${state}`, () => one.presenceOf(other.session.userId)?.state === state);
  await sees(ada, ben, "online");
  await sees(ben, ada, "online");
  await ada.setPresence("busy", "in a call");
  await sees(ben, ada, "busy");
  assert.equal(ben.presenceOf(ada.session.userId).statusMsg, "in a call");
  await ada.setPresence("online", null);
  await sees(ben, ada, "online");
  assert.equal(ben.presenceOf(ada.session.userId).statusMsg, undefined);

  const items = [...ada.timeline(roomId)];
  ada.on("timeline", (id, ops) => id === roomId && pilotlight.applyTimeline(items, ops));
  const action = ada.sendText(roomId, "hello");
  const echoes = () => items.filter((item) => item.content.body === "hello");
  await until("the echo is shown", () => echoes().length === 1);
  const { key } = echoes()[0];
  assert.equal(echoes()[0].actionId, action);
  await until("placed", () => echoes()[0].echo === "placed");
  assert.deepEqual(echoes().map((item) => item.key), [key], "the same item, once");
  await until("received", () => ben.timeline(roomId).filter((item) => item.content.body === "hello").length === 1);
});

test("two clients in Node: ask, accept, group, private, revoke, each told by a change set", async () => {
  const [cy, dee] = [await arrive("cy"), await arrive("dee")];
  assert.equal(cy.hasPresenceList, true);
  const of = (one, other) => one.contacts().find((contact) => contact.userId === other.session.userId);
  const told = [];
  cy.on("contacts", (changed, removed) => told.push([changed.map((contact) => contact.listed), removed]));
  await cy.addContact(dee.session.userId, "pointer");
  await until("asked", () => of(dee, cy)?.observer === "asked");
  await until("pending", () => of(cy, dee)?.listed === "pending");
  assert.equal(of(cy, dee).acl, "pointer");
  assert.equal(cy.presenceOf(dee.session.userId)?.state ?? "unknown", "unknown", "nothing is seen before the answer");
  await dee.answerRequest(cy.session.userId, "accept");
  await until("seen", () => of(cy, dee)?.listed === "accepted" && cy.presenceOf(dee.session.userId)?.state === "online");
  await cy.setGroup(dee.session.userId, "Friends", true);
  await until("grouped", () => of(cy, dee)?.groups.join() === "Friends");

  await dee.setPresence("busy", "writing");
  await until("busy", () => cy.presenceOf(dee.session.userId)?.statusMsg === "writing");
  await dee.answerRequest(cy.session.userId, "revoke");
  await until("out of sight at once", () => cy.presenceOf(dee.session.userId)?.state === "unknown");
  const { statusMsg, lastActiveAt, deviceType } = cy.presenceOf(dee.session.userId);
  assert.deepEqual([statusMsg, lastActiveAt, deviceType], [undefined, undefined, undefined]);
  await until("denied", () => of(cy, dee)?.listed === "denied");
  await cy.dropContact(dee.session.userId);
  await until("gone", () => cy.contacts().length === 0);
  const steps = told.flatMap(([listed, removed]) => [...listed, ...removed]);
  const changes = steps.filter((step, i) => step !== steps[i - 1]);
  assert.deepEqual(changes, ["pending", "accepted", "denied", dee.session.userId]);

  // Dee is on no list of Cy's any more: they meet in a room to see each other.
  const roomId = await cy.createRoom({ name: "Quiet", public: true, alias: "quiet" });
  await dee.joinRoom("#quiet:localhost");
  await until("seen", () => cy.presenceOf(dee.session.userId)?.state === "busy");
  await cy.deliverPresence(false);
  await dee.setPresence("free_for_chat");
  cy.sendText(roomId, "anybody?");
  await until("the stream has gone on", () => cy.timeline(roomId).some((item) => item.content.body === "anybody?" && item.echo === "placed"));
  assert.equal(cy.presenceOf(dee.session.userId).state, "busy", "nothing is told while it is stopped");
  await cy.deliverPresence(true);
  await until("what was missed", () => cy.presenceOf(dee.session.userId).state === "free_for_chat");

  const privacy = await dee.privacy();
  assert.deepEqual(privacy, { share: "shared_rooms", autoAccept: "reverse", invites: {} });
  const mine = { share: "list", autoAccept: "everybody", invites: { busy: { group: "Friends" }, offline: "nobody" } };
  await dee.setPrivacy(mine);
  assert.deepEqual(await dee.privacy(), mine);
  await cy.addContact(dee.session.userId);
  await until("accepted unasked", () => of(cy, dee)?.listed === "accepted");
});

test("what to be told of: by my state and the sender's group, the same on both my devices", async () => {
  const eve = await arrive("eve");
  const account = { user: "eve", password: "correct horse battery" };
  const other = await pilotlight.Client.create(await pilotlight.login(server.baseUrl, account));
  clients.push(other);
  other.start();
  await until("online", () => other.connection === "online");
  const from = (sender) => ({ type: "m.room.message", sender, content: { msgtype: "m.text", body: "hi" } });
  const [fay, me] = [from("@fay:localhost"), from(eve.session.userId)];
  assert.deepEqual([eve.shouldNotify(fay), eve.shouldNotify(me)], [true, false]);
  await eve.setPresence("busy");
  await until("busy on both", () => other.me.state === "busy");
  assert.deepEqual([eve.shouldNotify(fay), other.shouldNotify(fay)], [false, false]);
  assert.deepEqual(other.notifySettings, { mutedIn: ["busy", "offline"], groups: {} });
  await eve.setNotifySettings({ mutedIn: [], groups: { Noise: "never" } });
  await until("set on both", () => other.shouldNotify(fay));
  assert.deepEqual(other.notifySettings, { mutedIn: [], groups: { Noise: "never" } });
  await assert.rejects(eve.setNotifySettings({ mutedIn: ["asleep"], groups: {} }), TypeError);
  assert.throws(() => eve.shouldNotify("hi"), TypeError);
});
