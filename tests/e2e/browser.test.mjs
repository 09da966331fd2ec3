// Two people at the web client, in two profiles of a real Chromium, on one server.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { hold, launch, Person } from "./lib/browser.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { until } from "./lib/matrix.mjs";

const GRACE_MS = 3000;
const IDLE_MS = 3 * 60_000;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

let server, browser, alice, bob;

before(async () => {
  server = await Homeserver.start({ "presence.offline_grace": `${GRACE_MS}ms` });
  browser = await launch();
  alice = await Person.arrive(browser, server.baseUrl, "alice");
  bob = await Person.arrive(browser, server.baseUrl, "bob");
  // One of them follows by `/sync`, whose answers can be held up here: no stream comes through. The other has the stream.
  await alice.context.route(/org\.pilotlight\/stream/, (route) => route.fulfill({ contentType: "application/json", body: "{}" }));
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

test("two people register, one makes a room, the other joins it by its address", async () => {
  await alice.screenshot("sign-in");
  await alice.register();
  await bob.register();
  await alice.createRoom("The Den", "den");
  await bob.joinRoom("#den:localhost", "The Den");
});

test("each sees the other online", async () => {
  await alice.sees(bob, "online");
  await bob.sees(alice, "online");
  await alice.screenshot("both-online");
});

test("one goes idle: the other sees it after exactly one request", async () => {
  const before = alice.presenceReports().length;
  await alice.page.clock.fastForward(IDLE_MS + 1000);
  await bob.sees(alice, "unavailable");
  assert.equal(alice.presenceReports().length - before, 1, "one report");
  await bob.screenshot("alice-idle");
  for (let minute = 0; minute < 10; minute++) await alice.page.clock.fastForward(60_000);
  await pause(500);
  assert.equal(alice.presenceReports().length - before, 1, "and none while the idleness lasts");
  assert.equal(await bob.person(alice).getAttribute("data-state"), "unavailable");
});

test("the pointer moves: online again, after exactly one request", async () => {
  const before = alice.presenceReports().length;
  await alice.page.mouse.move(300, 300);
  await alice.page.mouse.move(400, 350);
  await bob.sees(alice, "online");
  await pause(500);
  assert.equal(alice.presenceReports().length - before, 1);
});

test("what the system knows counts where it is granted: another program keeps one online, a locked screen does not", async () => {
  const devtools = await alice.context.newCDPSession(alice.page);
  const system = (isUserActive, isScreenUnlocked) => devtools.send("Emulation.setIdleOverride", { isUserActive, isScreenUnlocked });
  await system(true, true);
  // The detector runs with the browser's own clock: what it says is heard when its event has come.
  await alice.page.evaluate(() => {
    const heard = (window.heard = []);
    const add = IdleDetector.prototype.addEventListener;
    IdleDetector.prototype.addEventListener = function (type, listener, options) {
      return add.call(this, type, (event) => (listener(event), heard.push(`${this.userState} ${this.screenState}`)), options);
    };
  });
  const { browserContextId } = (await devtools.send("Target.getTargetInfo")).targetInfo;
  await devtools.send("Browser.grantPermissions", { permissions: ["idleDetection"], origin: server.baseUrl, browserContextId });
  const hears = (state) => until(state, async () => (await alice.page.evaluate(() => window.heard.at(-1))) === state);
  await hears("active unlocked");
  await system(false, true);
  await hears("idle unlocked");
  await system(true, true);
  await hears("active unlocked");
  await alice.page.clock.fastForward(2 * IDLE_MS);
  await pause(500);
  assert.equal(await bob.person(alice).getAttribute("data-state"), "online", "at another program");
  await system(true, false);
  await bob.sees(alice, "unavailable");
  await system(true, true);
  await bob.sees(alice, "online");
  await system(false, true);
  await alice.page.clock.fastForward(IDLE_MS + 1000);
  await bob.sees(alice, "unavailable");
  await alice.page.mouse.move(500, 300);
  await alice.page.mouse.move(520, 350);
  await bob.sees(alice, "online");
  await devtools.send("Emulation.clearIdleOverride");
  await devtools.detach();
});

test("a message shows at once as sending, then sent, then placed, and once", async () => {
  const sends = await hold(alice.page, /\/send\//, "request");
  const syncs = await hold(alice.page, /\/sync\?/, "answer", "hi there");
  await bob.say("hello"); // ends the poll that began before the gates stood
  await alice.message("hello").waitFor();

  await alice.say("hi there");
  const echo = alice.message("hi there");
  await echo.waitFor({ timeout: 2000 });
  assert.equal(await echo.getAttribute("data-echo"), "sending");
  const key = await echo.getAttribute("data-key");
  const states = await alice.watch(echo, "data-echo");
  await alice.screenshot("message-sending");

  sends.open();
  await until("sent", async () => (await echo.getAttribute("data-echo")) === "sent");
  await bob.message("hi there").waitFor();
  assert.equal(await echo.getAttribute("data-echo"), "sent", "the stream has not brought it yet");

  syncs.open();
  await until("placed", async () => (await echo.getAttribute("data-echo")) === "placed");
  assert.deepEqual(await states(), ["sending", "sent", "placed"]);
  assert.equal(await echo.getAttribute("data-key"), key, "it is the same item all along");
  await sends.remove();
  await syncs.remove();
  await pause(500);
  assert.equal(await alice.message("hi there").count(), 1);
  assert.equal(await bob.message("hi there").count(), 1);
  await alice.screenshot("message-placed");
});

test("a message whose stream comes before its answer is shown once, too", async () => {
  const answers = await hold(alice.page, /\/send\//, "answer");
  await alice.say("stream first");
  const echo = alice.message("stream first");
  await until("placed", async () => (await echo.count()) === 1 && (await echo.getAttribute("data-echo")) === "placed");
  answers.open();
  await answers.remove();
  await pause(500);
  assert.equal(await echo.count(), 1);
  assert.equal(await echo.getAttribute("data-echo"), "placed");
});

test("a state and a status message are chosen, seen, and cleared", async () => {
  await alice.by("my-presence").click();
  await alice.by("status-message").fill("writing tests");
  await alice.by("status-message").press("Enter");
  await bob.person(alice).getByText("writing tests").waitFor();
  await alice.by("presence-option-busy").click();
  await bob.sees(alice, "busy");
  await bob.person(alice).getByText("writing tests").waitFor();
  await bob.screenshot("alice-busy");
  await alice.by("my-presence").click();
  await alice.by("status-message-clear").click();
  await bob.person(alice).getByText("writing tests").waitFor({ state: "detached" });
  await alice.by("presence-option-hidden").click();
  await bob.sees(alice, "offline");
  await alice.by("my-presence").click();
  await alice.by("presence-option-online").click();
  await bob.sees(alice, "online");
});

test("a reload within the grace shows the other nothing", async () => {
  const states = await bob.watch(bob.person(alice), "data-state");
  await alice.page.reload();
  await alice.sees(bob, "online");
  await pause(GRACE_MS + 1000);
  assert.deepEqual(await states(), ["online"]);
});

test("the server goes away and comes back: the clients go on by themselves, and nothing is lost", async () => {
  await server.end("SIGKILL");
  await alice.say("into the void");
  await alice.page.locator("[data-testid=connection][data-connection=offline]").waitFor();
  await alice.screenshot("server-away");
  assert.equal(await alice.message("into the void").count(), 1);
  await server.up();
  // The waits of the backoff are the page's: its clock can be driven.
  await until("the message arrives", async () => {
    for (const person of [alice, bob]) await person.page.clock.fastForward(5000);
    return (await bob.message("into the void").count()) > 0;
  }, 40_000);
  await until("placed", async () => (await alice.message("into the void").getAttribute("data-echo")) === "placed");
  assert.equal(await alice.message("into the void").count(), 1);
  assert.equal(await bob.message("into the void").count(), 1);
  await bob.sees(alice, "online");
});

test("a tab that closes: offline after the grace, not before", async () => {
  await bob.sees(alice, "online");
  const began = Date.now();
  await alice.page.close();
  await pause(GRACE_MS / 2);
  assert.equal(await bob.person(alice).getAttribute("data-state"), "online", "not before the grace");
  await bob.sees(alice, "offline");
  assert.ok(Date.now() - began >= GRACE_MS * 0.9, "after the grace");
  await alice.open();
  await bob.sees(alice, "online");
});

test("it fits a phone and the dark", async () => {
  const phone = await Person.arrive(browser, server.baseUrl, "carol", {
    viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, colorScheme: "dark",
  });
  await phone.register();
  await phone.joinRoom("#den:localhost", "The Den");
  await phone.message("hi there").waitFor();
  const overflow = await phone.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(overflow <= 0, "nothing is wider than the screen");
  await phone.screenshot("phone-dark");
  assert.deepEqual(phone.problems, []);
});

test("the pages complained of nothing but the server's absence", () => {
  const expected = /net::ERR_/; // a killed server's connections end in many ways
  for (const person of [alice, bob]) assert.deepEqual(person.problems.filter((problem) => !expected.test(problem)), []);
});
