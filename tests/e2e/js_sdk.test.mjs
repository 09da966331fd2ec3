// The stock JavaScript client library, as it comes from npm, against the server.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import * as sdk from "matrix-js-sdk";
import { Homeserver, stock } from "./lib/homeserver.mjs";
import { until } from "./lib/matrix.mjs";

// The library tells the console whatever it does.
for (const level of ["trace", "debug", "info", "warn", "error"]) console[level] = () => {};
const password = "correct horse";

let server, alice, bob, room;
const clients = [];

before(async () => {
  server = await Homeserver.start();
  alice = await registered("alice");
  bob = await registered("bob");
});

after(async () => {
  for (const client of clients) client.stopClient();
  await server?.stop();
});

async function started(session) {
  const client = sdk.createClient({
    baseUrl: server.baseUrl, userId: session.user_id, accessToken: session.access_token,
    deviceId: session.device_id, timelineSupport: true,
  });
  clients.push(client);
  // A short poll, so that a changed `set_presence` reaches the server soon.
  await client.startClient({ initialSyncLimit: 5, pollTimeout: 1000 });
  await until("the first sync", () => client.isInitialSyncComplete());
  return client;
}

async function registered(username) {
  const anonymous = sdk.createClient({ baseUrl: server.baseUrl });
  return started(await anonymous.registerRequest({ username, password, auth: { type: "m.login.dummy" } }));
}

async function loggedIn(username) {
  const anonymous = sdk.createClient({ baseUrl: server.baseUrl });
  const identifier = { type: "m.id.user", user: username };
  return started(await anonymous.loginRequest({ type: "m.login.password", identifier, password }));
}

const bodies = (client) =>
  client.getRoom(room).getLiveTimeline().getEvents()
    .filter((event) => event.getType() === "m.room.message").map((event) => event.getContent().body);
const seen = (client, user) => client.getUser(user.getUserId());
// Not `presenceStatusMsg`: the library never clears that.
const statusMsg = (client, user) => seen(client, user).events.presence.getContent().status_msg;
const sees = (observer, user, state) =>
  until(`${observer.getUserId()} sees ${user.getUserId()} ${state}`, () => seen(observer, user)?.presence === state);

// With a poll of one second, whatever `set_presence` a client now sends has arrived after these.
async function twoMoreSyncs(client) {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => client.once("sync", resolve));
}

test("a room is created with an alias and joined by it", async () => {
  ({ room_id: room } = await alice.createRoom({ preset: "public_chat", room_alias_name: "den", name: "The Den" }));
  const joined = await bob.joinRoom("#den:localhost");
  assert.equal(joined.roomId, room);
  await until("both are members in both clients", () =>
    [alice, bob].every((client) => client.getRoom(room)?.getJoinedMemberCount() === 2));
  assert.equal(bob.getRoom(room).name, "The Den");
});

test("messages arrive once and in order, the sender's with its local echo resolved", async () => {
  for (let i = 0; i < 12; i++) await alice.sendTextMessage(room, `a${i}`);
  // The library never moves an echo that it showed too early, so bob answers what he has seen.
  await until("alice's last message", () => [alice, bob].every((client) => bodies(client).includes("a11")));
  await bob.sendTextMessage(room, "b");
  const expected = [...Array.from({ length: 12 }, (_, i) => `a${i}`), "b"];
  for (const client of [alice, bob]) {
    await until("the last message", () => bodies(client).includes("b"));
    const pending = () => client.getRoom(room).getLiveTimeline().getEvents().filter((event) => event.status !== null);
    await until("every echo has its event", () => pending().length === 0);
    assert.deepEqual(bodies(client), expected);
  }
});

