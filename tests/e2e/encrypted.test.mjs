// Two stock clients that encrypt: devices verify each other and are cross-signed, a room is encrypted, its keys are backed
// up, and a third device that has nothing but the recovery key reads the history.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import * as sdk from "matrix-js-sdk";
import { CryptoEvent, VerificationPhase, VerifierEvent } from "matrix-js-sdk/lib/crypto-api/index.js";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, until } from "./lib/matrix.mjs";

// The library tells the console whatever it does.
for (const level of ["trace", "debug", "info", "warn", "error"]) console[level] = () => {};
const password = "correct horse";

let server, phone, laptop, bob, room, recoveryKey;
const clients = [];
const said = [];

before(async () => {
  server = await Homeserver.start();
  phone = await registered("alice");
  bob = await registered("bob");
});

after(async () => {
  for (const client of clients) client.stopClient();
  await server?.stop();
});

async function started(session) {
  const client = sdk.createClient({
    baseUrl: server.baseUrl, userId: session.user_id, accessToken: session.access_token, deviceId: session.device_id,
    cryptoCallbacks: {
      // What a person types in.
      getSecretStorageKey: async ({ keys }) => (recoveryKey ? [Object.keys(keys)[0], recoveryKey.privateKey] : null),
      cacheSecretStorageKey: () => {},
    },
  });
  clients.push(client);
  await client.initRustCrypto({ useIndexedDB: false });
  await client.startClient({ initialSyncLimit: 30, pollTimeout: 5000 });
  await until("the first sync", () => client.isInitialSyncComplete());
  return client;
}

async function registered(username) {
  const anonymous = sdk.createClient({ baseUrl: server.baseUrl });
  return started(await anonymous.registerRequest({ username, password, auth: { type: "m.login.dummy" } }));
}

async function loggedIn(user) {
  const anonymous = sdk.createClient({ baseUrl: server.baseUrl });
  const identifier = { type: "m.id.user", user };
  return started(await anonymous.loginRequest({ type: "m.login.password", identifier, password }));
}

async function stopped(client) {
  client.stopClient();
  await client.logout(true);
}

/** What a client can read in the room. */
const read = (client) =>
  (client.getRoom(room)?.getLiveTimeline().getEvents() ?? [])
    .filter((event) => event.getType() === "m.room.message").map((event) => event.getContent().body);

const reads = (client, what) =>
  until(`${client.getUserId()} ${client.getDeviceId()} reads ${what}, not ${read(client)}`, () => read(client).includes(what), 30_000);

async function say(client, body) {
  await client.sendTextMessage(room, body);
  said.push(body);
}

const isCrossSigned = async (client, user, device) =>
  (await client.getCrypto().getDeviceVerificationStatus(user, device))?.crossSigningVerified === true;

test("a device makes its user's identity, where to keep secrets, and a backup", async () => {
  const crypto = phone.getCrypto();
  await crypto.bootstrapCrossSigning({
    authUploadDeviceSigningKeys: (makeRequest) => makeRequest({
      type: "m.login.password", password, identifier: { type: "m.id.user", user: "alice" },
    }).catch(async ({ data }) => makeRequest({
      type: "m.login.password", password, identifier: { type: "m.id.user", user: "alice" }, session: data.session,
    })),
  });
  recoveryKey = await crypto.createRecoveryKeyFromPassphrase();
  await crypto.bootstrapSecretStorage({
    createSecretStorageKey: async () => recoveryKey, setupNewSecretStorage: true, setupNewKeyBackup: true,
  });
  assert.ok(await crypto.isCrossSigningReady());
  assert.ok(await isCrossSigned(phone, phone.getUserId(), phone.getDeviceId()));
  await until("the backup is used", () => crypto.getActiveSessionBackupVersion());
});

test("a room is encrypted, and both read what is said there", async () => {
  ({ room_id: room } = await phone.createRoom({
    invite: [bob.getUserId()],
    initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
  }));
  await bob.joinRoom(room);
  await until("bob is there", () => phone.getRoom(room)?.getJoinedMemberCount() === 2);
  await until("bob knows the room is encrypted", () => bob.getRoom(room)?.hasEncryptionStateEvent());
  await say(phone, "a secret");
  await reads(bob, "a secret");
  await say(bob, "an answer");
  await reads(phone, "an answer");
  const wire = phone.getRoom(room).getLiveTimeline().getEvents().filter((event) => event.isEncrypted());
  assert.equal(wire.length, 2);
  assert.ok(wire.every((event) => event.getWireContent().ciphertext));
});

