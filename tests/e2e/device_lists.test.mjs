// Whose devices and keys are to be asked for again, and what is asked for then. Client-server API, "Tracking the
// device list for a user" and "Key management".
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { Homeserver, stock } from "./lib/homeserver.mjs";
import { crossSigningKey, deviceKeys, signed, signingKey, uploadCrossSigning } from "./lib/keys.mjs";
import { Device, path, people, roomOf, until } from "./lib/matrix.mjs";

let server, alice, bob, carol, room;

before(async () => {
  server = await Homeserver.start();
});

after(() => server?.stop());

// Alice and Bob share a room, Carol none. All of them have keys, and have synced since.
beforeEach(async () => {
  ({ alice, bob, carol } = await people(server, "alice", "bob", "carol"));
  room = await roomOf(alice, bob);
  for (const device of [alice, bob, carol]) await device.ok("POST", "/_matrix/client/v3/keys/upload", { device_keys: deviceKeys(device) });
  for (const device of [alice, bob, carol]) await device.sync();
});

/** Whom the next answers name as changed, until `expected` are among them. */
async function changed(device, expected) {
  const seen = new Set();
  await until(`${device.userId} is told of ${expected}`, async () => {
    const { device_lists } = await device.sync();
    for (const user of device_lists?.changed ?? []) seen.add(user);
    return expected.every((user) => seen.has(user));
  });
  return seen;
}

/** Whom the answers up to something that happens later name as changed. */
async function changedBefore(device, happens) {
  const seen = new Set();
  const mark = await happens();
  await until("what happens later", async () => {
    const answer = await device.sync();
    for (const user of answer.device_lists?.changed ?? []) seen.add(user);
    return (answer.rooms?.join?.[room]?.timeline.events ?? []).some((event) => event.event_id === mark);
  });
  return seen;
}

test("a login is told to the user's other devices and to those who share a room, nobody else", async () => {
  const phone = await Device.login(server.baseUrl, alice.userId);
  await phone.ok("POST", "/_matrix/client/v3/keys/upload", { device_keys: deviceKeys(phone) });
  await changed(alice, [alice.userId]);
  await changed(bob, [alice.userId]);
  assert.equal((await carol.sync()).device_lists?.changed?.length ?? 0, 0);
});

test("a login alone, before it has keys, is told", async () => {
  await Device.login(server.baseUrl, alice.userId);
  await changed(alice, [alice.userId]);
  await changed(bob, [alice.userId]);
});

test("a login that wakes a waiting sync is what it waited for", async () => {
  const waiting = bob.sync({ timeout: 10_000 });
  await Device.login(server.baseUrl, alice.userId);
  assert.deepEqual((await waiting).device_lists?.changed, [alice.userId]);
});

test("a device's own new keys are told to itself", async () => {
  const phone = await Device.login(server.baseUrl, alice.userId);
  await phone.sync();
  await phone.ok("POST", "/_matrix/client/v3/keys/upload", { device_keys: deviceKeys(phone) });
  await changed(phone, [alice.userId]);
});

test("a device that is renamed is told, and its new name is found with its keys", async () => {
  await alice.ok("PUT", path("/_matrix/client/v3/devices/{}", alice.deviceId), { display_name: "Kitchen" });
  await changed(alice, [alice.userId]);
  await changed(bob, [alice.userId]);
  const found = await bob.ok("POST", "/_matrix/client/v3/keys/query", { device_keys: { [alice.userId]: [] } });
  const device = found.device_keys[alice.userId][alice.deviceId];
  assert.deepEqual(device.keys, deviceKeys(alice).keys);
  assert.equal(device.unsigned?.device_display_name, "Kitchen");
});

