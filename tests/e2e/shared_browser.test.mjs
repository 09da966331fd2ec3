// Two people at the web client, each of their own server, in one room: what they see of each other, and what becomes of it
// while one of the servers is away.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Authority } from "./lib/authority.mjs";
import { launch, Person } from "./lib/browser.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, path, until } from "./lib/matrix.mjs";

const V3 = "/_matrix/client/v3";
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

test("a room without an address is found by a link that names a server, and who invites is named with theirs", async () => {
  const carl = await Device.register(away.baseUrl, "carl");
  await carl.ok("PUT", path(`${V3}/profile/{}/displayname`, carl.userId), { displayname: "Carl C." });
  const hut = await carl.createRoom({ name: "The Hut", preset: "public_chat", room_version: "12" });
  assert.doesNotMatch(hut, /:/, "its ID names no server");
  await ann.by("join-room").click();
  await ann.by("join-room-address").fill(`https://matrix.to/#/${hut}?via=${encodeURIComponent(away.name)}`);
  await ann.by("join-room-submit").click();
  await ann.by("room-name").getByText("The Hut").waitFor();
  await carl.createRoom({ name: "The Barn", preset: "private_chat", invite: [ann.userId] });
  await ann.by("invite-item").getByText(`Invited by Carl C. of ${away.name}`, { exact: true }).waitFor();
});

test("a server that cannot be reached is named, and who is not found", async () => {
  await ann.by("join-room").click();
  await ann.by("join-room-address").fill("#den:localhost:1");
  await ann.by("join-room-submit").click();
  await ann.by("join-room-error").getByText("The server localhost:1 cannot be reached.", { exact: true }).waitFor();
  await ann.page.keyboard.press("Escape");
  await ann.by("room-item").filter({ hasText: "Across" }).click();
  await ann.by("room-name").getByText("Across").waitFor();
  await ann.by("people-invite").click();
  await ann.by("invite-users").fill(`@nobody:${away.name}`);
  await ann.by("invite-submit").click();
  await ann.by("invite-error").getByText(`There is nobody called @nobody:${away.name}.`, { exact: true }).waitFor();
  await ann.page.keyboard.press("Escape");
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

test("of whom nothing is known after a restart, nothing is said", async () => {
  await away.end("SIGKILL");
  await home.end("SIGTERM");
  await home.up();
  await ann.open();
  await ann.page.locator("[data-testid=connection][data-connection=online]").waitFor({ state: "attached" });
  await ann.by("room-item").filter({ hasText: "Across" }).click();
  const unknown = ann.page.locator(`[data-section=unknown] [data-user-id="${ben.userId}"]`);
  await unknown.waitFor();
  assert.doesNotMatch(await unknown.innerText(), /Offline/);
});
