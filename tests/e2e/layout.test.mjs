// The web client where there is little space: whatever people are called and say, nothing is cut off or pushed away.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Person } from "./lib/browser.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, path } from "./lib/matrix.mjs";

const NAME = "Maximiliane-Alexandra Wolfeschlegelsteinhausenbergerdorff von und zu Hohenlohe";
const WORDS = `Writing what goes on and on, https://example.org/${"withoutanyspace".repeat(6)}, until four or so`;
let server, browser, max, zoe, room;

before(async () => {
  server = await Homeserver.start();
  browser = await launch();
  max = await Device.register(server.baseUrl, "max-with-a-user-name-that-is-rather-long-too");
  await max.ok("PUT", path("/_matrix/client/v3/profile/{}/displayname", max.userId), { displayname: NAME });
  await max.ok("PUT", path("/_matrix/client/v3/presence/{}/status", max.userId), { presence: "busy", status_msg: WORDS });
  const made = { name: `The room of ${NAME}`, topic: WORDS, preset: "public_chat", room_alias_name: "long" };
  room = (await max.ok("POST", "/_matrix/client/v3/createRoom", made)).room_id;
  await max.ok("PUT", path("/_matrix/client/v3/rooms/{}/send/m.room.message/1", room), { msgtype: "m.text", body: WORDS });
  zoe = await Person.arrive(browser, server.baseUrl, "zoe", { viewport: { width: 320, height: 640 } });
  await zoe.register();
  await zoe.by("join-room").click();
  await zoe.by("join-room-address").fill("#long:localhost");
  await zoe.by("join-room-submit").click();
  await zoe.message(WORDS).or(zoe.by("timeline-item").filter({ hasText: "until four" })).first().waitFor();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** What is wider than the place it is in, unless it is cut with an ellipsis. */
const cutOff = () =>
  zoe.page.evaluate(() => {
    const wide = document.documentElement.clientWidth;
    const inside = (/** @type {Element} */ node) => {
      const box = node.getBoundingClientRect();
      return box.width === 0 || (box.left >= -1 && box.right <= wide + 1);
    };
    const isShortened = (/** @type {Element} */ node) => {
      for (let up = node.parentElement; up; up = up.parentElement) if (getComputedStyle(up).textOverflow === "ellipsis") return true;
      return false;
    };
    const open = document.querySelector("dialog[open]");
    const nodes = [...(open ?? document.body).querySelectorAll("*")].filter((node) => node.checkVisibility());
    const bad = nodes.filter((node) => !inside(node) && !isShortened(node) && !node.closest(".visually-hidden"));
    const scrolls = open ? open.scrollWidth > open.clientWidth : document.documentElement.scrollWidth > wide;
    return [...(scrolls ? ["it scrolls sideways"] : []), ...bad.map((node) => `${node.tagName} ${node.className}`)];
  });

const go = (hash) => zoe.page.evaluate((to) => (location.hash = to), hash);

test("on 320 pixels nothing of a room, its people or a person is out of sight", async () => {
  for (const [place, shown] of [["", "timeline-item"], ["/people", "user-item"]]) {
    await go(`#/room/${encodeURIComponent(room)}${place}`);
    await zoe.by(shown).first().waitFor();
    assert.deepEqual(await cutOff(), [], place);
  }
  await zoe.page.locator(`[data-testid=user-item][data-user-id="${max.userId}"] button`).click();
  await zoe.by("person-dialog").getByText("until four").waitFor();
  assert.deepEqual(await cutOff(), [], "the person");
  await zoe.screenshot("person-320");
  await zoe.page.keyboard.press("Escape");
});

test("on 320 pixels nothing of the lists and the settings is out of sight", async () => {
  await go("#/contacts");
  await zoe.by("contact-item").first().waitFor();
  assert.deepEqual(await cutOff(), [], "people");
  await go("#/");
  await zoe.by("room-item").first().waitFor();
  assert.deepEqual(await cutOff(), [], "rooms");
  for (const [item, dialog] of [["open-profile", "profile-dialog"], ["open-privacy", "privacy-dialog"]]) {
    await zoe.by("my-presence").click();
    await zoe.by(item).click();
    await zoe.by(dialog).waitFor();
    assert.deepEqual(await cutOff(), [], dialog);
    await zoe.page.keyboard.press("Escape");
  }
});
