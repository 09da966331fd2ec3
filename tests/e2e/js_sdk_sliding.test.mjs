// The stock JavaScript client library by its two ways of reading, `/sync` and sliding sync: the same flows over both.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import * as sdk from "matrix-js-sdk";
import { SlidingSync } from "matrix-js-sdk/lib/sliding-sync.js";
import { Homeserver, stock } from "./lib/homeserver.mjs";
import { until } from "./lib/matrix.mjs";

// The library tells the console whatever it does.
for (const level of ["trace", "debug", "info", "warn", "error"]) console[level] = () => {};
const password = "correct horse";
let server;
const clients = [];

before(async () => (server = await Homeserver.start()));
after(async () => {
  for (const client of clients) client.stopClient();
  await server?.stop();
});

/** As Element has it: a list of all rooms, with their last events. */
function slidingSync(client, limit) {
  const list = {
    ranges: [[0, 20]], timeline_limit: limit,
    required_state: [["m.room.create", ""], ["m.room.topic", ""], ["m.room.power_levels", ""], ["m.room.join_rules", ""],
      ["m.room.member", "$LAZY"], ["m.room.member", "$ME"]],
  };
  return new SlidingSync(server.baseUrl, new Map([["all", list]]), { timeline_limit: limit }, client, 1000);
}

async function started(session, how, limit = 10) {
  const client = sdk.createClient({
    baseUrl: server.baseUrl, userId: session.user_id, accessToken: session.access_token,
    deviceId: session.device_id, timelineSupport: true,
  });
  clients.push(client);
  const more = how === "sliding sync" ? { slidingSync: slidingSync(client, limit) } : {};
  await client.startClient({ initialSyncLimit: limit, pollTimeout: 1000, lazyLoadMembers: true, ...more });
  await until("the first sync", () => client.isInitialSyncComplete());
  return client;
}

async function session(username, kind) {
  const anonymous = sdk.createClient({ baseUrl: server.baseUrl });
  if (kind === "register") return anonymous.registerRequest({ username, password, auth: { type: "m.login.dummy" } });
  return anonymous.loginRequest({ type: "m.login.password", identifier: { type: "m.id.user", user: username }, password });
}

const bodies = (client, room) =>
  client.getRoom(room).getLiveTimeline().getEvents()
    .filter((event) => event.getType() === "m.room.message").map((event) => event.getContent().body);

