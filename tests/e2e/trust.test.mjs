// What the web client shows can be trusted: who is there, who is idle, whether the server is; and no text is lost.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Person } from "./lib/browser.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, path, until } from "./lib/matrix.mjs";

const IDLE_MS = 3 * 60_000;
const GRACE_MS = 30_000;

let server, browser, alice, bob, talker, den;

before(async () => {
  server = await Homeserver.start({ "presence.offline_grace": "3s" });
  browser = await launch("--js-flags=--expose-gc");
  alice = await Person.arrive(browser, server.baseUrl, "alice");
  bob = await Person.arrive(browser, server.baseUrl, "bob");
  talker = await Device.register(server.baseUrl, "talker");
  const room = { name: "The Den", room_alias_name: "den", preset: "public_chat", visibility: "public" };
  den = await talker.createRoom(room);
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

const footer = (person) => person.by("my-presence");
const connection = (person, state) => person.page.locator(`[data-testid=connection][data-connection=${state}]`);
const item = (person, text) => person.message(text);
const problem = (person) => person.by("composer-problem");

test("an account asks for its password twice, and says before sending what is too short", async () => {
  const sent = () => alice.requests.filter((request) => request.url().endsWith("/register")).length;
  await alice.by("mode-register").click();
  await alice.by("login-user").fill("alice");
  await alice.by("login-password").fill("short");
  await alice.by("login-password-again").fill("short");
  await alice.by("register-submit").click();
  assert.equal(await alice.by("login-password").evaluate((input) => input.validationMessage), "At least 8 characters, please.");
  await alice.by("login-password").fill("correct horse battery");
  await alice.by("login-password-again").fill("correct horse batery");
  await alice.by("register-submit").click();
  assert.equal(await alice.by("login-password-again").evaluate((input) => input.validationMessage), "The two passwords differ.");
  assert.equal(sent(), 0, "nothing is sent before");
  await alice.by("mode-login").click();
  assert.equal(await alice.by("login-password-again").isVisible(), false, "who has an account types it once");
});

test("the first thing to do leads to people", async () => {
  await alice.register();
  await alice.screenshot("first-run");
  await alice.by("first-person").click();
  await alice.by("add-contact-user").fill("nobody at all!");
  await alice.page.keyboard.press("Escape");
  await alice.by("to-people").click();
  await alice.by("no-people").getByText(alice.userId).waitFor();
  await alice.by("tab-rooms").click();
  await bob.register();
  for (const person of [alice, bob]) await person.joinRoom("#den:localhost", "The Den");
  await alice.sees(bob, "online");
  await bob.sees(alice, "online");
});

test("nobody but a person keeps one online: no busy room, no focused field, no script, no resting pointer", async () => {
  const timeline = await alice.by("timeline").boundingBox();
  await alice.page.mouse.move(timeline.x + 200, timeline.y + 100);
  await alice.page.mouse.move(timeline.x + 210, timeline.y + 110);
  const scrolled = alice.page.evaluate(() => new Promise((resolve) => document.querySelector(".scroller").addEventListener("scroll", resolve, { once: true })));
  for (let minute = 0; minute < 4; minute++) {
    for (let line = 0; line < 15; line++) await talker.send(den, `busy ${minute}.${line}`);
    await item(alice, `busy ${minute}.14`).waitFor();
    await alice.page.evaluate(() => {
      document.querySelector("[data-testid=composer]").blur();
      document.querySelector("[data-testid=composer]").focus();
      document.querySelector(".scroller").scrollTop -= 40;
      for (const type of ["pointermove", "pointerdown", "keydown", "wheel", "touchstart", "input", "focus", "scroll", "pageshow"]) {
        document.querySelector("[data-testid=composer]").dispatchEvent(new Event(type, { bubbles: true }));
        dispatchEvent(new Event(type));
      }
      document.dispatchEvent(new Event("visibilitychange"));
      document.querySelector(".scroller").scrollTop = 1e6;
    });
    await alice.page.clock.fastForward(50_000);
  }
  await scrolled;
  await bob.sees(alice, "unavailable");
  await bob.person(alice).getByText(/· idle \d+ min/).waitFor();
  await bob.screenshot("idle-in-a-busy-room");
});

for (const [what, act] of [
  ["the pointer", (page) => page.mouse.move(500, 300)],
  ["the wheel", (page) => page.mouse.wheel(0, -50)],
  ["a key", (page) => page.keyboard.press("Shift")],
]) {
  test(`a person comes back by ${what}`, async () => {
    await act(alice.page);
    await bob.sees(alice, "online");
    await alice.page.clock.fastForward(IDLE_MS + 1000);
    await bob.sees(alice, "unavailable");
  });
}

test("hidden stands in the footer as a word, beside the status message", async () => {
  await alice.page.mouse.move(520, 320);
  await alice.page.mouse.click(540, 340);
  await footer(alice).click();
  await alice.by("status-message").fill("gone fishing");
  await alice.by("status-message").press("Enter");
  await alice.by("presence-option-hidden").click();
  await until("hidden", async () => (await alice.by("my-line").innerText()) === "Hidden · gone fishing");
  await bob.sees(alice, "offline");
  await footer(alice).click();
  await alice.by("presence-option-online").click();
  await bob.sees(alice, "online");
});

test("one tick is sent, two are read", async () => {
  await alice.say("have you seen this?");
  const own = item(alice, "have you seen this?");
  await until("placed", async () => (await own.getAttribute("data-echo")) === "placed");
  await bob.message("have you seen this?").waitFor();
  const mark = () => own.locator(".echo svg").getAttribute("aria-label");
  await bob.page.evaluate(() => dispatchEvent(new Event("focus")));
  await until("read", async () => (await mark()) === "Read");
  assert.equal(await own.getAttribute("data-read"), "true");
  await bob.say("yes");
  await item(alice, "yes").waitFor();
  assert.equal(await item(alice, "yes").getAttribute("data-read"), "false", "what others say is not mine to be read");
  const quiet = await Person.arrive(browser, server.baseUrl, "quiet");
  await quiet.register();
  await quiet.createRoom("Alone", "alone");
  await quiet.say("anybody?");
  await until("sent", async () => (await item(quiet, "anybody?").getAttribute("data-echo")) === "placed");
  assert.equal(await item(quiet, "anybody?").locator(".echo svg").getAttribute("aria-label"), "Sent");
  await quiet.context.close();
});

test("one person has one colour, text its own direction, and comings are one line", async () => {
  const hue = async (locator) => (await locator.getAttribute("class")).match(/hue-\d/)[0];
  const inList = await hue(alice.person(bob).locator(".avatar"));
  const row = item(alice, "yes");
  assert.equal(await hue(row.locator(".avatar")), inList);
  assert.equal(await hue(row.locator(".sender")), inList);
  await alice.person(bob).locator("button").click();
  await alice.by("message-person").click();
  await bob.by("tab-rooms").click();
  const chat = alice.page.locator("[data-testid=room-item]").filter({ has: alice.page.locator(".room-name", { hasText: "bob" }) }).locator(".avatar");
  await until("the chat's colour", async () => (await hue(chat)) === inList);

  await alice.page.locator("[data-testid=room-item]").filter({ hasText: "The Den" }).click();
  await talker.send(den, "שלום עולם");
  const direction = await item(alice, "שלום עולם").locator(".body").evaluate((node) => getComputedStyle(node).direction);
  assert.equal(direction, "rtl");
  await alice.by("composer").fill("مرحبا");
  assert.equal(await alice.by("composer").evaluate((node) => getComputedStyle(node).direction), "rtl");
  await alice.by("composer").fill("");

  for (let i = 0; i < 6; i++) await (await Device.register(server.baseUrl, `guest${i}`)).join(den);
  const fold = alice.page.locator(".fold").last();
  await fold.getByText("guest0, guest1 and 4 others joined").waitFor();
  await alice.screenshot("comings-folded");
  await fold.getByTestId("fold").click();
  await alice.page.getByText("guest3 joined", { exact: true }).waitFor();
});

test("nothing is deleted before it is asked", async () => {
  await alice.say("regretted");
  const row = item(alice, "regretted");
  await until("placed", async () => (await row.getAttribute("data-echo")) === "placed");
  await row.locator(".bubble").hover();
  await row.getByTestId("delete").click();
  await alice.by("delete-dialog").waitFor();
  await alice.page.keyboard.press("Escape");
  assert.equal(await row.count(), 1);
  await row.locator(".bubble").hover();
  await row.getByTestId("delete").click();
  await alice.by("delete-submit").click();
  await row.waitFor({ state: "detached" });
});

test("nothing is written into an encrypted room", async () => {
  const roomId = await talker.createRoom({
    name: "Vault", room_alias_name: "vault", preset: "public_chat",
    initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
  });
  await alice.joinRoom("#vault:localhost", "Vault");
  await problem(alice).getByText("This room is encrypted").waitFor();
  assert.equal(await alice.by("send").isDisabled(), true);
  await alice.by("composer").press("Enter");
  await alice.screenshot("encrypted-room");
  const history = await talker.history(roomId);
  assert.equal(history.filter((event) => event.type === "m.room.message").length, 0);

  // A room that is encrypted while somebody writes in it.
  const open = await talker.createRoom({ name: "Open", room_alias_name: "open", preset: "public_chat" });
  await alice.joinRoom("#open:localhost", "Open");
  await alice.by("composer").fill("half a thought");
  await talker.ok("PUT", path("/_matrix/client/v3/rooms/{}/state/m.room.encryption/", open), { algorithm: "m.megolm.v1.aes-sha2" });
  await problem(alice).getByText("This room is encrypted").waitFor();
  await alice.by("composer").press("Enter");
  assert.equal(await alice.by("composer").inputValue(), "half a thought");
  assert.equal((await talker.history(open)).filter((event) => event.type === "m.room.message").length, 0);
});

test("text that cannot be sent stays in the field with a word of why, and a draft survives a reload", async () => {
  await alice.page.locator("[data-testid=room-item]").filter({ hasText: "The Den" }).click();
  await alice.by("room-name").getByText("The Den").waitFor();
  const long = "x".repeat(61_000);
  await alice.say(long);
  await problem(alice).getByText("too long for one message").waitFor();
  assert.equal((await alice.by("composer").inputValue()).length, long.length);
  await alice.by("composer").fill("a draft");
  assert.equal(await problem(alice).isVisible(), false);
  await alice.page.reload();
  await alice.by("room-name").getByText("The Den").waitFor();
  assert.equal(await alice.by("composer").inputValue(), "a draft");
  await alice.page.locator("[data-testid=room-item]").filter({ hasText: "Open" }).click();
  await alice.by("room-name").getByText("Open").waitFor();
  assert.equal(await alice.by("composer").inputValue(), "half a thought", "each room has its own");
  await alice.page.locator("[data-testid=room-item]").filter({ hasText: "The Den" }).click();
  await alice.by("composer").fill("");
});

test("going offline is shown within a second; what is written then waits with a sign, and a state is kept", async () => {
  await alice.sees(bob, "online");
  await alice.context.setOffline(true);
  await connection(alice, "offline").waitFor({ timeout: 2000 });
  await alice.say("from the tunnel");
  const waits = item(alice, "from the tunnel");
  await waits.waitFor();
  assert.equal(await waits.locator(".echo svg").getAttribute("aria-label"), "Waiting to be sent");
  await alice.choosePresence("busy");
  await alice.screenshot("offline");
  await alice.page.clock.fastForward(GRACE_MS + 1000);
  await until("unknown", async () => (await footer(alice).getAttribute("data-state")) === "unknown");
  await alice.context.setOffline(false);
  await alice.reconnects();
  await until("placed", async () => {
    await alice.page.clock.fastForward(1000);
    return (await waits.getAttribute("data-echo")) === "placed";
  });
  await bob.sees(alice, "busy");
  assert.equal(await footer(alice).getAttribute("data-state"), "busy");
});

test("with the server gone everybody is unknown after the grace, oneself too, and back with it", async () => {
  await alice.choosePresence("online");
  await alice.sees(bob, "online");
  await server.end("SIGKILL");
  await connection(alice, "offline").waitFor({ timeout: 5000 }); // a second is the client's own, on virtual time
  await alice.page.clock.fastForward(GRACE_MS - 10_000);
  assert.equal(await alice.person(bob).getAttribute("data-state"), "online", "within the grace nobody sees anything");
  await alice.page.clock.fastForward(11_000);
  await alice.sees(bob, "unknown");
  assert.equal(await alice.page.locator("[data-testid=user-item]:not([data-state=unknown])").count(), 0, "nor is anybody else");
  await until("so am I", async () => (await footer(alice).getAttribute("data-state")) === "unknown");
  assert.match(await alice.by("my-line").innerText(), /^Not connected/);
  await alice.screenshot("server-gone");
  await server.up();
  for (const person of [alice, bob]) await person.reconnects();
  await alice.sees(bob, "online");
  await until("so am I", async () => (await footer(alice).getAttribute("data-state")) === "online");
});

test("a started client goes on when nobody holds it, and ends when it is stopped", async () => {
  const page = await (await browser.newContext()).newPage();
  await page.addInitScript("delete window.IdleDetector"); // as in every other browser: its listener would hold the client
  await page.goto(server.baseUrl);
  const device = await Device.register(server.baseUrl, "keeper");
  await device.join(den);
  const session = { baseUrl: server.baseUrl, userId: device.userId, deviceId: device.deviceId, accessToken: device.token };
  await page.evaluate(async (session) => {
    const { Client } = await import("/pkg/index.js");
    window.heard = [];
    window.collected = 0;
    const registry = new FinalizationRegistry(() => window.collected++);
    const begin = async (follow) => {
      const client = await Client.create(session, { storage: null });
      registry.register(client);
      if (follow) {
        client.on("timeline", (_, ops) => ops.forEach((op) => op.item && window.heard.push(op.item.content.body)));
        client.start();
      } else {
        client.start();
        await client.stop();
      }
    };
    await begin(true);
    await begin(false);
  }, session);
  const collect = () => page.evaluate(async () => {
    for (let i = 0; i < 10; i++) {
      globalThis.gc();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return window.collected;
  });
  await until("the stopped one is collected", async () => (await collect()) > 0);
  await talker.send(den, "are you there?");
  await until("heard", async () => (await page.evaluate(() => window.heard)).includes("are you there?"));
  assert.equal(await collect(), 1, "and only that one");
  await page.context().close();
});