test("two devices compare emoji, and the second one is signed by the first", async () => {
  laptop = await loggedIn("alice");
  await until("the phone sees the laptop", async () =>
    (await phone.getCrypto().getUserDeviceInfo([phone.getUserId()], true)).get(phone.getUserId())?.has(laptop.getDeviceId()));
  await until("the laptop sees the phone, and whose it is", async () =>
    (await laptop.getCrypto().getUserDeviceInfo([phone.getUserId()], true)).get(phone.getUserId())?.has(phone.getDeviceId()) &&
    await laptop.getCrypto().userHasCrossSigningKeys(phone.getUserId(), true));
  assert.equal(await isCrossSigned(phone, phone.getUserId(), laptop.getDeviceId()), false);
  const asked = new Promise((resolve) => phone.once(CryptoEvent.VerificationRequestReceived, resolve));
  const request = await laptop.getCrypto().requestOwnUserVerification();
  const atPhone = await Promise.race([asked, new Promise((_, reject) => setTimeout(() => reject(new Error("the phone is not asked")), 20_000).unref())]);
  await atPhone.accept();
  await until("both are ready", () => request.phase === VerificationPhase.Ready);
  const shown = [];
  // Each shows its emoji; who sees that they are the same says so on both.
  const compare = async (verifier) => {
    verifier.on(VerifierEvent.ShowSas, (sas) => {
      shown.push(sas);
      if (shown.length === 2) for (const one of shown) one.confirm();
    });
    await verifier.verify();
  };
  const comparing = request.startVerification("m.sas.v1").then(compare);
  await until("the phone hears of it", () => atPhone.verifier);
  await Promise.all([comparing, compare(atPhone.verifier)]);
  const [emoji, theirs] = shown.map((sas) => JSON.stringify(sas.sas.emoji));
  assert.equal(emoji, theirs);
  await until("the laptop is signed, for the phone and for itself", async () =>
    await isCrossSigned(phone, phone.getUserId(), laptop.getDeviceId()) &&
    await isCrossSigned(laptop, phone.getUserId(), laptop.getDeviceId()), 30_000);
  await say(bob, "for both devices");
  await reads(phone, "for both devices");
  await reads(laptop, "for both devices");
});

test("a third device that has the recovery key alone reads all of it", async () => {
  const api = new Device(server.baseUrl, { user_id: phone.getUserId(), access_token: phone.getAccessToken(), device_id: phone.getDeviceId() });
  // One session of each sender's device. Of bob's the laptop has no more than it came in time for: the phone's is better.
  await until("the keys are backed up, from the first message on", async () => {
    const { version, count } = await api.ok("GET", "/_matrix/client/v3/room_keys/version");
    const { rooms } = await api.ok("GET", `/_matrix/client/v3/room_keys/keys?version=${version}`);
    const keys = Object.values(rooms[room]?.sessions ?? {});
    return count >= 2 && keys.every(({ first_message_index: first }) => first === 0);
  }, 60_000);
  await stopped(laptop);
  await stopped(phone);
  const tablet = await loggedIn("alice");
  const crypto = tablet.getCrypto();
  assert.deepEqual(read(tablet).filter((body) => said.includes(body)), [], "without the keys there is nothing to read");
  await until("the tablet knows whose it is", () => crypto.userHasCrossSigningKeys(tablet.getUserId(), true));
  await crypto.bootstrapCrossSigning({});
  await crypto.loadSessionBackupPrivateKeyFromSecretStorage();
  const { imported, total } = await crypto.restoreKeyBackup();
  assert.ok(imported >= 2 && imported === total, `${imported} of ${total}`);
  for (const body of said) await reads(tablet, body);
  assert.ok(await isCrossSigned(tablet, tablet.getUserId(), tablet.getDeviceId()), "it has signed itself");
});
