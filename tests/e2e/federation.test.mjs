// Two homeservers over TLS, a relay before each that reads along, and people at the web client of either.
// Clocks are shortened: a minute of the short watchdog lasts 3 s, so that a promise holds for 6.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Authority } from "./lib/authority.mjs";
import { launch, Person } from "./lib/browser.mjs";
import { Homeserver } from "./lib/homeserver.mjs";

const WINDOW_MS = 700;
const SHORT_MS = 3000;
const SETTINGS = {
  "presence.batch_window": `${WINDOW_MS}ms`,
  "presence.short_watchdog": `${SHORT_MS}ms`,
  "presence.offline_grace": "1s",
};
const PROMISE_MS = 2 * SHORT_MS;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let authority, here, there, browser, alice, bob, carol;

before(async () => {
  authority = new Authority();
  const start = () => Homeserver.start(SETTINGS, "pilotlight", { authority, relayed: true });
  [here, there, browser] = await Promise.all([start(), start(), launch()]);
  const arrive = async (server, name) => {
    const person = await Person.arrive(browser, server.baseUrl, name, { server: server.name });
    await person.register();
    await person.by("tab-contacts").click();
    return person;
  };
  [alice, bob, carol] = await Promise.all([arrive(here, "alice"), arrive(there, "bob"), arrive(there, "carol")]);
});

after(async () => {
  await browser?.close();
  await Promise.all([here?.stop(), there?.stop()]);
  authority?.remove();
});

async function ask(person, others, group) {
  await person.by("add-contact").click();
  await person.by("add-contact-user").fill(others.map((other) => other.userId).join(", "));
  if (group) await person.by("add-contact-group").fill(group);
  await person.by("add-contact-submit").click();
}

test("who is added is asked at the other server, and shown as not having answered", async () => {
  await ask(alice, [bob, carol], "Abroad");
  for (const other of [bob, carol]) await alice.contact(other, "group-Abroad").getByText("has not answered yet").waitFor();
  for (const other of [bob, carol]) {
    await other.looksFor(other.by("request-item"));
    assert.equal(await other.by("request-item").getAttribute("data-user-id"), alice.userId);
  }
  await bob.screenshot("federation-asked");
});

test("who accepts is seen; who denies is not, and it is said", async () => {
  await bob.by("request-accept").click();
  await alice.findsContact(bob, "online");
  await carol.by("request-deny").click();
  await alice.looksFor(alice.contact(carol).getByText("Does not share"));
});

test("a chat is offered with somebody of the other server", async () => {
  await alice.contact(bob).getByRole("button").click();
  await alice.by("message-person").waitFor();
  assert.equal(await alice.by("out-of-reach").count(), 0);
  await alice.by("dialog-close").click();
});

test("the other way round nobody is asked again: both see each other", async () => {
  await ask(bob, [alice]);
  await bob.findsContact(alice, "online");
  assert.equal(await alice.by("request-item").count(), 0);
  await Promise.all([alice.screenshot("federation-here"), bob.screenshot("federation-there")]);
});

test("states and status messages travel in both directions", async () => {
  await alice.by("my-presence").click();
  await alice.by("status-message").fill("over TLS");
  await alice.by("status-message").press("Enter");
  await alice.by("presence-option-busy").click();
  await bob.findsContact(alice, "busy");
  await bob.contact(alice).getByText("over TLS").waitFor();
  await bob.choosePresence("free_for_chat");
  await alice.findsContact(bob, "free_for_chat");
  await Promise.all([alice.screenshot("federation-free-for-chat"), bob.screenshot("federation-busy")]);
});

test("idleness is seen at the other server, and its end", async () => {
  await bob.page.clock.fastForward(181_000);
  await alice.findsContact(bob, "unavailable");
  await bob.page.mouse.move(300, 300);
  await bob.page.mouse.move(400, 350);
  await alice.findsContact(bob, "free_for_chat");
});

test("who hides is offline at the other server, and nothing on the wire says otherwise", async () => {
  const before = there.relay.transactions.length;
  await alice.choosePresence("hidden");
  await bob.findsContact(alice, "offline");
  await alice.findsContact(bob, "free_for_chat");
  await pause(2 * WINDOW_MS);
  assert.equal(await bob.contact(alice).getAttribute("data-state"), "offline");
  assert.doesNotMatch(JSON.stringify(there.relay.transactions.slice(before)), /hidden/);
  await alice.choosePresence("online");
  await bob.findsContact(alice, "online");
});

test("people of another server are in groups like everybody else", async () => {
  await alice.contact(bob, "group-Abroad").getByRole("button").click();
  await alice.by("edit-groups").click();
  await alice.by("group-new").fill("Friends");
  await alice.by("groups-submit").click();
  await alice.contact(bob, "group-Friends").waitFor();
  assert.equal(await alice.contact(bob, "group-Abroad").count(), 1);
  await alice.findsContact(bob, "free_for_chat");
  await alice.screenshot("federation-groups");
});

test("a server that is killed: its users are unknown when the promise has passed, and right again afterwards", async () => {
  const rounds = [
    { dead: there, gone: bob, state: "free_for_chat", watcher: alice },
    { dead: here, gone: alice, state: "online", watcher: bob },
  ];
  for (const { dead, gone, state, watcher } of rounds) {
    const began = Date.now();
    await dead.end("SIGKILL");
    await watcher.findsContact(gone, "unknown", 4 * PROMISE_MS);
    const took = Date.now() - began;
    assert.ok(took <= 2 * PROMISE_MS, `a ghost for ${took} ms`);
    await watcher.screenshot(`federation-unknown-${gone.name}`);
    await dead.up();
    await gone.reconnects();
    await watcher.findsContact(gone, state);
    await gone.findsContact(watcher, watcher === alice ? "online" : "free_for_chat");
  }
});

test("what was granted is taken back: the other server is told at once and shows nothing any more", async () => {
  await bob.by("my-presence").click();
  await bob.by("open-privacy").click();
  await bob.by("revoke").click();
  await bob.by("observer-item").waitFor({ state: "detached" });
  await bob.by("dialog-close").click();
  await alice.looksFor(alice.contact(bob).getByText("Does not share"));
  const from = here.relay.transactions.length;
  await bob.choosePresence("busy");
  await pause(3 * WINDOW_MS);
  assert.doesNotMatch(JSON.stringify(here.relay.transactions.slice(from)), /busy/);
  assert.notEqual(await alice.contact(bob).first().getAttribute("data-state"), "busy");
  await bob.findsContact(alice, "online");
});

test("the pages complained of nothing but the servers' absence", () => {
  const expected = /ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_FAILED/;
  for (const person of [alice, bob, carol]) assert.deepEqual(person.problems.filter((problem) => !expected.test(problem)), []);
});
