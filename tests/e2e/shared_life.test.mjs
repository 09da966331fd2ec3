// What rooms shared with Synapse go through, over TLS: a server is away while the other goes on, keys are replaced; and
// what goes along rooms beside events: presence, typing, receipts, files.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Authority } from "./lib/authority.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, path, until } from "./lib/matrix.mjs";
import { picture, sizeOf } from "./lib/picture.mjs";
import { User } from "./lib/user.mjs";

const V3 = "/_matrix/client/v3";
/** What is said in a room where little is. */
const SOME = 20;
const SETTINGS = { "presence.offline_grace": "1s", "presence.batch_window": "500ms", "presence.short_watchdog": "2s" };
/** A transaction that failed is given up at once, and the server tried again when it is heard of: not in a minute each time. */
const STOCK_SETTINGS = { federation: { max_long_retries: 1, max_long_retry_delay: "1s" } };
/** Longer than a first poll is waited for, and than the short watchdog. */
const QUIET_MS = 4_500;

let authority, ours, stock, alice, bob;
/** Rooms of before a key was replaced, by the kind of their server, and what was said there. */
const early = {};

before(async () => {
  authority = new Authority();
  const start = (kind, settings) => Homeserver.start(settings, kind, { authority, relayed: true });
  [ours, stock] = await Promise.all([start("pilotlight", SETTINGS), start("synapse", STOCK_SETTINGS)]);
  [alice, bob] = await Promise.all([Device.register(ours.baseUrl, "alice"), Device.register(stock.baseUrl, "bob")]);
});

after(async () => {
  await Promise.all([ours?.stop(), stock?.stop()]);
  authority?.remove();
});

/** Who makes a room, who comes into it, and where it is: in both directions. */
const directions = () => [[alice, bob, ours], [bob, alice, stock]];

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const joinBy = (device, room, server) => device.ok("POST", path(`${V3}/join/{}?server_name={}&via={}`, room, server.name, server.name), {});

const state = (device, room, kind) => device.ok("GET", path(`${V3}/rooms/{}/state/{}/`, room, kind));
const setState = (device, room, kind, content) => device.ok("PUT", path(`${V3}/rooms/{}/state/{}/`, room, kind), content);

/** A room of one, with the other in it. */
async function sharedRoom(from, to, at) {
  const room = await from.createRoom();
  await joinBy(to, room, at);
  await until("both are in it", async () => (await from.ok("GET", path(`${V3}/rooms/{}/joined_members`, room))).joined[to.userId]);
  return room;
}

async function say(device, room, texts) {
  for (const text of texts) await device.send(room, text);
}

/** Waits until somebody can scroll back to all of these, each once, in this order. */
async function hears(device, room, texts) {
  let heard;
  await until(`${device.userId} has all`, async () => {
    const said = (await device.history(room, 100)).filter(({ type }) => type === "m.room.message");
    heard = said.map(({ content }) => content.body).filter((text) => texts.includes(text));
    return heard.join() === texts.join();
  }, 60_000).catch((error) => assert.fail(`${error.message}: of ${texts.length} ${heard.length}, from ${heard[0]} to ${heard.at(-1)}`));
}

/** Waits for something in what a device is told of a room beside its events. */
const isTold = (device, room, what, there) =>
  until(`${device.userId} is told ${what}`, async () => {
    const { rooms } = await device.sync({ timeout: 200 });
    return rooms?.join?.[room]?.ephemeral?.events.find(there);
  });

test("what our former key signed is believed by a server that never saw that key in use", async () => {
  const room = await alice.createRoom();
  await say(alice, room, ["one", "two"]);
  await ours.end("SIGTERM");
  ours.rotateKey();
  await ours.up();
  await alice.send(room, "three");
  early.pilotlight = { room, at: ours, texts: ["one", "two", "three"] };
  await joinBy(bob, room, ours);
  await hears(bob, room, early.pilotlight.texts);
});

test("who is where is seen along a room in both directions, without lists, and it costs nothing while nothing changes", async () => {
  const [ann, ben] = [await User.arrive(ours, "ann"), await User.arrive(stock, "ben")];
  const room = await sharedRoom(ann, ben, ours);
  ben.streamState = "online";
  await ben.setPresence("online", "from Synapse");
  await ann.sees(ben, "online", "from Synapse");
  const isShown = (state, message) =>
    until(`Synapse shows ${state}`, () => {
      const told = ben.told.get(ann.userId);
      return told?.presence === state && (!message || told.status_msg === message);
    });
  for (const [state, shown] of [["online", "online"], ["busy", "unavailable"], ["hidden", "offline"], ["online", "online"]]) {
    await ann.setPresence(state, state === "hidden" ? undefined : `${state} here`);
    await isShown(shown, state === "hidden" ? undefined : `${state} here`);
  }
  ben.streamState = "unavailable";
  await ben.setPresence("unavailable", "at lunch");
  await ann.sees(ben, "unavailable", "at lunch");

  await pause(QUIET_MS);
  const marks = [ours, stock].map(({ relay }) => relay.transactions.length);
  await pause(QUIET_MS);
  const since = [ours, stock].flatMap(({ relay }, n) => relay.transactions.slice(marks[n]).flatMap(({ edus }) => edus));
  // Synapse says after a while of others that they are gone.
  const isOfThem = ({ edu_type: type, content }) => type === "m.presence" && (content["org.pilotlight"] || /@(ann|ben):/.test(JSON.stringify(content)));
  assert.deepEqual(since.filter(isOfThem), []);
  await ann.ok("POST", path(`${V3}/rooms/{}/leave`, room), {});
  await until("what they do not share is not seen", async () => (await ann.seesOf(ben))[0] !== "unavailable");
  await Promise.all([ann.leave(), ben.leave()]);
});

