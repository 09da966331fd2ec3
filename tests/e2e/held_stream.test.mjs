// The package's client on the held stream: one for all tabs of a device, taken up again where it broke off, and `/sync` where
// a server has none or something on the way holds it back.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import * as pilotlight from "../../pkg/node.js";
import { launch, Person } from "./lib/browser.mjs";
import { Doorway } from "./lib/doorway.mjs";
import { Homeserver, stock } from "./lib/homeserver.mjs";
import { Device, until } from "./lib/matrix.mjs";

const SYNC = "/v3/sync";
let server, doorway;
const clients = [];
const STOCK = { skip: stock && "a stock server has no held stream" };

before(async () => {
  server = await Homeserver.start();
  doorway = await Doorway.start(server);
});

after(async () => {
  clients.forEach((client) => client.free());
  await doorway?.stop();
  await server?.stop();
});

/** A client behind `door`, which has heard of everything so far. */
async function arrive(door) {
  const device = await Device.register(door.server.baseUrl);
  const session = { baseUrl: door.baseUrl, userId: device.userId, deviceId: device.deviceId, accessToken: device.token };
  const client = await pilotlight.Client.create(session);
  clients.push(client);
  client.start();
  await until("online", () => client.connection === "online");
  return { client, device };
}

const said = (client, roomId) => client.timeline(roomId).flatMap((item) => item.content.body ?? []);
const hears = (client, roomId, text) => until(`hears ${text}`, () => said(client, roomId).includes(text));

test("the stream tells everything, and nothing else is asked", STOCK, async () => {
  const door = await Doorway.start(server);
  const talker = await Device.register(server.baseUrl);
  const roomId = await talker.createRoom();
  const { client } = await arrive(door);
  await client.joinRoom(roomId);
  await until("the room", () => client.rooms().some((room) => room.roomId === roomId && room.membership === "join"));
  for (const text of ["one", "two", "three"]) await talker.send(roomId, text);
  await hears(client, roomId, "three");
  await talker.setPresence("online", "writing");
  await until("presence", () => client.presenceOf(talker.userId)?.statusMsg === "writing");
  client.sendText(roomId, "four");
  await until("placed", () => client.timeline(roomId).at(-1).echo === "placed");
  await talker.sync();
  assert.deepEqual(said(client, roomId), ["one", "two", "three", "four"]);
  assert.deepEqual([door.streams.size, door.count("/stream"), door.count(SYNC)], [1, 1, 0]);
  await client.stop();
  await until("the stream is let go", () => door.streams.size === 0);
  await door.stop();
});

test("where the server has no stream, or none gets through, /sync tells the same", async () => {
  const door = await Doorway.start(server);
  door.holdsBack = true;
  const talker = await Device.register(server.baseUrl);
  const roomId = await talker.createRoom();
  const { client } = await arrive(door);
  await client.joinRoom(roomId);
  await talker.send(roomId, "one");
  await hears(client, roomId, "one");
  assert.ok(door.count(SYNC) > 0);
  assert.ok(door.count("/stream") <= 1, "it was tried at most once, and given up");
  assert.equal(door.streams.size, 0);
  client.sendText(roomId, "two");
  await until("placed", () => client.timeline(roomId).at(-1).echo === "placed");
  await client.stop();
  await door.stop();
});

test("after a connection that broke and a server that was killed it goes on where it was", STOCK, async () => {
  const own = await Homeserver.start();
  const door = await Doorway.start(own);
  const talker = await Device.register(own.baseUrl);
  const roomId = await talker.createRoom();
  const { client } = await arrive(door);
  await client.joinRoom(roomId);
  await talker.send(roomId, "one");
  await hears(client, roomId, "one");

  door.cut();
  await talker.send(roomId, "two");
  await hears(client, roomId, "two");
  assert.equal(client.connection, "online", "nobody had to notice");

  await own.end("SIGKILL");
  client.sendText(roomId, "three");
  await until("it shows", () => client.connection === "offline");
  await own.up();
  await talker.send(roomId, "four");
  client.reconnect();
  await hears(client, roomId, "four");
  await until("placed", () => client.timeline(roomId).every((item) => item.echo === "placed"));
  assert.deepEqual(said(client, roomId).toSorted(), ["four", "one", "three", "two"]);
  assert.deepEqual([door.streams.size, door.count(SYNC)], [1, 0]);
  const [query] = door.streams;
  assert.ok(query.get("since"), "from a position");
  await client.stop();
  await door.stop();
  await own.stop();
});

test("two tabs have one stream between them, and when one closes the other has it within a second", STOCK, async () => {
  const browser = await launch();
  const door = await Doorway.start(server);
  const tess = await Person.arrive(browser, door.baseUrl, "tess");
  await tess.register();
  await tess.createRoom("Mine", "tess-room");
  await until("a stream", () => door.streams.size === 1);
  const first = tess.page;
  await tess.open();
  const second = tess.page;
  await tess.by("composer").waitFor();
  await until("online", async () => (await tess.by("connection").getAttribute("data-connection")) === "online");

  const shown = (page, text) => page.getByTestId("timeline-item").getByText(text, { exact: true });
  const once = async (pages, text) => {
    for (const page of pages) {
      await shown(page, text).waitFor();
      assert.equal(await shown(page, text).count(), 1);
    }
  };
  await tess.say("from the second");
  await once([first, second], "from the second");
  await first.getByTestId("composer").fill("from the first");
  await first.getByTestId("composer").press("Enter");
  await once([first, second], "from the first");
  const asked = door.count(SYNC);
  assert.ok(asked <= 2, "the second tab took its state once");
  assert.equal(door.streams.size, 1);

  const [old] = door.streams;
  await first.close();
  const closed = Date.now();
  await until("another stream", () => door.streams.size === 1 && !door.streams.has(old));
  assert.ok(Date.now() - closed < 1_000, `after ${Date.now() - closed} ms`);
  const friend = await Device.register(server.baseUrl);
  const { room_id: roomId } = await friend.join(`#tess-room:${server.name}`);
  await friend.send(roomId, "still there?");
  await once([second], "still there?");
  assert.equal(door.count(SYNC), asked, "nothing was asked twice");
  assert.equal(await tess.by("connection").getAttribute("data-connection"), "online");
  assert.deepEqual(tess.problems, []);
  await browser.close();
  await door.stop();
});
