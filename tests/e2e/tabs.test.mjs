// Several tabs of one browser with one session: who signs out in one has signed out in all, and nothing comes back.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Person } from "./lib/browser.mjs";
import { Homeserver } from "./lib/homeserver.mjs";

let browser;

before(async () => {
  browser = await launch();
});

after(() => browser?.close());

/** Somebody with a room, a draft in it, and a second tab on it. */
async function withTwoTabs(server, name) {
  const person = await Person.arrive(browser, server.baseUrl, name);
  await person.register();
  await person.createRoom("Mine", `${name}-room`);
  const first = person.page;
  await person.open();
  await person.by("composer").waitFor();
  return { person, first, second: person.page };
}

async function signOut(page) {
  await page.getByTestId("my-presence").click();
  await page.getByTestId("sign-out").click();
  await page.getByTestId("sign-out-submit").click();
  await page.getByTestId("login-user").waitFor();
}

const kept = (page) => page.evaluate(() => JSON.stringify(localStorage));
const SECRETS = /accessToken|action\.|wish|draft|nobody else|pilotlight\.room/;

for (const away of [false, true]) {
  test(`who signs out in one tab has signed out in all, ${away ? "though the server is away" : "with the server there"}`, async () => {
    const server = await Homeserver.start();
    const { person, first, second } = await withTwoTabs(server, away ? "tess" : "tom");
    if (away) {
      await server.stop();
      await second.getByTestId("composer").fill("nobody else's business");
      await second.getByTestId("composer").press("Enter");
      await second.getByTestId("timeline-item").getByText("nobody else's business").waitFor();
    }
    await second.getByTestId("composer").fill("nobody else's draft");
    await signOut(first);
    await second.getByTestId("login-notice").getByText("You signed out in another tab").waitFor({ timeout: 5_000 });
    assert.doesNotMatch(await kept(second), SECRETS);
    await first.waitForTimeout(300); // what a tab would still write
    assert.doesNotMatch(await kept(first), SECRETS);
    if (!away) {
      for (const page of [first, second]) {
        await page.reload();
        await page.getByTestId("login-user").waitFor();
      }
      await server.stop();
    }
    await person.context.close();
  });
}

test("signing out in one tab says how many messages wait in all of them", async () => {
  const server = await Homeserver.start();
  const { person, first, second } = await withTwoTabs(server, "ivy");
  await server.stop();
  for (const [page, text] of [[first, "one"], [second, "two"]]) {
    await page.getByTestId("composer").fill(text);
    await page.getByTestId("composer").press("Enter");
    await page.getByTestId("timeline-item").getByText(text).waitFor();
  }
  for (const page of [first, second]) {
    await page.getByTestId("my-presence").click();
    await page.getByTestId("sign-out").click();
    await page.getByTestId("sign-out-dialog").getByText("2 messages that wait").waitFor();
    await page.keyboard.press("Escape");
  }
  await person.context.close();
});

test("a tab that hears late of the end of an old session leaves a new one alone", async () => {
  const server = await Homeserver.start();
  const { person, first, second } = await withTwoTabs(server, "ned");
  // As if the second tab had been asleep since before.
  const session = await second.evaluate(() => localStorage.getItem("pilotlight.session"));
  await signOut(first);
  await second.getByTestId("login-user").waitFor();
  await first.getByTestId("login-user").fill("ned");
  await first.getByTestId("login-password").fill("correct horse battery");
  await first.getByTestId("login-submit").click();
  await first.getByTestId("my-presence").waitFor();
  const { baseUrl, userId, deviceId } = JSON.parse(session);
  await second.evaluate((name) => new BroadcastChannel(name).postMessage("logged out"), `pilotlight/${baseUrl}/${userId}/${deviceId}`);
  await second.reload();
  await second.getByTestId("my-presence").waitFor();
  assert.equal(await first.getByTestId("login-user").count(), 0);
  await person.context.close();
  await server.stop();
});

test("a session that the server has ended keeps what was being written", async () => {
  const server = await Homeserver.start();
  const { person, first, second } = await withTwoTabs(server, "una");
  await second.getByTestId("composer").fill("half a thought");
  const { accessToken } = JSON.parse(await first.evaluate(() => localStorage.getItem("pilotlight.session")));
  await fetch(`${server.baseUrl}/_matrix/client/v3/logout`, { method: "POST", headers: { Authorization: `Bearer ${accessToken}` } });
  for (const page of [first, second]) await page.getByTestId("login-notice").getByText("You were signed out").waitFor();
  const left = await kept(first);
  assert.doesNotMatch(left, /accessToken/);
  assert.match(left, /half a thought/);
  await person.context.close();
  await server.stop();
});
