// Two people at the web client, each of their own server, in one room: what they see of each other, and what becomes of it
// while one of the servers is away.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Authority } from "./lib/authority.mjs";
import { launch, Person } from "./lib/browser.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { until } from "./lib/matrix.mjs";

let authority, home, away, browser, ann, ben;

before(async () => {
  authority = new Authority();
  const start = () => Homeserver.start({ "presence.offline_grace": "2s" }, "pilotlight", { authority });
  [home, away, browser] = await Promise.all([start(), start(), launch()]);
  ann = await Person.arrive(browser, home.baseUrl, "ann", { server: home.name });
  ben = await Person.arrive(browser, away.baseUrl, "ben", { server: away.name });
  await Promise.all([ann.register(), ben.register()]);
});

after(async () => {
  await browser?.close();
  await Promise.all([home?.stop(), away?.stop()]);
  authority?.remove();
});

const shows = (person, text) => person.message(text).waitFor();

test("a room across two servers is one room to those who look at it", async () => {
  await ann.createRoom("Across", "across");
  await ann.say("before you came");
  await ben.joinRoom(`#across:${home.name}`, "Across");
  await ben.say("here I am");
  await shows(ann, "here I am");
  await ann.say("welcome");
  await shows(ben, "welcome");
  await shows(ben, "before you came");
  await Promise.all([ann.sees(ben, "online"), ben.sees(ann, "online")]);
});

test("what is said while a server is away is there when it is back, once", async () => {
  await home.end("SIGKILL");
  await ben.say("are you there?");
  await ann.say("my server is away");
  await until("the echo waits", async () => (await ann.message("my server is away").getAttribute("data-echo")) !== "placed");
  await home.up();
  await shows(ben, "my server is away");
  await shows(ann, "are you there?");
  for (const person of [ann, ben]) {
    for (const text of ["my server is away", "are you there?"]) assert.equal(await person.message(text).count(), 1, `${person.name}: ${text}`);
  }
  await Promise.all([ann.sees(ben, "online"), ben.sees(ann, "online")]);
  await ann.page.close();
  await ben.sees(ann, "offline");
});