test("presence travels both ways, with a status message that is set, kept and cleared", async () => {
  await sees(bob, alice, "online");
  await sees(alice, bob, "online");
  for (const [mover, observer] of [[alice, bob], [bob, alice]]) {
    mover.setSyncPresence("unavailable");
    await mover.setPresence({ presence: "unavailable", status_msg: "at lunch" });
    await sees(observer, mover, "unavailable");
    await until("the status message", () => statusMsg(observer, mover) === "at lunch");
    mover.setSyncPresence("online");
    await mover.setPresence({ presence: "online", status_msg: "" });
    await sees(observer, mover, "online");
    await until("no status message", () => !statusMsg(observer, mover));
    assert.ok(Number.isInteger(seen(observer, mover).lastActiveAgo), "last_active_ago is a number");
  }
});

test("a choice of unavailable holds while the chooser's own client goes on syncing", { skip: stock && "a stock server undoes it" },
  async () => {
    // Its syncs say nothing of it; what they say holds as long as they say it.
    alice.setSyncPresence(undefined);
    await alice.setPresence({ presence: "unavailable" });
    await sees(bob, alice, "unavailable");
    await twoMoreSyncs(alice);
    assert.equal(seen(bob, alice).presence, "unavailable");
    await alice.setPresence({ presence: "online" });
    await sees(bob, alice, "online");
  });

test("states, lists and account data that Matrix does not have do not confuse it", { skip: stock && "it has none of them" },
  async () => {
    const [shown, syncs] = [new Set(), new Set()];
    const onPresence = (_, user) => user.userId === bob.getUserId() && shown.add(user.presence);
    const onSync = (state) => syncs.add(state);
    alice.on("User.presence", onPresence);
    alice.on("sync", onSync);
    for (const [state, expected] of [["busy", "unavailable"], ["free_for_chat", "online"], ["hidden", "offline"], ["online", "online"]]) {
      // The library refuses to set what it does not know.
      await bob.http.authedRequest("PUT", `/presence/${encodeURIComponent(bob.getUserId())}/status`, undefined, { presence: state });
      await sees(alice, bob, expected);
    }
    const list = (change) =>
      alice.http.authedRequest("POST", `/presence/list/${encodeURIComponent(alice.getUserId())}`, undefined, change);
    await list({ invite: [bob.getUserId()] });
    await until("it is told that the list changed", () => alice.getAccountData("org.pilotlight.presence_list"));
    await list({ drop: [bob.getUserId()] });
    await twoMoreSyncs(alice);
    alice.off("User.presence", onPresence);
    alice.off("sync", onSync);
    assert.deepEqual([...shown].sort(), ["offline", "online", "unavailable"]);
    assert.deepEqual([...syncs], ["SYNCING"]);
    assert.equal(seen(alice, bob).presence, "online", "still seen: they share a room");
  });

test("two devices of one user are merged: idle only when both are", async () => {
  const laptop = alice;
  const phone = await loggedIn("alice");
  const states = [];
  bob.on("User.presence", (_, user) => user.userId === alice.getUserId() && states.push(user.presence));

  laptop.setSyncPresence("unavailable");
  await twoMoreSyncs(laptop);
  assert.equal(seen(bob, alice).presence, "online", "the phone is still in use");
  phone.setSyncPresence("unavailable");
  await sees(bob, alice, "unavailable");
  laptop.setSyncPresence("online");
  await sees(bob, alice, "online");
  assert.deepEqual(states.filter((state, i) => state !== states[i - 1] && !(i === 0 && state === "online")),
    ["unavailable", "online"], "nothing flickered on the way");
  phone.stopClient();
});

test("a new device sees the end of the room and scrolls back to its beginning", async () => {
  const phone = await loggedIn("bob");
  assert.ok(bodies(phone).length <= 5, "the first sync is limited");
  await until("the beginning", async () => {
    await phone.scrollback(phone.getRoom(room), 4);
    return phone.getRoom(room).getLiveTimeline().getEvents()[0].getType() === "m.room.create";
  });
  assert.deepEqual(bodies(phone), bodies(bob));
  await phone.logout(true);
});
