// Links to rooms, people and events in the web client, and what it says on the way into a room.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { addressOf, matrixLink } from "../../www/lib/links.js";
import { hold, launch, Person } from "./lib/browser.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, path, until } from "./lib/matrix.mjs";

const V3 = "/_matrix/client/v3";
const TO = "https://matrix.to/#/";
let server, browser, bob, zoe, txn = 0;

before(async () => {
  server = await Homeserver.start();
  browser = await launch();
  bob = await Device.register(server.baseUrl, "bob");
  zoe = await Person.arrive(browser, server.baseUrl, "zoe");
  await zoe.register();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

const say = async (id, body, formatted) =>
  (await bob.ok("PUT", path(`${V3}/rooms/{}/send/m.room.message/{}`, id, `l${++txn}`), { msgtype: "m.text", body, ...(formatted && { format: "org.matrix.custom.html", formatted_body: formatted }) })).event_id;
const link = (eventId, words) => zoe.page.locator(`[data-event-id="${eventId}"] a`, { hasText: words });
const open = (name) => zoe.by("room-name").getByText(name, { exact: true }).waitFor();
const problem = (name) => zoe.by(`${name}-error`);

async function typeRoom(typed) {
  await zoe.by("join-room").click();
  await zoe.by("join-room-address").fill(typed);
  await zoe.by("join-room-submit").click();
}

test("links of both kinds are read, and what is none is not", () => {
  const cases = {
    [`${TO}#den:hs:8448`]: { id: "#den:hs:8448", via: [] },
    [`${TO}%23den%3Ahs`]: { id: "#den:hs", via: [] },
    [`${TO}!den?via=a.org&via=b.org`]: { id: "!den", via: ["a.org", "b.org"] },
    [`${TO}!den:hs/$a/b:hs?via=a.org`]: { id: "!den:hs", eventId: "$a/b:hs", via: ["a.org"] },
    [`${TO}@bob:hs`]: { id: "@bob:hs", via: [] },
    "matrix:r/den:hs:8448": { id: "#den:hs:8448", via: [] },
    "matrix:roomid/den?via=a.org&action=join": { id: "!den", via: ["a.org"] },
    "matrix:roomid/den:hs/e/a%2Fb?via=a.org": { id: "!den:hs", eventId: "$a/b", via: ["a.org"] },
    "matrix:u/bob:hs?action=chat": { id: "@bob:hs", via: [] },
  };
  for (const [address, expected] of Object.entries(cases)) assert.deepEqual(matrixLink(address), expected, address);
  for (const none of ["", TO, `${TO}den`, `${TO}#den`, `${TO}%zz:hs`, "https://example.org/#/@bob:hs", "matrix:", "matrix:u/", "matrix:r/den", "matrix:x/den:hs", "#den:hs"]) {
    assert.equal(matrixLink(none), undefined, none);
  }
  const many = Array.from({ length: 50 }, (_, at) => `s${at}.org`);
  assert.equal(matrixLink(addressOf({ id: "!den", via: many })).via.length, 8);
  const whole = { id: "!den:hs", eventId: "$a/b?c", via: ["hs:8448"] };
  assert.deepEqual(matrixLink(addressOf(whole)), whole);
});

test("a link in a message leads to the room, the event or the person here", async () => {
  const den = await bob.createRoom({ name: "The Den", preset: "public_chat", room_alias_name: "den" });
  const hall = await bob.createRoom({ name: "The Hall", preset: "public_chat", room_alias_name: "hall" });
  await zoe.joinRoom("#den:localhost", "The Den");
  const pages = zoe.context.pages().length;
  const plain = await say(den, `see #hall:localhost, ${TO}@bob:localhost and matrix:r/hall:localhost. Not issue#1:23 nor #todo: x`);
  await link(plain, "#hall:localhost").first().waitFor();
  assert.deepEqual(await zoe.page.locator(`[data-event-id="${plain}"] a`).allInnerTexts(), ["#hall:localhost", `${TO}@bob:localhost`, "matrix:r/hall:localhost"]);

  await link(plain, "@bob").click();
  await zoe.by("person-dialog").getByText("@bob:localhost").waitFor();
  await zoe.by("dialog-close").click();

  await link(plain, "#hall:localhost").first().click();
  assert.equal(await zoe.by("join-room-address").inputValue(), "#hall:localhost");
  await zoe.by("join-room-submit").click();
  await open("The Hall");

  const there = await say(hall, "over here");
  const back = await say(hall, "a", `<a href="${TO}${encodeURIComponent(den)}/${encodeURIComponent(plain)}?via=localhost">that</a> <a href="matrix:r/den:localhost">den</a>`);
  await link(back, "that").click();
  await open("The Den");
  await zoe.flashed(plain);
  const again = await say(den, `${TO}%23hall:localhost/${there}`);
  await link(again, "hall").click();
  await open("The Hall");
  await zoe.flashed(there);
  await link(back, "den").click();
  await open("The Den");
  assert.equal(zoe.context.pages().length, pages, "all of it in this tab");
});

test("the boxes for rooms and people take links", async () => {
  const attic = await bob.createRoom({ name: "The Attic", preset: "public_chat", room_alias_name: "attic" });
  const said = await say(attic, "up here");
  await typeRoom(`${TO}${attic}/${said}?via=localhost`);
  await open("The Attic");
  await zoe.flashed(said);
  await bob.createRoom({ name: "The Loft", preset: "public_chat", room_alias_name: "loft" });
  await typeRoom("matrix:r/loft:localhost");
  await open("The Loft");
  await typeRoom("@bob:localhost");
  await zoe.by("person-dialog").getByText("@bob:localhost").waitFor();
  await zoe.by("person-dialog").getByTestId("dialog-close").click();
  await typeRoom("no room at all");
  await problem("join-room").getByText("is no room’s address").waitFor();
  await zoe.page.keyboard.press("Escape");

  await zoe.by("tab-contacts").click();
  await zoe.by("new-chat").click();
  await zoe.by("new-chat-user").fill("@nobody:localhost");
  await zoe.by("new-chat-submit").click();
  await problem("new-chat").getByText("There is nobody called @nobody:localhost.").waitFor();
  await zoe.by("new-chat-user").fill(`${TO}@bob:localhost`);
  await zoe.by("new-chat-submit").click();
  await open("bob");
  await zoe.by("tab-rooms").click();
});

test("who has to ask to be let in can, and who is banned is told so", async () => {
  const knock = { type: "m.room.join_rules", state_key: "", content: { join_rule: "knock" } };
  const vault = await bob.createRoom({ name: "The Vault", room_alias_name: "vault", initial_state: [knock] });
  await typeRoom("#vault:localhost");
  await problem("join-room").getByText("has to ask").waitFor();
  await zoe.by("knock").click();
  await zoe.by("toast").getByText("You have asked to be let in").waitFor();
  await until("zoe knocks", async () => (await bob.ok("GET", path(`${V3}/rooms/{}/state/m.room.member/{}`, vault, zoe.userId))).membership === "knock");
  await typeRoom("#vault:localhost");
  await problem("join-room").getByText("nobody has answered yet").waitFor();
  await zoe.page.keyboard.press("Escape");
  await bob.ok("POST", path(`${V3}/rooms/{}/invite`, vault), { user_id: zoe.userId });
  await zoe.page.locator(`[data-testid=invite-item][data-room-id="${vault}"]`).getByTestId("invite-accept").click();
  await open("The Vault");

  const cellar = await bob.createRoom({ name: "The Cellar", preset: "public_chat", room_alias_name: "cellar" });
  await bob.ok("POST", path(`${V3}/rooms/{}/ban`, cellar), { user_id: zoe.userId });
  await typeRoom("#cellar:localhost");
  await problem("join-room").getByText("You are banned from that room.").waitFor();
  await zoe.page.keyboard.press("Escape");
  await bob.createRoom({ name: "The Safe", room_alias_name: "safe" });
  await typeRoom("#safe:localhost");
  await problem("join-room").getByText("You need an invitation to that room.").waitFor();
  await zoe.page.keyboard.press("Escape");
});

test("an invitation that is being answered says so, and takes no second answer", async () => {
  const yard = await bob.createRoom({ name: "The Yard", preset: "private_chat", invite: [zoe.userId] });
  const invitation = zoe.page.locator(`[data-testid=invite-item][data-room-id="${yard}"]`);
  const [accept, decline] = [invitation.getByTestId("invite-accept"), invitation.getByTestId("invite-decline")];
  const gate = await hold(zoe.page, "**/join/*", "request");
  await accept.click();
  await accept.getByText("Joining…").waitFor();
  assert.deepEqual([await accept.isDisabled(), await decline.isDisabled()], [true, true]);
  await bob.ok("POST", path(`${V3}/rooms/{}/ban`, yard), { user_id: zoe.userId });
  gate.open();
  await zoe.by("toast").getByText("You are banned from that room.").waitFor();
  await gate.remove();
  assert.deepEqual(zoe.problems.filter((text) => !/40[34] /.test(text)), []);
});
