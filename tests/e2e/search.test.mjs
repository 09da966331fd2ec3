// Looking for messages by their words in the web client, and going to them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Person } from "./lib/browser.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, path, until } from "./lib/matrix.mjs";

const V3 = "/_matrix/client/v3";
let server, browser, bob, zoe, den, attic, txn = 0;
const events = {};

before(async () => {
  server = await Homeserver.start();
  browser = await launch();
  bob = await Device.register(server.baseUrl, "bob");
  zoe = await Person.arrive(browser, server.baseUrl, "zoe");
  await zoe.register();
  den = await room("den", "The Den");
  attic = await room("attic", "Attic");
  events.old = await say(den, "The lighthouse keeper waves");
  for (let n = 0; n < 60; n++) await say(den, `line ${n}`);
  events.edited = await say(den, "a lamp");
  await send(den, { msgtype: "m.text", body: "* the Lighthouses burn", "m.new_content": { msgtype: "m.text", body: "the Lighthouses burn" }, "m.relates_to": { rel_type: "m.replace", event_id: events.edited } });
  events.attic = await say(attic, "a model of a lighthouse");
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

async function room(alias, name) {
  const id = await bob.createRoom({ name, preset: "public_chat", room_alias_name: alias });
  await zoe.joinRoom(`#${alias}:localhost`, name);
  return id;
}
const send = async (id, content) => (await bob.ok("PUT", path(`${V3}/rooms/{}/send/{}/{}`, id, "m.room.message", `f${++txn}`), content)).event_id;
const say = (id, body) => send(id, { msgtype: "m.text", body });
const found = () => zoe.page.locator("[data-testid=search-result]");
const ids = () => found().evaluateAll((all) => all.map((one) => one.dataset.eventId));
const finds = (...expected) => until(`${expected.length} found`, async () => JSON.stringify(await ids()) === JSON.stringify(expected));

test("messages are found in the room one looks at or in all, highlighted and with what is around them", async () => {
  await zoe.page.evaluate((hash) => (location.hash = hash), `#/room/${encodeURIComponent(den)}`);
  await zoe.by("room-search").click();
  await zoe.by("search-term").fill("light");
  await finds(events.edited, events.old);
  assert.deepEqual(await found().locator("mark").allInnerTexts(), ["Lighthouses", "lighthouse"]);
  assert.match(await found().last().innerText(), /line 0/);
  await zoe.page.screenshot({ path: "artefacts/search.png" });
  await zoe.by("search-scope").selectOption("all");
  await finds(events.attic, events.edited, events.old);
  assert.match(await found().first().innerText(), /Attic/);
  await zoe.by("search-term").fill("nowhere at all");
  await zoe.by("search-status").getByText("Nothing found.").waitFor();
  await zoe.page.setViewportSize({ width: 390, height: 780 });
  await zoe.by("search-term").fill("line");
  await zoe.by("search-status").getByText("60 messages found").waitFor();
  await zoe.page.screenshot({ path: "artefacts/search-phone.png" });
  assert.ok(await zoe.page.evaluate(() => document.querySelector(".search-results").scrollWidth <= innerWidth), "nothing is cut off");
  await zoe.page.setViewportSize({ width: 1280, height: 800 });
});

test("all that is found comes page by page", async () => {
  assert.equal(await found().count(), 20);
  for (const count of [40, 60]) {
    await zoe.by("search-more").click();
    await until(`${count} are shown`, async () => (await found().count()) === count);
  }
  await zoe.by("search-more").waitFor({ state: "hidden" });
  assert.equal(new Set(await ids()).size, 60);
  await zoe.page.keyboard.press("Escape");
  await zoe.by("search-dialog").waitFor({ state: "detached" });
});

test("with the keyboard alone one searches and goes to what was said long ago, in its room", async () => {
  await zoe.page.evaluate((hash) => (location.hash = hash), `#/room/${encodeURIComponent(attic)}`);
  await zoe.by("room-name").getByText("Attic").waitFor();
  await zoe.page.keyboard.press("Control+Shift+F");
  await zoe.by("search-term").waitFor();
  await zoe.by("search-scope").selectOption("all");
  await zoe.by("search-term").focus();
  await zoe.page.keyboard.press("Control+a");
  await zoe.page.keyboard.type("keeper");
  await finds(events.old);
  await zoe.page.keyboard.press("ArrowDown");
  await zoe.page.keyboard.press("ArrowUp");
  assert.equal(await zoe.page.evaluate(() => document.activeElement?.dataset.testid), "search-term");
  await zoe.page.keyboard.press("ArrowDown");
  await zoe.page.keyboard.press("Enter");
  await zoe.by("room-name").getByText("The Den").waitFor();
  await zoe.flashed(events.old);
});
