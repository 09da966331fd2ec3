// The web client for who comes to it for the first time: an account where it takes a token, the first request, what
// waits, another password.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Person } from "./lib/browser.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, path, until } from "./lib/matrix.mjs";

const PASSWORD = "correct horse battery";
let server, browser, alice, bob;

before(async () => {
  server = await Homeserver.start();
  browser = await launch();
  [alice, bob] = await Promise.all(["alice", "bob"].map((name) => Person.arrive(browser, server.baseUrl, name)));
  for (const person of [alice, bob]) await person.register();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

async function asks(person, name) {
  await person.by("tab-contacts").click();
  await person.by("add-contact").click();
  await person.by("add-contact-user").fill(name);
  await person.by("add-contact-submit").click();
  await person.by("add-contact-dialog").waitFor({ state: "detached" });
}

test("who accepts a first request is led on to the other, at once and later", async () => {
  await asks(alice, "bob");
  await bob.by("requests-badge").getByText("1").waitFor();
  await bob.by("tab-contacts").click();
  await bob.screenshot("first-request");
  await bob.by("request-accept").click();
  await bob.by("toast").getByText("not on your own list").waitFor();
  await bob.by("unseen-item").getByText("Add to my list").waitFor();
  await bob.screenshot("first-request-accepted");
  assert.equal(await bob.by("no-people").isVisible(), false, "nothing says that nobody is here");
  await bob.by("toast-add").click();
  await bob.findsContact(alice, "online");
  await bob.by("unseen-item").waitFor({ state: "detached" });
  await bob.screenshot("first-request-answered");
});

test("who is accepted may be added after a reload too, or talked to", async () => {
  const carol = await Person.arrive(browser, server.baseUrl, "carol");
  await carol.register();
  await asks(alice, "carol");
  await carol.by("tab-contacts").click();
  await carol.by("request-accept").click();
  await carol.by("unseen-item").waitFor();
  await carol.page.reload();
  await carol.by("unseen-chat").click();
  await carol.by("composer").waitFor();
  await carol.by("tab-contacts").click();
  await carol.by("unseen-add").click();
  await carol.findsContact(alice, "online");
  await carol.by("unseen-item").waitFor({ state: "detached" });
  await asks(bob, "carol");
  await carol.by("request-accept").click();
  await carol.by("toast-add").waitFor();
  await carol.by("unseen-add").click();
  await carol.by("toast-add").waitFor({ state: "detached", timeout: 3000 }); // what it offered is done
  await carol.context.close();
});

test("what waits in the chats is counted on their tab and in the title, while people are looked at", async () => {
  const talker = await Device.register(server.baseUrl);
  const room = await talker.ok("POST", "/_matrix/client/v3/createRoom", { name: "Tea", invite: [bob.userId] });
  const title = (wanted) => bob.page.waitForFunction((text) => document.title === text, wanted);
  await bob.by("tab-contacts").click();
  await bob.by("unread-badge").getByText("1").waitFor();
  await title("(1) Pilotlight");
  await bob.by("tab-rooms").click();
  await bob.by("invite-accept").click();
  await bob.by("composer").waitFor();
  await title("Pilotlight");
  await bob.createRoom("Mine", "bobs"); // beside the people a room is still looked at, and read
  await bob.by("tab-contacts").click();
  for (const id of ["a", "b"]) {
    await talker.ok("PUT", path("/_matrix/client/v3/rooms/{}/send/m.room.message/{}", room.room_id, id), { msgtype: "m.text", body: `message ${id}` });
  }
  await bob.by("unread-badge").getByText("2").waitFor();
  await title("(2) Pilotlight");
  await bob.screenshot("unread-badge");
  await bob.by("tab-rooms").click();
  await bob.by("room-item").filter({ hasText: "Tea" }).click();
  await bob.message("message b").waitFor();
  await bob.by("unread-badge").waitFor({ state: "hidden" });
  await title("Pilotlight");
});

test("a password is changed: the old one is asked for, and the other devices go if that is wanted", async () => {
  const login = (password) =>
    fetch(`${server.baseUrl}/_matrix/client/v3/login`, {
      method: "POST",
      body: JSON.stringify({ type: "m.login.password", identifier: { type: "m.id.user", user: "bob" }, password }),
    });
  const other = await (await login(PASSWORD)).json();
  const whoami = async () => (await fetch(`${server.baseUrl}/_matrix/client/v3/account/whoami`, { headers: { Authorization: `Bearer ${other.access_token}` } })).status;
  const fill = async (old, fresh, again = fresh) => {
    await bob.by("password-old").fill(old);
    await bob.by("password-new").fill(fresh);
    await bob.by("password-again").fill(again);
    await bob.by("password-submit").click();
  };
  const refused = (testid) => bob.by(testid).evaluate((input) => input.validationMessage);
  await bob.by("my-presence").click();
  await bob.by("open-profile").click();
  await bob.by("change-password").click();
  await fill(PASSWORD, "short");
  assert.match(await refused("password-new"), /At least 8/);
  await fill(PASSWORD, "staple battery horse", "staple battery house");
  assert.match(await refused("password-again"), /differ/);
  await fill("not the old one", "staple battery horse");
  await bob.by("password-error").getByText("The old password is wrong.").waitFor();
  await bob.screenshot("password");
  await bob.by("password-others").uncheck();
  await fill(PASSWORD, "staple battery horse");
  await bob.by("toast").getByText("Your password is changed").waitFor();
  assert.deepEqual([await whoami(), (await login(PASSWORD)).status, (await login("staple battery horse")).status], [200, 403, 200]);

  await bob.by("change-password").click();
  await fill("staple battery horse", PASSWORD);
  await bob.by("password-dialog").waitFor({ state: "detached" });
  assert.equal(await whoami(), 401, "the other device is out");
  await bob.by("dialog-close").click();
  await bob.by("my-presence").waitFor();
});

test("a state that is chosen while the server is away is shown at once by its word", async () => {
  const own = await Homeserver.start();
  const dora = await Person.arrive(browser, own.baseUrl, "dora");
  await dora.register();
  await own.end("SIGKILL");
  await until("offline", async () => (await dora.by("connection").getAttribute("data-connection")) === "offline");
  await dora.page.clock.fastForward(31_000);
  await dora.by("my-line").getByText("Not connected").waitFor();
  await dora.choosePresence("hidden");
  assert.equal(await dora.by("my-line").innerText(), "Hidden · not connected");
  await dora.screenshot("hidden-not-connected");
  await own.up();
  await dora.reconnects();
  await dora.by("my-line").getByText(/^Hidden$/).waitFor();
  await dora.context.close();
  await own.stop();
});

test("who has a registration token makes an account where one is asked for", async () => {
  const guarded = await Homeserver.start({ registration: "token", registration_token: "sesame" });
  const vic = await Person.arrive(browser, guarded.baseUrl, "vic");
  await vic.by("mode-register").click();
  assert.equal(await vic.by("login-token").isVisible(), false, "nobody is asked in vain");
  await vic.by("login-user").fill("vic");
  for (const field of ["login-password", "login-password-again"]) await vic.by(field).fill(PASSWORD);
  await vic.by("register-submit").click();
  await vic.by("login-error").getByText("registration token").waitFor();
  await vic.screenshot("registration-token");
  await vic.by("login-token").fill("open up");
  await vic.by("register-submit").click();
  await vic.by("login-error").getByText("not valid").waitFor();
  await vic.by("login-token").fill("sesame");
  await vic.by("register-submit").click();
  await vic.by("my-presence").waitFor();
  await vic.context.close();
  await guarded.stop();
});

test("the pages complained of nothing but what was refused", () => {
  const expected = /status of (401|403)/;
  for (const person of [alice, bob]) assert.deepEqual(person.problems.filter((problem) => !expected.test(problem)), []);
});
