// Which keys and signatures a server takes, and which it refuses. Client-server API, "Key management" and
// "Cross-signing".
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { Homeserver, stock } from "./lib/homeserver.mjs";
import { crossSigningKey, deviceKeys, signed, signingKey, uploadCrossSigning } from "./lib/keys.mjs";
import { people } from "./lib/matrix.mjs";

const UPLOAD = "/_matrix/client/v3/keys/upload";
const QUERY = "/_matrix/client/v3/keys/query";
const CROSS = "/_matrix/client/v3/keys/device_signing/upload";
const SIGNATURES = "/_matrix/client/v3/keys/signatures/upload";

let server, alice, bob;

before(async () => {
  server = await Homeserver.start();
});

after(() => server?.stop());

beforeEach(async () => {
  ({ alice, bob } = await people(server, "alice", "bob"));
});

const signedKey = ({ userId, deviceId }, more) => ({
  key: "zKbLg+NrIjpnagy+pIY6uPL4ZwEG2v+8F9lmgsnlZzs",
  signatures: { [userId]: { [`ed25519:${deviceId}`]: "c2lnbmF0dXJl" } },
  ...more,
});

test("an upload of keys that are not as Matrix has them is refused", async () => {
  const good = deviceKeys(alice);
  const device = (more) => ({ device_keys: { ...good, ...more } });
  // What a stock server takes all the same: there what must be there can be empty, and the other keys are not looked into.
  const taken = stock ? 200 : 400;
  // What it falls over.
  const fails = stock ? 500 : 400;
  const table = [
    [device({ algorithms: [] }), taken],
    [device({ keys: {} }), taken],
    [device({ signatures: {} }), taken],
    [device({ signatures: { [bob.userId]: good.signatures[alice.userId] } }), taken],
    [{ device_keys: null }, 400],
    [{ device_keys: {} }, 400],
    [{ device_keys: deviceKeys(bob) }, 400],
    [{ one_time_keys: [] }, fails],
    [{ one_time_keys: { "curve25519:A": 5 } }, 400],
    [{ one_time_keys: { nameless: "k" } }, 400],
    [{ one_time_keys: { "a:b:c": "k" } }, 400],
    [{ one_time_keys: { "signed_curve25519:A": "k" } }, taken],
    [{ one_time_keys: { "signed_curve25519:B": { key: "k" } } }, 400],
    [{ one_time_keys: { "signed_curve25519:C": { ...signedKey(alice), key: 5 } } }, 400],
    [{ one_time_keys: { "signed_curve25519:D": signedKey(alice, { signatures: {} }) } }, taken],
    [{ one_time_keys: { "signed_curve25519:E": signedKey(bob) } }, taken],
    [{ fallback_keys: "k" }, fails],
    [{ fallback_keys: { nameless: "k" } }, 400],
    [{ fallback_keys: { "signed_curve25519:A": 5 } }, 400],
    [{ fallback_keys: { "signed_curve25519:A": { key: "k", fallback: true } } }, 400],
    [{ fallback_keys: { "signed_curve25519:A": signedKey(alice, { fallback: "yes" }) } }, 400],
    [{ fallback_keys: { "signed_curve25519:A": signedKey(bob, { fallback: true }) } }, taken],
  ];
  for (const [upload, expected] of table) {
    const { status, body } = await alice.request("POST", UPLOAD, upload);
    assert.equal(status, expected, JSON.stringify(upload));
    if (status === 400) assert.match(body.errcode, /^M_(BAD_JSON|INVALID_PARAM)$/);
  }
  if (!stock) {
    const found = await bob.ok("POST", QUERY, { device_keys: { [alice.userId]: [] } });
    assert.deepEqual(found.device_keys[alice.userId] ?? {}, {}, "nothing of it is kept");
    assert.deepEqual((await alice.ok("POST", UPLOAD, {})).one_time_key_counts, {});
  }
  const upload = {
    device_keys: good,
    one_time_keys: { "signed_curve25519:K": signedKey(alice), "curve25519:K": "k" },
    fallback_keys: { "signed_curve25519:F": signedKey(alice, { fallback: true }) },
  };
  const { one_time_key_counts } = await alice.ok("POST", UPLOAD, upload);
  assert.ok(one_time_key_counts.signed_curve25519 >= 1);
});

