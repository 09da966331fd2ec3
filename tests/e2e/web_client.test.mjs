// The web client by itself: assistive technology, the keyboard alone, long timelines, and what peers may send.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { launch, Person } from "./lib/browser.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, path, until } from "./lib/matrix.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const LINES = 150;

let server, browser, talker, roomId;

before(async () => {
  server = await Homeserver.start({ "rate_limits.enabled": "false" });
  browser = await launch();
  talker = await Device.register(server.baseUrl, "talker");
  const room = { name: "The Den", topic: "Everything", room_alias_name: "den", preset: "public_chat", visibility: "public" };
  roomId = (await talker.ok("POST", "/_matrix/client/v3/createRoom", room)).room_id;
  for (let line = 1; line <= LINES; line++) await say({ msgtype: "m.text", body: `line ${line}` });
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

let txn = 0;
const say = (content) =>
  talker.ok("PUT", path("/_matrix/client/v3/rooms/{}/send/m.room.message/{}", roomId, `t${++txn}`), content);

/** What axe finds wrong with the page, in words. */
async function violations(page) {
  await page.waitForTimeout(400); // what is still sliding in has no contrast yet
  await page.evaluate(axe);
  return page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => node.html.slice(0, 200)).join(" | ")}`);
  });
}

for (const colorScheme of ["light", "dark"]) {
  test(`assistive technology finds nothing wrong, ${colorScheme}`, async () => {
    // The checker is a script of its own, which the page's policy rightly keeps out.
    const person = await Person.arrive(browser, server.baseUrl, `axe-${colorScheme}`, { colorScheme, bypassCSP: true });
    assert.deepEqual(await violations(person.page), [], "signing in");
    await person.register();
    assert.deepEqual(await violations(person.page), [], "no rooms yet");
    await person.joinRoom("#den:localhost", "The Den");
    await person.say("a message of my own");
    await person.message(`line ${LINES}`).waitFor();
    const asked = (await say({ msgtype: "m.text", body: "asked", format: "org.matrix.custom.html", formatted_body: "<h1>asked</h1><ol><li>first</li></ol><span data-mx-spoiler>second</span>" })).event_id;
    const relation = { "m.in_reply_to": { event_id: asked } };
    const answer = (await say({ msgtype: "m.text", body: "answered", "m.mentions": { user_ids: [person.userId] }, "m.relates_to": relation })).event_id;
    await talker.ok("PUT", path("/_matrix/client/v3/rooms/{}/send/m.reaction/{}", roomId, `t${++txn}`), { "m.relates_to": { rel_type: "m.annotation", event_id: answer, key: "🎉" } });
    await person.by("reaction").last().click();
    assert.deepEqual(await violations(person.page), [], "in a room");
    const row = person.message("answered").last();
    await row.locator(".bubble").hover();
    await row.getByTestId("quick-reply").click();
    await person.by("composer").fill("@ta");
    await person.by("completion-item").first().waitFor();
    assert.deepEqual(await violations(person.page), [], "answering");
    await person.by("composer").fill("");
    await person.page.keyboard.press("Escape");
    await row.locator(".bubble").hover();
    await row.getByTestId("message-more").click();
    assert.deepEqual(await violations(person.page), [], "what a message can be asked to do");
    await person.page.keyboard.press("Escape");
    await person.by("my-presence").click();
    assert.deepEqual(await violations(person.page), [], "my presence");
    await person.page.keyboard.press("Escape");
    for (const dialog of ["create-room", "join-room"]) {
      await person.by(dialog).click();
      assert.deepEqual(await violations(person.page), [], dialog);
      await person.page.keyboard.press("Escape");
      await person.by(`${dialog}-dialog`).waitFor({ state: "detached" });
    }
    await person.by("tab-contacts").click();
    assert.deepEqual(await violations(person.page), [], "people");
    await person.context.close();
  });
}

test("everything is reached by the keyboard alone", async () => {
  const person = await Person.arrive(browser, server.baseUrl, "keys");
  const { keyboard } = person.page;
  const focused = () => person.page.evaluate(() => document.activeElement?.dataset.testid);
  /** Presses Tab until the focus is on the control. */
  const tabTo = async (testid, key = "Tab") => {
    for (let steps = 0; steps < 40; steps++) {
      if ((await focused()) === testid) return;
      await keyboard.press(key);
    }
    assert.fail(`${testid} is not reached by ${key}`);
  };

  await tabTo("mode-register", "Shift+Tab");
  await keyboard.press("Enter");
  await tabTo("login-user");
  await keyboard.type("keys");
  await tabTo("login-password");
  await keyboard.type("correct horse battery");
  await tabTo("login-password-again");
  await keyboard.type("correct horse battery");
  await keyboard.press("Enter");
  await person.by("my-presence").waitFor();

  await tabTo("join-room");
  await keyboard.press("Enter");
  await person.by("directory-item").first().waitFor();
  await tabTo("directory-item");
  await keyboard.press("Enter");
  await person.by("room-name").getByText("The Den").waitFor();

  await tabTo("composer");
  await keyboard.type("one");
  await keyboard.press("Shift+Enter");
  await keyboard.type("two");
  assert.equal(await person.by("composer").inputValue(), "one\ntwo");
  await keyboard.press("Enter");
  await person.by("timeline-item").filter({ hasText: "one" }).filter({ hasText: "two" }).waitFor();

  await tabTo("my-presence", "Shift+Tab");
  await keyboard.press("Enter");
  await tabTo("presence-option-online");
  await keyboard.press("ArrowDown");
  assert.equal(await focused(), "presence-option-busy");
  await keyboard.press("Enter");
  await person.page.locator("[data-testid=my-presence][data-state=busy]").waitFor();

  await tabTo("create-room", "Shift+Tab");
  await keyboard.press("Enter");
  assert.equal(await focused(), "create-room-name");
  await keyboard.press("Escape");
  await person.by("create-room-dialog").waitFor({ state: "detached" });
  assert.equal(await focused(), "create-room", "the focus returns to where it was");
  await person.context.close();
});

test("scrolling back goes to the room's beginning and keeps the place", async () => {
  const person = await Person.arrive(browser, server.baseUrl, "reader");
  await person.register();
  await person.joinRoom("#den:localhost", "The Den");
  await person.message(`line ${LINES}`).waitFor();
  await person.message(`line ${LINES - 3}`).first().waitFor();
  const seen = await person.by("timeline-item").filter({ hasText: "line" }).first().textContent();
  const before = await person.by("timeline-item").count();

  const moved = await person.page.evaluate(async () => {
    const scroller = document.querySelector(".scroller");
    scroller.scrollTop = 1;
    await new Promise((resolve) => requestAnimationFrame(resolve));
    const top = scroller.getBoundingClientRect().top;
    const anchor = [...document.querySelectorAll("[data-testid=timeline-item]")].find((row) => row.getBoundingClientRect().bottom > top);
    const [place, count] = [anchor.getBoundingClientRect().top, document.querySelectorAll("[data-testid=timeline-item]").length];
    while (document.querySelectorAll("[data-testid=timeline-item]").length === count) await new Promise((resolve) => requestAnimationFrame(resolve));
    await new Promise((resolve) => requestAnimationFrame(resolve));
    return Math.abs(anchor.getBoundingClientRect().top - place);
  });
  assert.ok(moved < 3, `what is read stays where it is, but moved by ${moved} px (was at ${seen})`);
  assert.ok((await person.by("timeline-item").count()) > before);

  await until("the beginning", async () => {
    await person.page.evaluate(() => (document.querySelector(".scroller").scrollTop = 0));
    return (await person.by("timeline-top").innerText()) === "This is where The Den begins.";
  });
  assert.equal(await person.message("line 1").count(), 1, "the first line is there, once");

  await say({ msgtype: "m.text", body: "news" });
  await person.by("new-messages").getByText("1 new message").click();
  await person.message("news").waitFor();
  await person.by("new-messages").waitFor({ state: "hidden" });
  await person.context.close();
});

test("what peers send is shown as text, edits in their place, and deletions as such", async () => {
  const person = await Person.arrive(browser, server.baseUrl, "careful");
  await person.register();
  await person.joinRoom("#den:localhost", "The Den");
  const evil = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;
  await say({ msgtype: "m.text", body: evil, format: "org.matrix.custom.html", formatted_body: evil });
  await person.message(evil).waitFor();
  assert.equal(await person.page.locator("[data-testid=timeline] :is(img, script)").count(), 0);

  await say({ msgtype: "m.text", body: "see https://example.org/a_(b). javascript:alert(1)" });
  const link = person.page.locator("[data-testid=timeline] a");
  await link.waitFor();
  assert.equal(await link.getAttribute("href"), "https://example.org/a_(b)");
  assert.match(await link.getAttribute("rel"), /noopener/);

  const { event_id: edited } = await say({ msgtype: "m.text", body: "teh word" });
  await person.message("teh word").waitFor();
  const rows = await person.by("timeline-item").count();
  const relation = { rel_type: "m.replace", event_id: edited };
  await say({ msgtype: "m.text", body: "* the word", "m.new_content": { msgtype: "m.text", body: "the word" }, "m.relates_to": relation });
  await person.message("the word").waitFor();
  assert.equal(await person.message("teh word").count(), 0);
  assert.equal(await person.by("timeline-item").count(), rows, "an edit is no row of its own");

  const { event_id: regretted } = await say({ msgtype: "m.text", body: "too much" });
  await person.message("too much").waitFor();
  await talker.ok("PUT", path("/_matrix/client/v3/rooms/{}/redact/{}/{}", roomId, regretted, "r1"), {});
  await person.message("Message deleted").waitFor();
  assert.equal(await person.message("too much").count(), 0);

  for (const content of [{}, { msgtype: 7, body: null }, { body: { a: 1 } }, { msgtype: "m.text", body: "", "m.relates_to": 3 }]) {
    // Whether or not this server takes it, another one may.
    await talker.request("PUT", path("/_matrix/client/v3/rooms/{}/send/m.room.message/{}", roomId, `t${++txn}`), content);
  }
  await say({ msgtype: "m.text", body: "still here" });
  await person.message("still here").waitFor();
  assert.deepEqual(person.problems, []);
  await person.context.close();
});

test("the list of rooms calls who spoke last by their name in the room, where presence says none and nobody has opened it", async () => {
  const person = await Person.arrive(browser, server.baseUrl, "listener");
  await person.register();
  const speaker = await Device.register(server.baseUrl, "speaker");
  const quiet = await speaker.createRoom({ name: "Quiet", preset: "public_chat", room_alias_name: "quiet" });
  await person.joinRoom("#quiet:localhost", "Quiet");
  const rename = (displayname) => speaker.ok("PUT", path("/_matrix/client/v3/profile/{}/displayname", speaker.userId), { displayname });
  await rename("Emmy Noether");
  await speaker.send(quiet, "psst");
  const item = person.by("room-item").filter({ hasText: "Quiet" });
  await item.getByText("Emmy Noether: psst", { exact: true }).waitFor();
  await person.createRoom("Elsewhere", "elsewhere");
  // As a stock server's presence is: without names.
  await person.page.route("**/sync?*", async (route) => {
    const response = await route.fetch({ timeout: 0 }).catch(() => undefined);
    const body = await response?.json().catch(() => undefined);
    for (const { content } of body?.presence?.events ?? []) delete content.displayname;
    await (body ? route.fulfill({ response, json: body }) : route.abort()).catch(() => {});
  });
  await person.page.reload();
  await item.getByText("Emmy Noether: psst", { exact: true }).waitFor();
  await rename("Emmy N.");
  await item.getByText("Emmy N.: psst", { exact: true }).waitFor();
  assert.deepEqual(person.problems, []);
  await person.context.close();
});

test("signing out while the server is away leaves nothing of what waited, and says what the server does not know", async () => {
  const own = await Homeserver.start();
  const person = await Person.arrive(browser, own.baseUrl, "leaver");
  await person.register();
  await person.createRoom("Mine", "mine");
  const signOut = async () => {
    await person.by("my-presence").click();
    await person.by("sign-out").click();
    return person.by("sign-out-dialog").innerText();
  };
  assert.doesNotMatch(await signOut(), /wait/);
  await person.page.keyboard.press("Escape");
  await own.stop();
  await person.say("nobody else's business");
  await person.message("nobody else's business").waitFor();
  assert.match(await signOut(), /1 message that waits/);
  await person.by("sign-out-submit").click();
  await person.by("toast").getByText("this device stays in its list").waitFor();
  assert.doesNotMatch(await person.page.evaluate(() => JSON.stringify(localStorage)), /business|action|accessToken/);
  await person.context.close();
});
