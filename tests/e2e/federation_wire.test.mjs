// What presence between two homeservers costs, counted by a relay before each; and cuts of the network.
// Clocks are shortened: a minute of the short watchdog lasts 3 s, the hour of the long one 5 s.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Authority } from "./lib/authority.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { path, until } from "./lib/matrix.mjs";
import { presenceIn } from "./lib/relay.mjs";
import { User } from "./lib/user.mjs";

const WINDOW_MS = 700;
const SHORT_MS = 3000;
const LONG_MS = 5000;
const PROMISE_MS = 2 * SHORT_MS;
const SETTINGS = {
  "presence.batch_window": `${WINDOW_MS}ms`,
  "presence.short_watchdog": `${SHORT_MS}ms`,
  "presence.long_watchdog": `${LONG_MS}ms`,
  "presence.offline_grace": "1s",
};
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let authority, here, there, crowd, watcher;

before(async () => {
  authority = new Authority();
  const start = () => Homeserver.start(SETTINGS, "pilotlight", { authority, relayed: true });
  [here, there] = await Promise.all([start(), start()]);
  watcher = await User.arrive(there, "watcher");
  crowd = await Promise.all(["ann", "ben", "cid", "dot", "eli"].map((name) => User.arrive(here, name)));
  await watcher.observe(...crowd);
  await Promise.all(crowd.map((user) => watcher.sees(user, "online")));
});

after(async () => {
  await Promise.all([watcher, ...(crowd ?? [])].map((user) => user?.leave()));
  await Promise.all([here?.stop(), there?.stop()]);
  authority?.remove();
});

/** Marks where the relays stand; gives back what passed since, by direction. */
function counting() {
  const marks = [here, there].map(({ relay }) => relay.transactions.length);
  return () => ({
    toHere: presenceIn(here.relay.transactions.slice(marks[0])),
    toThere: presenceIn(there.relay.transactions.slice(marks[1])),
  });
}

const news = (messages) => messages.filter(({ push }) => push > 0);

test("many changes of many users within a window are one transaction, and the last state wins", async () => {
  await pause(2 * WINDOW_MS);
  const began = Date.now();
  const count = counting();
  for (const word of ["one", "two", "three", "four"]) await Promise.all(crowd.map((user) => user.setPresence("busy", word)));
  const windows = Math.floor((Date.now() - began) / WINDOW_MS) + 1;
  for (const user of crowd) await watcher.sees(user, "busy", "four");
  await pause(2 * WINDOW_MS);
  const sent = news(count().toThere);
  assert.ok(sent.length <= windows, `20 changes in ${windows} windows: ${JSON.stringify(sent)}`);
  assert.equal(sent.at(-1).push, crowd.length, "all of them in one");
  assert.deepEqual(news(count().toHere), [], "nothing goes the other way");
});

test("a change that is undone within the window sends nothing", async () => {
  await until("a change and its undoing fit into a window", async () => {
    const count = counting();
    const began = Date.now();
    await crowd[0].setPresence("online", "for a moment");
    await crowd[0].setPresence("busy", "four");
    const fits = Date.now() - began < WINDOW_MS / 2;
    await pause(2 * WINDOW_MS);
    if (fits) assert.deepEqual(news(count().toThere), []);
    return fits;
  });
});

test("quiet costs reminders only: a transaction for each short watchdog, in each direction at most", async () => {
  const count = counting();
  await pause(SHORT_MS + WINDOW_MS);
  const { toHere, toThere } = count();
  const messages = [...toHere, ...toThere];
  for (const { push, poll, unpoll, withdrawn, reminder } of messages) {
    assert.deepEqual({ push, poll, unpoll, withdrawn, reminder }, { push: 0, poll: 0, unpoll: 0, withdrawn: 0, reminder: true });
  }
  assert.ok(messages.length >= 1 && messages.length <= 8, `2 (T/S + 1) for each direction: ${messages.length}`);
});

