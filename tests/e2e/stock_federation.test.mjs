// This server and Synapse, over TLS: names, keys, signatures, profiles, transactions, presence.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { Authority } from "./lib/authority.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, path } from "./lib/matrix.mjs";
import { isSignedBy, Peer } from "./lib/peer.mjs";

let authority, ours, stock, alice, bob, stranger, asStock;

before(async () => {
  authority = new Authority();
  ours = await Homeserver.start({ "presence.offline_grace": "1s" }, "pilotlight", { authority });
  const watchers = [`@alice:${ours.name}`];
  const modules = [{ module: "everybody_sees.EverybodySees", config: { watchers } }];
  stock = await Homeserver.start({ modules }, "synapse", { authority });
  alice = await Device.register(ours.baseUrl, "alice");
  bob = await Device.register(stock.baseUrl, "bob");
  stranger = new Peer({ name: "localhost", ca: authority.ca });
  asStock = new Peer({ name: stock.name, ca: authority.ca, keyFile: join(stock.dir, "signing.key") });
});

after(async () => {
  await Promise.all([ours?.stop(), stock?.stop()]);
  authority?.remove();
});

const profile = (userId) => path("/_matrix/client/v3/profile/{}", userId);
const setName = (device, displayname) =>
  device.ok("PUT", `${profile(device.userId)}/displayname`, { displayname });

test("the keys of either server are signed by it, in its name", async () => {
  for (const { name } of [ours, stock]) {
    const { status, body } = await stranger.ask(name, "GET", "/_matrix/key/v2/server");
    assert.equal(status, 200);
    assert.equal(body.server_name, name);
    assert.ok(body.valid_until_ts > Date.now());
    assert.ok(isSignedBy(body, name, body.verify_keys), name);
    assert.ok(!isSignedBy({ ...body, valid_until_ts: 1 }, name, body.verify_keys), "a change breaks the signature");
  }
});

test("either server says what it is", async () => {
  const version = async ({ name }) => (await stranger.ask(name, "GET", "/_matrix/federation/v1/version")).body.server.name;
  assert.deepEqual(await Promise.all([ours, stock].map(version)), ["Pilotlight", "Synapse"]);
});

test("Synapse verifies our signed requests: our user is told who its user is", async () => {
  await setName(bob, "Bob there");
  assert.equal((await alice.ok("GET", profile(bob.userId))).displayname, "Bob there");
  assert.deepEqual(await alice.ok("GET", `${profile(bob.userId)}/displayname`), { displayname: "Bob there" });
  const nobody = await alice.request("GET", profile(`@nobody:${stock.name}`));
  assert.deepEqual([nobody.status, nobody.body.errcode], [404, "M_NOT_FOUND"]);
});

test("we verify Synapse's signed requests: its user is told who our user is", async () => {
  await setName(alice, "Alice here");
  assert.equal((await bob.ok("GET", profile(alice.userId))).displayname, "Alice here");
  const nobody = await bob.request("GET", profile(`@nobody:${ours.name}`));
  assert.equal(nobody.status, 404);
});

test("a request in Synapse's name with a wrong signature is refused, and one with a good one is not", async () => {
  const uri = path("/_matrix/federation/v1/query/profile?user_id={}", alice.userId);
  assert.equal((await asStock.ask(ours.name, "GET", uri)).status, 200);
  for (const bad of [stranger, asStock.as(ours.name)]) {
    const { status, body } = await bad.ask(ours.name, "GET", uri);
    assert.deepEqual([status, body.errcode], [401, "M_UNAUTHORIZED"]);
  }
});