for (const how of ["/sync", "sliding sync"]) {
  describe(`by ${how}`, () => {
    const name = (who) => `${who}-${how === "/sync" ? "classic" : "sliding"}`;
    let alice, bob, room;

    before(async () => {
      alice = await started(await session(name("alice"), "register"), how);
      bob = await started(await session(name("bob"), "register"), how);
    });

    test("a room appears with its name for who makes it and who is invited", async () => {
      ({ room_id: room } = await alice.createRoom({ preset: "private_chat", name: "The Den", invite: [bob.getUserId()] }));
      await until("the room", () => alice.getRoom(room)?.name === "The Den");
      await until("the invite", () => bob.getRoom(room)?.getMyMembership() === "invite");
      assert.equal(bob.getRoom(room).name, "The Den");
    });

    test("who accepts an invite is in the room for both", async () => {
      await bob.joinRoom(room);
      await until("bob is in it", () => bob.getRoom(room).getMyMembership() === "join");
      await until("both are members", () => [alice, bob].every((client) => client.getRoom(room).getJoinedMemberCount() === 2));
    });

    test("messages arrive both ways, once and in order, and echoes are resolved", async () => {
      for (let i = 0; i < 6; i++) await alice.sendTextMessage(room, `a${i}`);
      await until("alice's last message", () => [alice, bob].every((client) => bodies(client, room).includes("a5")));
      await bob.sendTextMessage(room, "b");
      for (const client of [alice, bob]) {
        await until("the last message", () => bodies(client, room).includes("b"));
        const pending = () => client.getRoom(room).getLiveTimeline().getEvents().filter((event) => event.status !== null);
        await until("every echo has its event", () => pending().length === 0);
        assert.deepEqual(bodies(client, room), ["a0", "a1", "a2", "a3", "a4", "a5", "b"]);
      }
    });

    test("who types shows, and ceases to", async () => {
      const typing = () => bob.getRoom(room).getMember(alice.getUserId())?.typing === true;
      await alice.sendTyping(room, true, 20_000);
      await until("alice types", typing);
      await alice.sendTyping(room, false, 0);
      await until("alice ceased to", () => !typing());
    });

    test("a receipt shows how far somebody has read", async () => {
      const last = alice.getRoom(room).getLiveTimeline().getEvents().at(-1);
      await alice.sendReadReceipt(last);
      await until("bob knows", () => bob.getRoom(room).getEventReadUpTo(alice.getUserId(), true) === last.getId());
    });

    test("what is unread is counted, and is not any longer when it is read",
      { skip: stock && how !== "/sync" && "a stock server counts nothing in sliding sync" }, async () => {
        const unread = () => bob.getRoom(room).getUnreadNotificationCount("total");
        const { event_id: id } = await alice.sendTextMessage(room, "unread");
        await until("it is counted", () => unread() > 0 && bodies(bob, room).includes("unread"));
        await bob.sendReadReceipt(bob.getRoom(room).findEventById(id));
        await until("it is read", () => unread() === 0);
      });

    test("account data of the user and of a room comes to another device", async () => {
      const phone = await started(await session(name("bob"), "login"), how);
      await bob.setAccountData("org.example.x", { n: 1 });
      await bob.setRoomTag(room, "m.favourite", { order: 0.5 });
      await until("the user's", () => phone.getAccountData("org.example.x")?.getContent().n === 1);
      await until("the room's", () => phone.getRoom(room)?.tags["m.favourite"]?.order === 0.5);
      phone.stopClient();
    });

    test("a message from device to device arrives once", async () => {
      const got = [];
      bob.on("toDeviceEvent", (event) => event.getType() === "org.example.hello" && got.push(event.getContent().n));
      for (const n of [1, 2]) {
        const content = new Map([[bob.getUserId(), new Map([[bob.getDeviceId(), { n }]])]]);
        await alice.sendToDevice("org.example.hello", content);
      }
      await until("both", () => got.length >= 2);
      await alice.sendTextMessage(room, "after");
      await until("something later", () => bodies(bob, room).includes("after"));
      assert.deepEqual(got, [1, 2]);
    });

    test("state that changes changes for both", async () => {
      await alice.setRoomTopic(room, "a topic");
      await alice.setRoomName(room, "Another Den");
      const topic = (client) => client.getRoom(room).currentState.getStateEvents("m.room.topic", "")?.getContent().topic;
      await until("the topic", () => [alice, bob].every((client) => topic(client) === "a topic"));
      await until("the name", () => [alice, bob].every((client) => client.getRoom(room).name === "Another Den"));
    });

    test("a device that was away has the end of the room, and scrolls back over what it missed", async () => {
      for (let i = 0; i < 8; i++) await alice.sendTextMessage(room, `gap${i}`);
      const phone = await started(await session(name("bob"), "login"), how, 3);
      await until("the end", () => phone.getRoom(room) && bodies(phone, room).at(-1) === "gap7");
      assert.ok(bodies(phone, room).length <= 3);
      await until("the beginning", async () => {
        await phone.scrollback(phone.getRoom(room), 10);
        return phone.getRoom(room).getLiveTimeline().getEvents()[0].getType() === "m.room.create";
      });
      const all = bodies(phone, room);
      assert.deepEqual(all.slice(0, 3), ["a0", "a1", "a2"]);
      assert.deepEqual(all.slice(-8), Array.from({ length: 8 }, (_, i) => `gap${i}`));
      phone.stopClient();
    });

    test("who leaves is gone for the others", async () => {
      await bob.leave(room);
      await until("one is left", () => alice.getRoom(room).getJoinedMemberCount() === 1);
      // By sliding sync the library itself takes its user for joined as long as it is told anything of a room.
      if (how === "/sync") await until("bob knows", () => bob.getRoom(room).getMyMembership() === "leave");
    });

    test("presence comes as an extension of a client's own within a second", { skip: stock && "it has no such extension" || how === "/sync" && "js_sdk.test.mjs shows it" },
      async () => {
        const carol = sdk.createClient({ baseUrl: server.baseUrl });
        const { user_id: userId, access_token: accessToken, device_id: deviceId } = await session(name("carol"), "register");
        assert.ok(carol);
        const client = sdk.createClient({ baseUrl: server.baseUrl, userId, accessToken, deviceId });
        clients.push(client);
        const sliding = slidingSync(client, 1);
        const shown = new Map();
        sliding.registerExtension({
          name: () => "presence", when: () => "ExtState.PostProcess",
          onRequest: async () => ({ enabled: true }),
          onResponse: async ({ events }) => events.forEach((event) => shown.set(event.sender, event.content.presence)),
        });
        await client.startClient({ slidingSync: sliding });
        const { room_id: hall } = await alice.createRoom({ preset: "public_chat" });
        await client.joinRoom(hall);
        for (const state of ["unavailable", "online", "unavailable"]) {
          alice.setSyncPresence?.(state);
          const begun = performance.now();
          await alice.setPresence({ presence: state });
          await until(`alice is ${state}`, () => shown.get(alice.getUserId()) === state);
          assert.ok(performance.now() - begun < 1_000, `after ${performance.now() - begun} ms`);
        }
      });
  });
}
