// Two stock clients that encrypt, one here and one at Synapse, in a room that both servers share: devices, keys and messages
// to devices pass in both directions, also after either server was away.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import * as sdk from "matrix-js-sdk";
import { Authority } from "./lib/authority.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { until } from "./lib/matrix.mjs";

// The library tells the console whatever it does.
for (const level of ["trace", "debug", "info", "warn", "error"]) console[level] = () => {};
const password = "correct horse";

let authority, ours, synapse, alice, bob, room;
const clients = [];

before(async () => {
  authority = new Authority();
  const start = (kind) => Homeserver.start({}, kind, { authority });
  [ours, synapse] = await Promise.all([start("pilotlight"), start("synapse")]);
  [alice, bob] = await Promise.all([registered(ours, "alice"), registered(synapse, "bob")]);
});

after(async () => {
  for (const client of clients) client.stopClient();
  await Promise.all([ours?.stop(), synapse?.stop()]);
  authority?.remove();
});

async function started(server, session) {
  const client = sdk.createClient({
    baseUrl: server.baseUrl, userId: session.user_id, accessToken: session.access_token, deviceId: session.device_id,
  });
  clients.push(client);
  await client.initRustCrypto({ useIndexedDB: false });
  await client.startClient({ initialSyncLimit: 30, pollTimeout: 5000 });
  await until("the first sync", () => client.isInitialSyncComplete());
  return client;
}

async function registered(server, username) {
  const anonymous = sdk.createClient({ baseUrl: server.baseUrl });
  return started(server, await anonymous.registerRequest({ username, password, auth: { type: "m.login.dummy" } }));
}

async function loggedIn(server, user) {
  const anonymous = sdk.createClient({ baseUrl: server.baseUrl });
  const identifier = { type: "m.id.user", user };
  return started(server, await anonymous.loginRequest({ type: "m.login.password", identifier, password }));
}

/** What a client can read in the room. */
const read = (client) =>
  (client.getRoom(room)?.getLiveTimeline().getEvents() ?? [])
    .filter((event) => event.getType() === "m.room.message").map((event) => event.getContent().body);

const reads = (client, what) =>
  until(`${client.getUserId()} ${client.getDeviceId()} reads ${what}, not ${read(client)}`, () => read(client).includes(what), 60_000);

const say = (client, body) => client.sendTextMessage(room, body);

/** Waits until a client knows these devices of a user, and no others. */
async function knows(client, user, devices) {
  const expected = devices.map((device) => device.getDeviceId()).sort();
  let known;
  await until(`${client.getUserId()} knows the devices of ${user.getUserId()}`, async () => {
    const all = await client.getCrypto().getUserDeviceInfo([user.getUserId()], true);
    known = [...(all.get(user.getUserId())?.keys() ?? [])].sort();
    return JSON.stringify(known) === JSON.stringify(expected);
  }, 60_000).catch((error) => assert.fail(`${error.message}: ${known}, not ${expected}`));
}

const isCrossSigned = async (client, user) =>
  (await client.getCrypto().getDeviceVerificationStatus(user.getUserId(), user.getDeviceId()))?.signedByOwner === true;

async function bootstrap(client, user) {
  const auth = (session) => ({ type: "m.login.password", password, identifier: { type: "m.id.user", user }, session });
  await client.getCrypto().bootstrapCrossSigning({
    authUploadDeviceSigningKeys: (makeRequest) => makeRequest(auth()).catch(({ data }) => makeRequest(auth(data.session))),
  });
}

test("a room that is encrypted is shared, and both read what is said there", async () => {
  ({ room_id: room } = await alice.createRoom({
    preset: "public_chat",
    initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
  }));
  await bob.joinRoom(room, { viaServers: [ours.name] });
  await until("alice sees bob", () => alice.getRoom(room)?.getJoinedMemberCount() === 2);
  await until("bob sees alice, and that the room is encrypted", () =>
    bob.getRoom(room)?.getJoinedMemberCount() === 2 && bob.getRoom(room).hasEncryptionStateEvent());
  await say(alice, "from alice");
  await reads(bob, "from alice");
  await say(bob, "from bob");
  await reads(alice, "from bob");
  const wire = alice.getRoom(room).getLiveTimeline().getEvents().filter((event) => event.isEncrypted());
  assert.equal(wire.length, 2);
});

test("whom a device belongs to is seen on the other server, in both directions", async () => {
  await Promise.all([bootstrap(alice, "alice"), bootstrap(bob, "bob")]);
  await until("bob sees alice's identity", () => bob.getCrypto().userHasCrossSigningKeys(alice.getUserId(), true), 60_000);
  await until("alice sees bob's identity", () => alice.getCrypto().userHasCrossSigningKeys(bob.getUserId(), true), 60_000);
  await until("bob sees that alice signed her device", () => isCrossSigned(bob, alice), 60_000);
  await until("alice sees that bob signed his device", () => isCrossSigned(alice, bob), 60_000);
});

test("a further device on either side is known to the other and reads what is said from then on", async () => {
  const [tablet, laptop] = [await loggedIn(ours, "alice"), await loggedIn(synapse, "bob")];
  await knows(bob, alice, [alice, tablet]);
  await knows(alice, bob, [bob, laptop]);
  await say(bob, "for the tablet");
  await say(alice, "for the laptop");
  await Promise.all([reads(tablet, "for the tablet"), reads(laptop, "for the laptop")]);
  for (const client of [tablet, laptop]) {
    client.stopClient();
    await client.logout(true);
  }
  await knows(bob, alice, [alice]);
  await knows(alice, bob, [bob]);
});

test("what is said and what changes while our server is away arrives when it is back", async () => {
  await ours.end("SIGTERM");
  const laptop = await loggedIn(synapse, "bob");
  await say(bob, "while ours was away");
  await ours.up();
  await say(alice, "ours is back");
  await Promise.all([reads(alice, "while ours was away"), reads(bob, "ours is back")]);
  await knows(alice, bob, [bob, laptop]);
  await say(alice, "for the laptop that came meanwhile");
  await reads(laptop, "for the laptop that came meanwhile");
  laptop.stopClient();
  await laptop.logout(true);
});

test("what is said and what changes while Synapse is away arrives when it is back", async () => {
  await synapse.end("SIGTERM");
  const tablet = await loggedIn(ours, "alice");
  await say(alice, "while Synapse was away");
  await synapse.up();
  await say(bob, "Synapse is back");
  await Promise.all([reads(bob, "while Synapse was away"), reads(alice, "Synapse is back")]);
  await knows(bob, alice, [alice, tablet]);
  await say(bob, "for the tablet that came meanwhile");
  await reads(tablet, "for the tablet that came meanwhile");
});
