// What a room, its people and the list of rooms say: of who is not in yet, of what was said last, and to whom it can be reached.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Person } from "./lib/browser.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, path, until } from "./lib/matrix.mjs";

const V3 = "/_matrix/client/v3";
let server, browser, bob, zoe, den, txn = 0;

before(async () => {
  server = await Homeserver.start();
  browser = await launch();
  bob = await Device.register(server.baseUrl, "bob");
  await bob.ok("PUT", path(`${V3}/profile/{}/displayname`, bob.userId), { displayname: "Bob the Builder" });
  zoe = await Person.arrive(browser, server.baseUrl, "zoe");
  await zoe.register();
  den = await bob.createRoom({ name: "The Den", preset: "public_chat", room_alias_name: "den" });
  await zoe.joinRoom("#den:localhost", "The Den");
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

const send = async (id, content, kind = "m.room.message") => (await bob.ok("PUT", path(`${V3}/rooms/{}/send/{}/{}`, id, kind, `v${++txn}`), content)).event_id;
const say = (id, body, formatted) => send(id, { msgtype: "m.text", body, ...(formatted && { format: "org.matrix.custom.html", formatted_body: formatted }) });
const row = (eventId, { page } = zoe) => page.locator(`[data-testid=timeline-item][data-event-id="${eventId}"]`);
const listed = (id) => zoe.page.locator(`[data-testid=room-item][data-room-id="${id}"]`);
const focused = ({ page } = zoe) => page.evaluate(() => document.activeElement?.dataset.testid);

test("who is invited is said to be, and not to be offline", async () => {
  const carl = await Device.register(server.baseUrl, "carl");
  await bob.ok("POST", path(`${V3}/rooms/{}/invite`, den), { user_id: carl.userId });
  const invited = zoe.page.locator(`[data-section=invited] [data-user-id="${carl.userId}"]`);
  await invited.waitFor();
  assert.match(await invited.innerText(), /Invited/);
  assert.doesNotMatch(await invited.innerText(), /Offline/);
});

test("an invitation says by whom, by the name that they have", async () => {
  const id = await bob.createRoom({ name: "The Attic", preset: "private_chat", invite: [zoe.userId] });
  const invitation = zoe.page.locator(`[data-testid=invite-item][data-room-id="${id}"]`);
  await invitation.getByText("Invited by Bob the Builder", { exact: true }).waitFor();
  await invitation.getByTestId("invite-accept").click();
  await zoe.by("room-name").getByText("The Attic").waitFor();
  // Whoever came by an invitation sees everybody all the same.
  await zoe.person(bob).waitFor();
});

test("the list of rooms goes by what was said last, in its words without marks", async () => {
  const other = await bob.createRoom({ name: "The Hall", preset: "public_chat", room_alias_name: "hall" });
  await zoe.joinRoom("#hall:localhost", "The Hall");
  const first = await say(den, "**first**", "<strong>first</strong>");
  await listed(den).getByText("Bob the Builder: first", { exact: true }).waitFor();
  await say(other, "<list>", "<p>one</p><ul><li>two</li><li><em>three</em></li></ul><span data-mx-spoiler>who did it</span>");
  await listed(other).getByText("Bob the Builder: one two three Spoiler", { exact: true }).waitFor();
  const order = () => zoe.by("room-item").evaluateAll((items) => items.map((item) => item.dataset.roomId));
  await until("the room in which something was said is first", async () => (await order()).slice(0, 2).join() === [other, den].join());
  await send(den, { "m.relates_to": { rel_type: "m.annotation", event_id: first, key: "👍" } }, "m.reaction");
  await send(den, { msgtype: "m.text", body: "* second", "m.new_content": { msgtype: "m.text", body: "`second`" }, "m.relates_to": { rel_type: "m.replace", event_id: first } });
  await listed(den).getByText("Bob the Builder: second", { exact: true }).waitFor();
  assert.deepEqual((await order()).slice(0, 2), [other, den], "neither an edit nor a reaction is something said");
  await say(den, "third");
  await until("the other one is first", async () => (await order())[0] === den);

  await listed(den).click();
  const quoted = await say(den, "_so_ it is", "<em>so</em> it is");
  const answer = await send(den, { msgtype: "m.text", body: "yes", "m.relates_to": { "m.in_reply_to": { event_id: quoted } } });
  const quote = row(answer).getByTestId("quote");
  await until("what is answered is quoted", async () => /^Bob the Builder\s+so it is$/.test(await quote.innerText()));
});

test("what can be done with a message is reached by the Tab key", async () => {
  const said = await say(den, "tab to me");
  await row(said).locator(".line").focus();
  await zoe.page.keyboard.press("Tab");
  assert.equal(await focused(), "quick-reply");
  await zoe.page.keyboard.press("Tab");
  assert.equal(await focused(), "message-more");
  await zoe.page.keyboard.press("Enter");
  await zoe.by("message-menu").waitFor();
  await zoe.page.keyboard.press("Escape");
  await until("the focus returns", async () => (await focused()) === "message-more");
  await zoe.page.keyboard.press("Escape");
  assert.equal(await zoe.page.evaluate(() => document.activeElement.className), "line");
});

test("and by a finger, which does not hover", async () => {
  const tia = await Person.arrive(browser, server.baseUrl, "tia", { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true });
  await tia.register();
  await tia.joinRoom("#den:localhost", "The Den");
  const said = await say(den, "touch me");
  await row(said, tia).locator(".body").tap();
  const more = row(said, tia).getByTestId("message-more");
  await more.waitFor();
  const { width, height } = await more.boundingBox();
  assert.ok(width >= 40 && height >= 40, `as large as a finger: ${width} × ${height}`);
  await tia.screenshot("touch-tools");
  await more.tap();
  await tia.by("react").first().tap();
  await row(said, tia).getByTestId("reaction").waitFor();
  await tia.context.close();
});

test("Escape closes the people of a room, and the focus is where they are opened", async () => {
  const pane = zoe.page.locator(".people");
  await listed(den).click();
  await zoe.person(bob).locator(".person-button").focus();
  await zoe.page.keyboard.press("Escape");
  await pane.waitFor({ state: "hidden" });
  assert.equal(await focused(), "people-toggle");
  await zoe.page.keyboard.press("Enter");
  await pane.waitFor();
  await zoe.page.setViewportSize({ width: 700, height: 800 });
  await zoe.by("people-toggle").focus();
  await zoe.page.keyboard.press("Enter");
  await until("the focus is in what took its place", async () => (await focused()) === "people-back");
  await zoe.page.keyboard.press("Escape");
  await pane.waitFor({ state: "hidden" });
  await until("the focus is back", async () => (await focused()) === "people-toggle");
  await zoe.page.setViewportSize({ width: 1280, height: 800 });
});

test("the page complained of nothing", () => assert.deepEqual(zoe.problems, []));