test("the name that a device logged in with is found with its keys", async () => {
  const body = { type: "m.login.password", identifier: { type: "m.id.user", user: alice.userId }, password: "correct horse", initial_device_display_name: "Phone" };
  const phone = new Device(server.baseUrl, await alice.ok("POST", "/_matrix/client/v3/login", body));
  await phone.ok("POST", "/_matrix/client/v3/keys/upload", { device_keys: { ...deviceKeys(phone), unsigned: { device_display_name: "forged" } } });
  const found = await bob.ok("POST", "/_matrix/client/v3/keys/query", { device_keys: { [alice.userId]: [phone.deviceId] } });
  assert.equal(found.device_keys[alice.userId][phone.deviceId].unsigned?.device_display_name, "Phone");
  assert.deepEqual(Object.keys(found.device_keys[alice.userId]), [phone.deviceId]);
});

test("a logout is told", async () => {
  const phone = await Device.login(server.baseUrl, alice.userId);
  await phone.ok("POST", "/_matrix/client/v3/keys/upload", { device_keys: deviceKeys(phone) });
  await changed(bob, [alice.userId]);
  await phone.ok("POST", "/_matrix/client/v3/logout", {});
  await changed(alice, [alice.userId]);
  await changed(bob, [alice.userId]);
});

test("newcomers are changed and leavers left, in a sync and between two tokens", async () => {
  const from = alice.since;
  await carol.join(room);
  const joined = await until("carol is there", async () => {
    const answer = await alice.sync();
    return answer.device_lists?.changed?.includes(carol.userId) && answer;
  });
  const between = await alice.ok("GET", path("/_matrix/client/v3/keys/changes?from={}&to={}", from, joined.next_batch));
  assert.deepEqual([between.changed.includes(carol.userId), between.left], [true, []]);
  await bob.ok("POST", path("/_matrix/client/v3/rooms/{}/leave", room), {});
  const left = await until("bob is gone", async () => {
    const answer = await alice.sync();
    return answer.device_lists?.left?.includes(bob.userId) && answer;
  });
  const after = await alice.ok("GET", path("/_matrix/client/v3/keys/changes?from={}&to={}", joined.next_batch, left.next_batch));
  assert.deepEqual([after.changed.includes(bob.userId), after.left], [false, [bob.userId]]);
  const whole = await alice.ok("GET", path("/_matrix/client/v3/keys/changes?from={}&to={}", from, left.next_batch));
  assert.deepEqual([whole.changed.includes(carol.userId), whole.left], [true, [bob.userId]]);
  // Who entered a room met everybody in it.
  const of = await carol.ok("GET", path("/_matrix/client/v3/keys/changes?from={}&to={}", carol.since, left.next_batch));
  assert.ok(of.changed.includes(alice.userId));
});

test("who leaves a room is told to forget those in it", async () => {
  const from = bob.since;
  await bob.ok("POST", path("/_matrix/client/v3/rooms/{}/leave", room), {});
  const { device_lists, next_batch } = await bob.sync();
  assert.ok(device_lists.left.includes(alice.userId));
  const between = await bob.ok("GET", path("/_matrix/client/v3/keys/changes?from={}&to={}", from, next_batch));
  assert.deepEqual([between.left, between.changed.includes(alice.userId)], [[alice.userId], false]);
});

test("somebody with whom another room is shared is not left", async () => {
  const other = await alice.createRoom();
  await bob.join(other);
  await alice.sync();
  const from = alice.since;
  await bob.ok("POST", path("/_matrix/client/v3/rooms/{}/leave", room), {});
  await until("bob's leave", async () => (await alice.sync()).rooms?.join?.[room]);
  const between = await alice.ok("GET", path("/_matrix/client/v3/keys/changes?from={}&to={}", from, alice.since));
  assert.deepEqual(between.left, []);
});

