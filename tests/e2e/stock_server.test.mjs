// The web client, as this server serves it, with accounts on a stock homeserver.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Person } from "./lib/browser.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { until } from "./lib/matrix.mjs";

let pages, stock, browser, alice, bob;

before(async () => {
  [pages, stock] = await Promise.all([Homeserver.start({}, "pilotlight"), Homeserver.start({}, "synapse")]);
  browser = await launch();
  alice = await Person.arrive(browser, pages.baseUrl, "alice");
  bob = await Person.arrive(browser, pages.baseUrl, "bob");
});

after(async () => {
  await browser?.close();
  await Promise.all([pages?.stop(), stock?.stop()]);
});

test("two people meet in a room there and see each other online", async () => {
  await alice.register(stock.baseUrl);
  await bob.register(stock.baseUrl);
  await alice.createRoom("Elsewhere", "elsewhere");
  await bob.joinRoom("#elsewhere:localhost", "Elsewhere");
  await alice.sees(bob, "online");
  await bob.sees(alice, "online");
});

test("messages are placed once, on both sides", async () => {
  await alice.say("anybody home?");
  await bob.message("anybody home?").waitFor();
  await bob.say("yes");
  for (const person of [alice, bob]) {
    for (const text of ["anybody home?", "yes"]) {
      const item = person.message(text);
      await until("placed", async () => (await item.count()) > 0 && (await item.first().getAttribute("data-echo")) === "placed");
      assert.equal(await item.count(), 1);
    }
  }
});

test("idleness is told by what a stock server has, and ends with activity", async () => {
  await alice.page.clock.fastForward(181_000);
  await bob.sees(alice, "unavailable");
  await alice.page.mouse.move(300, 300);
  await alice.page.mouse.move(400, 350);
  await bob.sees(alice, "online");
});

test("the pages complained of nothing but a document that a server need not have", () => {
  for (const person of [alice, bob]) {
    assert.deepEqual(person.problems.filter((problem) => !problem.endsWith("/.well-known/matrix/client")), []);
  }
});