test("servers that talk about other things send no short reminders, and the long one comes all the same", async () => {
  const talk = (user, other) => user.ok("GET", path("/_matrix/client/v3/profile/{}", other.userId));
  let talking = true;
  const conversation = (async () => {
    while (talking) {
      await Promise.all([talk(crowd[0], watcher), talk(watcher, crowd[0])]);
      await pause(SHORT_MS / 10);
    }
  })();
  await pause(WINDOW_MS);
  const from = Date.now();
  await pause(LONG_MS + WINDOW_MS);
  talking = false;
  await conversation;
  const messages = [here, there].flatMap((to) =>
    to.relay.transactions.flatMap((transaction) => presenceIn([transaction]).map((said) => ({ ...said, at: transaction.at, to }))));
  const recent = messages.filter(({ at }) => at >= from);
  assert.ok(recent.some(({ answer }) => answer), "a reminder that asks for an answer");
  for (const { at, to, answer } of recent) {
    const asked = messages.some((other) => other.answer && other.to !== to && other.at <= at && at - other.at < SHORT_MS / 2);
    assert.ok(answer || asked, "everything else is an answer");
  }
});

test("a name comes with the presence, in one event, and so does a change of it", async () => {
  const cid = crowd[2];
  const name = (displayname) => cid.ok("PUT", path("/_matrix/client/v3/profile/{}/displayname", cid.userId), { displayname });
  const told = () => watcher.told.get(cid.userId);
  await name("Cid");
  await until("his name is told", () => told()?.displayname === "Cid");
  assert.deepEqual([told()["org.pilotlight.presence"].state, told().status_msg], ["busy", "four"], "with what he shows");
  await Promise.all([name("Sid"), cid.setPresence("busy", "renamed")]);
  await until("both are told", () => told().status_msg === "renamed" && told().displayname === "Sid");
  await cid.setPresence("busy", "four");
  await until("the last word is told", () => told().status_msg === "four");
  assert.equal(told().displayname, "Sid", "the name goes along with every change");
});

test("a cut makes the users beyond it unknown, and its end makes them right again", async () => {
  here.relay.setCut(true);
  there.relay.setCut(true);
  const began = Date.now();
  await watcher.sees(crowd[0], "unknown", undefined, 4 * PROMISE_MS);
  assert.ok(Date.now() - began <= 2 * PROMISE_MS, "no ghost past the promise");
  await crowd[0].setPresence("online", "still here");
  here.relay.setCut(false);
  there.relay.setCut(false);
  await watcher.sees(crowd[0], "online", "still here");
  for (const user of crowd.slice(1)) await watcher.sees(user, "busy", "four");
});

test("who has nobody watching any more costs nothing", async () => {
  await watcher.leave();
  const offline = Date.now();
  await until("nobody is wanted", () => presenceIn(here.relay.transactions).some(({ unpoll }) => unpoll > 0));
  assert.ok(Date.now() - offline < 10_000);
  await pause(WINDOW_MS);
  const count = counting();
  await crowd[0].setPresence("free_for_chat", "anybody?");
  await pause(2 * WINDOW_MS);
  assert.deepEqual(count().toThere, []);
});

test("who only asks for the list is told how all are, by one message and one answer, and costs nothing after it", async () => {
  const list = path("/_matrix/client/v3/presence/list/{}", watcher.userId);
  const count = counting();
  const read = async () => {
    const entries = await watcher.ok("GET", list);
    return Object.fromEntries(entries.map(({ sender, content }) => [sender, [content["org.pilotlight.presence"].state, content.displayname]]));
  };
  const expected = Object.fromEntries(crowd.map(({ userId }, at) => [userId, [at === 0 ? "free_for_chat" : "busy", at === 2 ? "Sid" : undefined]]));
  assert.deepEqual(await read(), expected, "in the first answer");
  await pause(2 * WINDOW_MS);
  const { toHere, toThere } = count();
  assert.deepEqual([toHere.map(({ once }) => once), toThere.map(({ told }) => told)], [[crowd.length], [crowd.length]]);
  await pause(SHORT_MS);
  const later = counting();
  await pause(2 * SHORT_MS);
  assert.deepEqual(later(), { toHere: [], toThere: [] }, "no promise, no reminders");
  assert.deepEqual(await read(), expected, "and however much later it is read");
});