test("cross-signing keys are of their user and usage, and signed by the master key", async () => {
  const [master, own, stranger] = [signingKey(), signingKey(), signingKey()];
  const first = {
    master_key: crossSigningKey(alice, "master", master, master),
    self_signing_key: crossSigningKey(alice, "self_signing", own, master),
  };
  const { signatures: _, ...unsigned } = first.self_signing_key;
  const table = [
    [{ self_signing_key: first.self_signing_key }, "M_MISSING_PARAM"],
    [{ master_key: first.self_signing_key }, "M_INVALID_PARAM"],
    [{ master_key: { ...first.master_key, keys: {} } }, "M_INVALID_PARAM"],
    [{ master_key: crossSigningKey(bob, "master", master, master) }, "M_INVALID_PARAM"],
    [{ ...first, self_signing_key: unsigned }, "M_INVALID_SIGNATURE"],
    [{ ...first, self_signing_key: crossSigningKey(alice, "self_signing", own, stranger) }, "M_INVALID_SIGNATURE"],
    [{ ...first, self_signing_key: { ...first.self_signing_key, more: "said later" } }, "M_INVALID_SIGNATURE"],
    [{ ...first, self_signing_key: crossSigningKey(alice, "user_signing", own, master) }, "M_INVALID_PARAM"],
  ];
  for (const [upload, errcode] of table) {
    const { status, body } = await alice.request("POST", CROSS, upload);
    assert.deepEqual([status, body.errcode], [400, errcode], JSON.stringify(upload));
  }
  const query = { device_keys: { [alice.userId]: [] } };
  assert.equal((await bob.ok("POST", QUERY, query)).master_keys?.[alice.userId], undefined, "nothing of it is kept");
  await uploadCrossSigning(alice, first);
  assert.deepEqual((await bob.ok("POST", QUERY, query)).self_signing_keys[alice.userId].keys, first.self_signing_key.keys);
});

test("a later signature is taken if it fits the very key and its maker may sign it", async () => {
  const keys = Object.fromEntries(["master", "own", "user", "hers", "herOwn", "stranger"].map((name) => [name, signingKey()]));
  for (const device of [alice, bob]) await device.ok("POST", UPLOAD, { device_keys: deviceKeys(device) });
  await uploadCrossSigning(alice, {
    master_key: crossSigningKey(alice, "master", keys.hers, keys.hers),
    self_signing_key: crossSigningKey(alice, "self_signing", keys.herOwn, keys.hers),
  });
  await uploadCrossSigning(bob, {
    master_key: crossSigningKey(bob, "master", keys.master, keys.master),
    self_signing_key: crossSigningKey(bob, "self_signing", keys.own, keys.master),
    user_signing_key: crossSigningKey(bob, "user_signing", keys.user, keys.master),
  });
  const failure = async (by, of, name, object) => {
    const { failures } = await by.ok("POST", SIGNATURES, { [of.userId]: { [name]: object } });
    return failures[of.userId]?.[name]?.errcode ?? "none";
  };
  const device = deviceKeys(alice);
  const master = crossSigningKey(alice, "master", keys.hers, keys.hers);
  const other = { ...device, algorithms: ["another"] };
  const table = [
    [alice, "NONE", signed(device, alice, keys.herOwn), "M_NOT_FOUND"],
    [alice, alice.deviceId, device, "M_INVALID_SIGNATURE"],
    [alice, alice.deviceId, signed(device, alice, keys.stranger), "M_INVALID_SIGNATURE"],
    [alice, alice.deviceId, signed(device, alice, { ...keys.stranger, id: keys.herOwn.id }), "M_INVALID_SIGNATURE"],
    [alice, alice.deviceId, signed(other, alice, keys.herOwn), stock ? "M_UNKNOWN" : "M_INVALID_PARAM"],
    [bob, alice.deviceId, signed(device, bob, keys.user), "M_NOT_FOUND"],
    [bob, keys.hers.id, signed(master, bob, { ...keys.stranger, id: keys.user.id }), "M_INVALID_SIGNATURE"],
    [alice, alice.deviceId, signed(device, alice, keys.herOwn), "none"],
    [bob, keys.hers.id, signed(master, bob, keys.user), "none"],
  ];
  for (const [by, name, object, expected] of table) {
    assert.equal(await failure(by, alice, name, object), expected, JSON.stringify(object));
  }
  const found = await bob.ok("POST", QUERY, { device_keys: { [alice.userId]: [] } });
  assert.ok(found.device_keys[alice.userId][alice.deviceId].signatures[alice.userId][`ed25519:${keys.herOwn.id}`]);
  assert.ok(found.master_keys[alice.userId].signatures[bob.userId][`ed25519:${keys.user.id}`]);
  const { status } = await alice.request("POST", SIGNATURES, { [alice.userId]: { [alice.deviceId]: "signed" } });
  assert.equal(status, 400);
});