test("device keys that are not whole, or of somebody else, are refused and change nothing", async () => {
  const good = deviceKeys(alice);
  const { algorithms, keys, signatures, user_id, device_id } = good;
  const bad = [
    { user_id, device_id, keys, signatures },
    { user_id, device_id, algorithms, signatures },
    { user_id, device_id, algorithms, keys },
    { device_id, algorithms, keys, signatures },
    { user_id, algorithms, keys, signatures },
    { ...good, user_id: bob.userId },
    { ...good, device_id: "OTHER" },
    { ...good, algorithms: "m.olm" },
    { ...good, algorithms: [1] },
    { ...good, keys: [] },
    { ...good, keys: { [`ed25519:${device_id}`]: 1 } },
    { ...good, signatures: [] },
    { ...good, signatures: { [user_id]: "signed" } },
  ];
  for (const device_keys of bad) {
    const { status, body } = await alice.request("POST", "/_matrix/client/v3/keys/upload", { device_keys });
    assert.equal(status, 400, JSON.stringify(device_keys));
    assert.match(body.errcode, /^M_/);
  }
  const found = await bob.ok("POST", "/_matrix/client/v3/keys/query", { device_keys: { [alice.userId]: [] } });
  assert.deepEqual(found.device_keys[alice.userId][alice.deviceId].keys, keys);
});

test("a user-signing key is seen by its user only, the others by everybody", async () => {
  const [master, own, user] = [signingKey(), signingKey(), signingKey()];
  const keys = {
    master_key: crossSigningKey(alice, "master", master, master),
    self_signing_key: crossSigningKey(alice, "self_signing", own, master),
    user_signing_key: crossSigningKey(alice, "user_signing", user, master),
  };
  const { user_signing_key, ...others } = keys;
  await uploadCrossSigning(alice, others);
  await changed(bob, [alice.userId]);
  await changed(alice, [alice.userId]);
  const told = await changedBefore(bob, async () => {
    await uploadCrossSigning(alice, { user_signing_key });
    return alice.send(room, "and now something else");
  });
  assert.equal(told.has(alice.userId), false);
  await changed(alice, [alice.userId]);
  const query = { device_keys: { [alice.userId]: [] } };
  const [byBob, byAlice] = [await bob.ok("POST", "/_matrix/client/v3/keys/query", query), await alice.ok("POST", "/_matrix/client/v3/keys/query", query)];
  assert.equal(byBob.user_signing_keys?.[alice.userId], undefined);
  assert.ok(byBob.master_keys[alice.userId] && byBob.self_signing_keys[alice.userId]);
  assert.deepEqual(byAlice.user_signing_keys[alice.userId].keys, user_signing_key.keys);
});

test("a signature on somebody else's key is told to its maker only, one on one's own key to everybody", async () => {
  const [ofAlice, ofBob, user, own] = [signingKey(), signingKey(), signingKey(), signingKey()];
  const alicesMaster = crossSigningKey(alice, "master", ofAlice, ofAlice);
  await uploadCrossSigning(alice, { master_key: alicesMaster, self_signing_key: crossSigningKey(alice, "self_signing", own, ofAlice) });
  await uploadCrossSigning(bob, {
    master_key: crossSigningKey(bob, "master", ofBob, ofBob),
    user_signing_key: crossSigningKey(bob, "user_signing", user, ofBob),
  });
  await changed(bob, [alice.userId, bob.userId]);
  await changed(alice, [alice.userId, bob.userId]);
  const add = (device, key, by, owner, name) =>
    device.ok("POST", "/_matrix/client/v3/keys/signatures/upload", { [owner.userId]: { [name]: signed(key, device, by) } });
  const told = await changedBefore(alice, async () => {
    const { failures } = await add(bob, alicesMaster, user, alice, ofAlice.id);
    assert.deepEqual(failures, {});
    return bob.send(room, "I know her");
  });
  assert.equal(told.has(bob.userId), false);
  // The reader of the signature is its maker, who is told whose keys read differently.
  await changed(bob, [stock ? alice.userId : bob.userId]);
  const { failures } = await add(alice, deviceKeys(alice), own, alice, alice.deviceId);
  assert.deepEqual(failures, {});
  await changed(bob, [alice.userId]);
});
