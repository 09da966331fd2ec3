// This server and Synapse, over TLS: names, keys, signatures, profiles, transactions, presence.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { Authority } from "./lib/authority.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { path, until } from "./lib/matrix.mjs";
import { isSignedBy, Peer } from "./lib/peer.mjs";
import { presenceIn } from "./lib/relay.mjs";
import { User } from "./lib/user.mjs";

let authority, ours, stock, alice, bob, stranger, asStock;

before(async () => {
  authority = new Authority();
  const settings = { "presence.offline_grace": "1s", "presence.batch_window": "500ms", "presence.short_watchdog": "3s" };
  ours = await Homeserver.start(settings, "pilotlight", { authority });
  const watchers = ["bob", `@alice:${ours.name}`];
  const modules = [{ module: "everybody_sees.EverybodySees", config: { watchers } }];
  stock = await Homeserver.start({ modules }, "synapse", { authority, relayed: true });
  alice = await User.arrive(ours, "alice");
  bob = await User.arrive(stock, "bob");
  stranger = new Peer({ name: "localhost", ca: authority.ca });
  asStock = new Peer({ name: stock.name, ca: authority.ca, keyFile: join(stock.dir, "signing.key") });
});

after(async () => {
  await Promise.all([alice?.leave(), bob?.leave()]);
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

/** What Synapse knows no words for any more: who observes whom, said in its name with its key. */
async function sayAsStock(type, observer, observed) {
  const content = { observer_user: observer.userId, observed_user: observed.userId };
  const { status } = await asStock.send(ours.name, `${type}${Date.now()}`, { edu_type: type, content });
  assert.equal(status, 200);
}

test("Synapse accepts our transactions, also with what it does not know", async () => {
  await alice.ok("POST", path("/_matrix/client/v3/presence/list/{}", alice.userId), { invite: [bob.userId] });
  const [first] = await until("the request is there", () => stock.relay.transactions.length > 0 && stock.relay.transactions);
  assert.equal(first.edus[0].edu_type, "m.presence_invite");
  assert.equal(first.status, 200);
});

test("we take Synapse's transactions: our user sees its user", async () => {
  await sayAsStock("m.presence_accept", alice, bob);
  await bob.setPresence("online", "from Synapse");
  await alice.sees(bob, "online", "from Synapse");
  await until("his name comes along", () => alice.told.get(bob.userId)?.displayname === "Bob there");
  bob.streamState = "unavailable";
  await bob.setPresence("unavailable", "away from Synapse");
  await alice.sees(bob, "unavailable", "away from Synapse");
});

test("its user sees ours, in the three states that it knows", async () => {
  await sayAsStock("m.presence_invite", bob, alice); // accepted by itself, since she observes him
  for (const [state, shown] of [["online", "online"], ["busy", "unavailable"], ["free_for_chat", "online"], ["hidden", "offline"]]) {
    await alice.setPresence(state, `I am ${state}`);
    const message = state === "hidden" ? undefined : `I am ${state}`;
    const told = () => bob.told.get(alice.userId);
    await until(`Synapse shows ${shown}`, () => told()?.presence === shown && (message === undefined || told().status_msg === message));
  }
  assert.ok(stock.relay.transactions.every(({ status }) => status === 200));
  assert.doesNotMatch(JSON.stringify(stock.relay.transactions.map(({ edus }) => edus)), /"hidden"/);
});

test("a server that did not understand a poll gets no more of them, and no reminders", async () => {
  await new Promise((resolve) => setTimeout(resolve, 6000)); // the patience with a first poll
  const from = stock.relay.transactions.length;
  await alice.setPresence("online", "again");
  await until("Synapse is told", () => bob.told.get(alice.userId)?.status_msg === "again");
  await new Promise((resolve) => setTimeout(resolve, 4000)); // longer than the short watchdog
  const said = presenceIn(stock.relay.transactions.slice(from));
  assert.ok(said.length >= 1 && said.length <= 2, JSON.stringify(said));
  for (const { poll, reminder } of said) assert.deepEqual({ poll, reminder }, { poll: 0, reminder: false });
});