test("who types and who has read how far is told to the other side, and what is private is not", async () => {
  for (const [from, to, at] of directions()) {
    const room = await sharedRoom(from, to, at);
    for (const [one, other] of [[from, to], [to, from]]) {
      const types = (typing) => one.ok("PUT", path(`${V3}/rooms/{}/typing/{}`, room, one.userId), { typing, timeout: 30_000 });
      const typists = (test) => ({ type, content }) => type === "m.typing" && content.user_ids.includes(one.userId) === test;
      await types(true);
      await isTold(other, room, "who types", typists(true));
      await types(false);
      await isTold(other, room, "that nobody does", typists(false));
      const [first, second] = [await one.send(room, `${one.userId} first`), await one.send(room, `${one.userId} second`)];
      await hears(other, room, [`${one.userId} first`, `${one.userId} second`]);
      const reads = (kind, event) => other.ok("POST", path(`${V3}/rooms/{}/receipt/{}/{}`, room, kind, event), {});
      await reads("m.read.private", second);
      await reads("m.read", first);
      const receipts = await isTold(one, room, "what is read", ({ type, content }) => type === "m.receipt" && content[first]?.["m.read"]?.[other.userId]);
      assert.equal(receipts.content[second], undefined);
    }
  }
});

test("a file that is uploaded on one side is read on the other, and so is its thumbnail", async () => {
  const bytes = picture(400, 300);
  for (const [from, to] of directions()) {
    const read = async (target) => {
      const answer = await fetch(`${to.baseUrl}/_matrix/client/v1/media/${target}`, { headers: { authorization: `Bearer ${to.token}` } });
      return { status: answer.status, headers: answer.headers, bytes: Buffer.from(await answer.arrayBuffer()) };
    };
    const uploaded = await fetch(`${from.baseUrl}/_matrix/media/v3/upload?filename=four.png`, {
      method: "POST", headers: { authorization: `Bearer ${from.token}`, "content-type": "image/png" }, body: bytes,
    });
    const mxc = (await uploaded.json()).content_uri.replace("mxc://", "");
    for (let times = 0; times < 2; times++) {
      const file = await read(`download/${mxc}`);
      assert.deepEqual([file.status, file.headers.get("content-type"), file.bytes.equals(bytes)], [200, "image/png", true]);
      assert.match(file.headers.get("content-disposition"), /four\.png/);
    }
    for (const [width, height, method, expected] of [[32, 32, "crop", [32, 32]], [320, 240, "scale", [320, 240]]]) {
      const small = await read(`thumbnail/${mxc}?width=${width}&height=${height}&method=${method}`);
      assert.deepEqual([small.status, sizeOf(small.bytes)], [200, expected], `${method} of ${mxc}`);
    }
    assert.equal((await read(`download/${mxc}none`)).status, 404);
  }
});

/**
 * Has one side go on in a room of each server while the other server is away: it says `count` things in its own room, some in
 * the other, and sets state. Then the other server comes back. Answers with the rooms, its own first, and what was said in them.
 */
async function goesOnWithout(away, { from, count, meanwhile }) {
  const rooms = [];
  for (const [host, guest, at] of directions()) {
    const room = await sharedRoom(host, guest, at);
    const texts = Array.from({ length: host === from ? count : SOME }, (_, n) => `${away.kind} is away ${n}`);
    rooms.push({ host, room, texts });
    if (host === from) continue;
    const levels = await state(host, room, "m.room.power_levels");
    await setState(host, room, "m.room.power_levels", { ...levels, users: { ...levels.users, [from.userId]: 100 } });
    await until("both have power", async () => (await state(from, room, "m.room.power_levels")).users[from.userId] === 100);
  }
  rooms.sort(({ host }) => (host === from ? -1 : 1));
  await away.end("SIGTERM");
  await meanwhile();
  for (const { room, texts } of rooms) {
    await say(from, room, texts);
    await setState(from, room, "m.room.topic", { topic: "away" });
  }
  await away.up();
  return rooms;
}

async function haveAll(rooms) {
  for (const { room, texts } of rooms) {
    for (const device of [alice, bob]) {
      await hears(device, room, texts);
      assert.equal((await state(device, room, "m.room.topic")).topic, "away");
    }
  }
}

test("what is said for long while our server is away is there when it is back, in its order, though our key is another", async () => {
  // More than is asked for between two events: who scrolls back has the rest fetched.
  const rooms = await goesOnWithout(ours, { from: bob, count: 240, meanwhile: () => ours.rotateKey() });
  await alice.send(rooms[0].room, "ours is back");
  await haveAll(rooms);
  await hears(bob, rooms[0].room, ["ours is back"]);
});

test("what is said for long while Synapse is away is there when it is back, in its order, though its key is another", async () => {
  const room = await bob.createRoom();
  early.synapse = { room, at: stock, texts: ["four", "five"] };
  await bob.send(room, "four");
  // More than waits for a server: it is told the newest, and asks for the rest.
  const rooms = await goesOnWithout(stock, { from: alice, count: 520, meanwhile: () => stock.rotateKey() });
  await bob.send(room, "five");
  await bob.send(rooms[0].room, "Synapse is back");
  await haveAll(rooms);
  await hears(alice, rooms[0].room, ["Synapse is back"]);
});

test("what former keys of either server signed is believed by a server that comes later", async () => {
  const late = await Homeserver.start({}, "pilotlight", { authority });
  try {
    const carol = await Device.register(late.baseUrl, "carol");
    for (const { room, at, texts } of [early.pilotlight, early.synapse]) {
      await joinBy(carol, room, at);
      await hears(carol, room, texts);
    }
  } finally {
    await late.stop();
  }
});
