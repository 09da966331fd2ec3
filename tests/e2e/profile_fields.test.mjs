// Fields of profiles beyond name and picture, as stock clients use them: over the wire, and with matrix-js-sdk. The same
// against Synapse, but for what only this server does.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createClient } from "matrix-js-sdk";
import { Homeserver, stock } from "./lib/homeserver.mjs";
import { Device, path } from "./lib/matrix.mjs";

const V3 = "/_matrix/client/v3";
let server, alice, bob;

before(async () => {
  server = await Homeserver.start();
  alice = await Device.register(server.baseUrl, "alice");
  bob = await Device.register(server.baseUrl, "bob");
  const room = await alice.createRoom();
  await bob.join(room);
});

after(() => server?.stop());

const field = (of, name) => path(`${V3}/profile/{}/{}`, of.userId, name);

test("a field of the user's own is kept, read alone and with the whole profile, replaced and removed", async () => {
  // Synapse on SQLite gives false back as 0.
  for (const value of ["Europe/Paris", { nested: [1, { a: null }] }, 0, ...(stock ? [] : [false]), []]) {
    await alice.ok("PUT", field(alice, "org.example.field"), { "org.example.field": value });
    assert.deepEqual(await bob.ok("GET", field(alice, "org.example.field")), { "org.example.field": value });
    const whole = await bob.ok("GET", path(`${V3}/profile/{}`, alice.userId));
    assert.deepEqual(whole["org.example.field"], value);
  }
  await alice.ok("DELETE", field(alice, "org.example.field"));
  const gone = await bob.request("GET", field(alice, "org.example.field"));
  assert.deepEqual([gone.status, gone.body.errcode], [404, "M_NOT_FOUND"]);
});

test("a field of somebody else, a bad name, a missing value and a profile that is too large are refused", async () => {
  const put = async (who, of, name, body) => {
    const { status, body: { errcode } } = await who.request("PUT", field(of, name), body);
    return `${status} ${errcode}`;
  };
  assert.equal(await put(bob, alice, "org.example.f", { "org.example.f": 1 }), "403 M_FORBIDDEN");
  assert.equal(await put(alice, alice, "Upper", { Upper: 1 }), "400 M_INVALID_PARAM");
  assert.equal(await put(alice, alice, "a".repeat(256), { ["a".repeat(256)]: 1 }), "400 M_KEY_TOO_LARGE");
  assert.equal(await put(alice, alice, "org.example.f", { "org.example.g": 1 }), "400 M_MISSING_PARAM");
  assert.equal(await put(alice, alice, "org.example.f", { "org.example.f": "x".repeat(65_536) }), "400 M_PROFILE_TOO_LARGE");
  const nothing = await bob.request("GET", field(alice, "org.example.f"));
  assert.equal(nothing.status, 404);
});

const unasked = stock && "this matrix-js-sdk asks for a name of the feature that Synapse no longer announces";

test("matrix-js-sdk sets, reads and deletes fields, and finds that it may", { skip: unasked }, async () => {
  const client = createClient({ baseUrl: server.baseUrl, accessToken: alice.token, userId: alice.userId });
  assert.equal(await client.doesServerSupportExtendedProfiles(), true);
  await client.setExtendedProfileProperty("m.tz", "Europe/Berlin");
  assert.equal(await client.getExtendedProfileProperty(alice.userId, "m.tz"), "Europe/Berlin");
  assert.equal((await client.getExtendedProfile(alice.userId))["m.tz"], "Europe/Berlin");
  await client.deleteExtendedProfileProperty("m.tz");
  assert.equal((await client.getExtendedProfile(alice.userId))["m.tz"], undefined);
  const { "m.profile_fields": capability } = await client.getCapabilities();
  assert.equal(capability?.enabled, true);
});

test("m.status and the status message are one thing", { skip: stock && "only this server mirrors them" }, async () => {
  await alice.sync();
  await alice.setPresence("online");
  const status = { text: "Swimming", emoji: "\u{1f3ca}" };
  await alice.ok("PUT", field(alice, "org.matrix.msc4426.status"), { "org.matrix.msc4426.status": status });
  assert.equal((await bob.presenceOf(alice.userId)).status_msg, "Swimming");
  const { "m.status": stable, "org.matrix.msc4426.status": unstable } = await bob.ok("GET", path(`${V3}/profile/{}`, alice.userId));
  assert.deepEqual([stable, unstable], [status, status]);
});
