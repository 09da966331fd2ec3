// What the web client says, and offers, when something is in the way.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { launch, Person } from "./lib/browser.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, path } from "./lib/matrix.mjs";

let server, browser;

before(async () => {
  [server, browser] = await Promise.all([Homeserver.start(), launch()]);
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

async function arrive(name, at = server) {
  const person = await Person.arrive(browser, at.baseUrl, name);
  await person.register();
  return person;
}

for (const [how, name, look] of [
  ["a click on “Try now”", "tia", (person) => person.by("try-now").click()],
  ["the page's getting the focus", "fay", (person) => person.page.evaluate(() => dispatchEvent(new Event("focus")))],
  ["the page's being shown", "sue", (person) => person.page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")))],
]) {
  test(`a server that is back is found at once by ${how}`, async () => {
    const own = await Homeserver.start();
    const person = await arrive(name, own);
    await own.end("SIGKILL");
    await person.by("try-now").waitFor();
    // From here on no delay of the page's passes.
    await person.page.clock.pauseAt(Date.now() + 60_000);
    await person.page.waitForTimeout(300);
    await own.up();
    await look(person);
    await person.page.locator("[data-testid=connection][data-connection=online]").waitFor({ state: "attached", timeout: 5_000 });
    await person.by("try-now").waitFor({ state: "detached" });
    await person.context.close();
    await own.stop();
  });
}

test("who is added from the welcome page is said to have been asked, there too", async () => {
  const [ada, bea] = [await arrive("ada"), await arrive("bea")];
  await ada.by("first-person").click();
  await ada.by("add-contact-user").fill("bea");
  await ada.by("add-contact-submit").click();
  await ada.by("toast").getByText("Asked bea").waitFor();
  await ada.by("welcome").getByText("bea has been asked").waitFor();
  await ada.context.close();
  await bea.context.close();
});

test("a status message stands beside the state, for others as for oneself", async () => {
  const [cy, dot] = [await arrive("cy"), await arrive("dot")];
  await cy.createRoom("Two", "two");
  await dot.joinRoom("#two:localhost", "Two");
  await cy.choosePresence("busy");
  await cy.by("my-presence").click();
  await cy.by("status-message").fill("writing a README");
  await cy.by("status-message").press("Enter");
  await dot.person(cy).getByText("Busy · writing a README").waitFor();
  await cy.context.close();
  await dot.context.close();
});

test("what was wrong with a form goes as soon as it is mended", async () => {
  const eli = await arrive("eli");
  await eli.by("my-presence").click();
  await eli.by("open-profile").click();
  await eli.by("change-password").click();
  for (const [field, text] of [["old", "wrong one"], ["new", "correct horse 2"], ["again", "correct horse 2"]]) {
    await eli.by(`password-${field}`).fill(text);
  }
  await eli.by("password-submit").click();
  await eli.by("password-error").getByText("The old password is wrong").waitFor();
  await eli.by("password-again").fill("correct horse 3");
  await eli.by("password-submit").click();
  assert.equal(await eli.by("password-error").isVisible(), false, "only the two new ones differ");
  await eli.context.close();
});

test("a notice is shown over the dialog that it comes from, and outlives it", async () => {
  const own = await Homeserver.start();
  const [flo, gil] = [await arrive("flo", own), await arrive("gil", own)];
  await flo.createRoom("Deux", "deux");
  await gil.joinRoom("#deux:localhost", "Deux");
  await flo.person(gil).getByRole("button").click();
  await own.end("SIGKILL");
  await flo.by("add-to-list").click();
  await flo.by("person-dialog").getByTestId("toast").waitFor();
  await flo.by("dialog-close").click();
  await flo.by("person-dialog").waitFor({ state: "detached" });
  await flo.by("toast").waitFor();
  await own.up();
  await own.stop();
  await flo.context.close();
  await gil.context.close();
});

test("signing out leaves no refused request behind", async () => {
  const hal = await arrive("hal");
  await hal.by("my-presence").click();
  await hal.by("sign-out").click();
  await hal.by("sign-out-submit").click();
  await hal.by("login-user").waitFor();
  await hal.page.waitForTimeout(300);
  assert.deepEqual(hal.problems, []);
  await hal.context.close();
});

test("who may not speak, or is put out of the room that they look at, is told so in words", async () => {
  const V3 = "/_matrix/client/v3";
  const zoe = await arrive("zoe");
  const bob = await Device.register(server.baseUrl, "bob");
  for (const [way, content, words] of [["kick", { reason: "enough" }, "bob removed you from Doors: enough"], ["ban", {}, "bob banned you from Doors."]]) {
    const id = await bob.createRoom({ name: "Doors", preset: "public_chat", room_alias_name: way });
    await zoe.joinRoom(`#${way}:localhost`, "Doors");
    await bob.ok("PUT", path(`${V3}/rooms/{}/state/m.room.power_levels`, id), { events_default: 50 });
    await zoe.say("may I?");
    await zoe.message("may I?").getByText("You do not have the right to do that in this room.").waitFor();
    await bob.ok("POST", path(`${V3}/rooms/{}/${way}`, id), { user_id: zoe.userId, ...content });
    await zoe.by("toast").getByText(words, { exact: true }).waitFor();
    await zoe.by("room-name").waitFor({ state: "hidden" });
  }
  await zoe.context.close();
});

test("a server without accounts for new people says so before the form is filled in", async () => {
  const own = await Homeserver.start({ registration: "closed" });
  const joe = await Person.arrive(browser, own.baseUrl, "joe");
  await joe.by("mode-register").click();
  await joe.by("login-error").getByText("does not let new people register").waitFor();
  await joe.by("mode-login").click();
  await joe.by("login-error").waitFor({ state: "hidden" });
  await joe.context.close();
  await own.stop();
});

test("what signing in needs is said in words that fit", async () => {
  const ira = await Person.arrive(browser, server.baseUrl, "ira");
  const problem = ira.by("login-error");
  await ira.by("login-server-edit").click();
  await ira.by("login-server").fill("not a url");
  assert.match(await ira.by("login-server-edit").innerText(), /on not a url/);
  await ira.by("login-user").fill("ira");
  await ira.by("login-password").fill("correct horse battery");
  await ira.by("login-submit").click();
  await problem.getByText("“not a url” is not a server address").waitFor();

  // A web server, whose pages any other page may read.
  const web = createServer((_, response) => response.writeHead(200, { "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*" }).end("hello"));
  await once(web.listen(0, "127.0.0.1"), "listening");
  await ira.by("login-server").fill(`http://127.0.0.1:${web.address().port}`);
  await ira.by("login-submit").click();
  await problem.getByText("There is no Matrix homeserver at that address").waitFor();
  web.close();

  await ira.by("login-server").fill(server.baseUrl);
  await ira.by("mode-register").click();
  await ira.by("login-user").fill("a".repeat(300));
  await ira.by("login-password").fill("correct horse battery");
  await ira.by("login-password-again").fill("correct horse battery");
  await ira.by("register-submit").click();
  await problem.getByText("255 characters").waitFor();
  await ira.context.close();
});
