// The presence list in the web client: ask, answer, groups, a room with a group, privacy.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Person } from "./lib/browser.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { until } from "./lib/matrix.mjs";

let server, browser, alice, bob, carol;

before(async () => {
  server = await Homeserver.start({ "rate_limits.enabled": "false" });
  browser = await launch();
  [alice, bob, carol] = await Promise.all(["alice", "bob", "carol"].map((name) => Person.arrive(browser, server.baseUrl, name)));
  for (const person of [alice, bob, carol]) {
    await person.register();
    await person.by("tab-contacts").click();
  }
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** Somebody in a section of the list. */
const listed = (person, section, other) =>
  person.page.locator(`[data-section="${section}"] [data-testid=contact-item][data-user-id="${other.userId}"]`);

async function openPerson(person, section, other) {
  await listed(person, section, other).getByRole("button").click();
  await person.by("person-dialog").waitFor();
}

test("who is added to the list is asked, and shown as not having answered", async () => {
  await alice.by("add-contact").click();
  await alice.by("add-contact-user").fill("bob, @carol:localhost");
  await alice.by("add-contact-group").fill("Work");
  await alice.by("add-contact-submit").click();
  for (const other of [bob, carol]) await listed(alice, "group-Work", other).getByText("has not answered yet").waitFor();
  assert.equal(await listed(alice, "group-Work", bob).getAttribute("data-state"), "unknown", "nothing is seen of them before");
});

test("who accepts is seen at once; who denies is not, and it is said", async () => {
  await bob.by("requests-badge").getByText("1").waitFor();
  await bob.by("request-accept").click();
  await bob.by("request-item").waitFor({ state: "detached" });
  await alice.page.locator(`[data-section="group-Work"] [data-user-id="${bob.userId}"][data-state=online]`).waitFor();
  await carol.by("request-deny").click();
  await carol.by("request-item").waitFor({ state: "detached" });
  await listed(alice, "group-Work", carol).getByText("Does not share").waitFor();
  await openPerson(alice, "group-Work", carol);
  assert.match(await alice.by("person-dialog").innerText(), /Unknown/, "nobody tells whether they are there");
  await alice.by("dialog-close").click();
  await alice.screenshot("contact-list");
});

test("the state of somebody accepted goes on being told", async () => {
  await bob.by("my-presence").click();
  await bob.by("presence-option-busy").click();
  await alice.page.locator(`[data-section="group-Work"] [data-user-id="${bob.userId}"][data-state=busy]`).waitFor();
});

test("who hides is offline for others, and hidden for themselves", async () => {
  const shown = alice.page.locator(`[data-section="group-Work"] [data-user-id="${bob.userId}"]`);
  await bob.by("my-presence").click();
  await bob.by("presence-option-hidden").click();
  await bob.page.locator("[data-testid=my-presence][data-state=hidden]").waitFor();
  await until("offline for Alice", async () => (await shown.getAttribute("data-state")) === "offline");
  await bob.by("my-presence").click();
  await bob.by("presence-option-busy").click();
  await until("there again", async () => (await shown.getAttribute("data-state")) === "busy");
});

test("groups are changed in a dialog, and by dragging", async () => {
  await openPerson(alice, "group-Work", bob);
  await alice.by("edit-groups").click();
  await alice.by("group-new").fill("Friends");
  await alice.by("groups-submit").click();
  await listed(alice, "group-Friends", bob).waitFor();
  assert.equal(await listed(alice, "group-Work", bob).count(), 1, "a person can be in several groups");
  await listed(alice, "group-Friends", bob).dragTo(alice.page.locator('[data-section="group-Work"]'));
  await alice.page.locator('[data-section="group-Friends"]').waitFor({ state: "detached" });
  assert.equal(await listed(alice, "group-Work", bob).count(), 1);
});

test("a whole group is invited into a new room", async () => {
  await alice.page.locator('[data-section="group-Work"]').getByTestId("invite-group").click();
  await alice.by("invite-group-name").fill("Stand-up");
  await alice.by("invite-group-submit").click();
  await alice.by("room-name").getByText("Stand-up").waitFor();
  for (const person of [bob, carol]) {
    await person.by("tab-rooms").click();
    await person.by("invite-item").getByText("Stand-up").waitFor();
    await person.by("invite-decline").click();
    await person.by("tab-contacts").click();
  }
});

test("what was granted is taken back, and the updates stop", async () => {
  await bob.by("my-presence").click();
  await bob.by("open-privacy").click();
  await bob.by("revoke").click();
  await bob.by("observer-item").waitFor({ state: "detached" });
  await bob.by("dialog-close").click();
  await alice.by("tab-contacts").click();
  await listed(alice, "group-Work", bob).getByText("Does not share").waitFor();
  const unseen = `[data-section="group-Work"] [data-user-id="${bob.userId}"]:is([data-state=unknown], [data-state=offline])`;
  await alice.page.locator(unseen).waitFor();
  await bob.by("my-presence").click();
  await bob.by("presence-option-free_for_chat").click();
  await bob.page.locator("[data-testid=my-presence][data-state=free_for_chat]").waitFor();
  await alice.page.waitForTimeout(500);
  await alice.page.locator(unseen).waitFor();
  await bob.by("my-presence").click();
  await bob.by("presence-option-busy").click();
});

test("the pages asked for the list when it changed, and did not poll for it", () => {
  for (const person of [alice, bob, carol]) {
    const reads = person.requests.filter((request) => request.method() === "GET" && /\/presence\/(list|requests)\//.test(request.url()));
    assert.ok(reads.length > 0 && reads.length <= 30, `${person.name}: ${reads.length}`);
    assert.deepEqual(person.problems.filter((problem) => !/the server responded with a status of 403/.test(problem)), []);
  }
});

test("a refused private chat says so, and not why", async () => {
  await bob.by("my-presence").click();
  await bob.by("open-privacy").click();
  await bob.by("rule-busy").selectOption("nobody");
  await bob.by("privacy-submit").click();
  await bob.by("privacy-dialog").waitFor({ state: "detached" });
  await carol.by("new-chat").click();
  await carol.by("new-chat-user").fill("bob");
  await carol.by("new-chat-submit").click();
  const refusal = await until("the refusal", () => carol.by("new-chat-error").innerText());
  assert.match(refusal, /not allow/);
  assert.doesNotMatch(refusal, /busy|list|group/);
  await carol.page.keyboard.press("Escape");

  await bob.by("my-presence").click();
  await bob.by("presence-option-online").click();
  await bob.page.locator("[data-testid=my-presence][data-state=online]").waitFor();
  await carol.by("new-chat").click();
  await carol.by("new-chat-user").fill("bob");
  await carol.by("new-chat-submit").click();
  await carol.by("composer").waitFor();
});

test("the title tells of what comes while nobody looks, but not while I am busy; a group is an exception", async () => {
  await carol.say("hello bob");
  await bob.by("tab-rooms").click();
  await bob.by("invite-accept").click();
  await bob.by("composer").waitFor();
  // As if another window had the focus.
  await bob.page.evaluate(() => (document.hasFocus = () => false));
  const title = (wanted) => bob.page.waitForFunction((text) => document.title === text, wanted);
  const arrives = async (text) => {
    await carol.say(text);
    await bob.message(text).waitFor();
  };
  await arrives("one");
  await title("(1) Pilotlight");
  await bob.page.evaluate(() => {
    document.hasFocus = () => true;
    dispatchEvent(new Event("focus"));
  });
  await title("Pilotlight");
  await bob.page.evaluate(() => (document.hasFocus = () => false));

  await bob.by("my-presence").click();
  await bob.by("presence-option-busy").click();
  await bob.page.locator("[data-testid=my-presence][data-state=busy]").waitFor();
  await arrives("two");
  assert.equal(await bob.page.title(), "Pilotlight");

  await bob.by("tab-contacts").click();
  await bob.by("add-contact").click();
  await bob.by("add-contact-user").fill("carol");
  await bob.by("add-contact-group").fill("Important");
  await bob.by("add-contact-submit").click();
  await listed(bob, "group-Important", carol).waitFor();
  await bob.by("my-presence").click();
  await bob.by("open-profile").click();
  await bob.by("notify-group").selectOption("always");
  await bob.by("profile-submit").click();
  await bob.by("profile-dialog").waitFor({ state: "detached" });
  await arrives("three");
  await title("(1) Pilotlight");
  await bob.screenshot("notified");
});
