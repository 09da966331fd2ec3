// Calls in the web client: two browsers that hear and see each other, directly and through a TURN server.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, caller, counted, inState, launchWithMedia, openRoom, privateChat, receives } from "./lib/calls.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { until } from "./lib/matrix.mjs";
import { Turn } from "./lib/turn.mjs";

let browser, server, turn;

before(async () => {
  [browser, turn] = await Promise.all([launchWithMedia(), Turn.start()]);
  server = await Homeserver.start(turn.settings);
});

after(async () => {
  await browser?.close();
  await server?.stop();
  await turn?.stop();
});

/** Two people with a private chat, and what ends it. */
async function two(one, other, options) {
  const people = [await caller(browser, server, one, options), await caller(browser, server, other, options)];
  const roomId = await privateChat(...people);
  return [...people, roomId];
}

/** Their pages complained of nothing. */
async function leave(...people) {
  for (const person of people) {
    assert.deepEqual(person.problems, [], person.name);
    await person.context.close();
  }
}

/** One calls, the other answers. */
async function connect(one, other, { video = false } = {}) {
  await one.by(video ? "call-video" : "call-voice").click();
  await other.by(video ? "call-answer-video" : "call-answer").click();
  await Promise.all([inState(one, "connected", 40_000), inState(other, "connected", 40_000)]);
}

const over = (...people) => Promise.all(people.map((person) => person.by("call").waitFor({ state: "detached" })));
const line = (person, text) => person.by("timeline-item").getByText(text).waitFor();
const shownCall = (person) => person.by("call").getAttribute("data-call-id");

test("m14: two people in two browsers call, hear and see each other, and hang up", async () => {
  const [ann, ben] = await two("ann", "ben");
  await connect(ann, ben, { video: true });
  for (const person of [ann, ben]) {
    const { local } = await receives(person);
    assert.notEqual(local, "relay", "straight");
  }
  await ann.screenshot("call");
  await ben.by("call-hang-up").click();
  await over(ann, ben);
  await ann.by("toast").getByText("ben hung up.").waitFor();
  await line(ann, /You called · 0:\d\d/);
  await line(ben, /ann called · 0:\d\d/);
  await leave(ann, ben);
});

test("m14: a call goes through the TURN server, with credentials of its own", async () => {
  const [cat, dan] = await two("cat", "dan", { relay: true });
  await connect(cat, dan, { video: true });
  for (const person of [cat, dan]) {
    const { local, remote } = await receives(person);
    assert.deepEqual([local, remote], ["relay", "relay"]);
  }
  await cat.by("call-hang-up").click();
  await over(cat, dan);
  await leave(cat, dan);
});

test("m14: a call whose way breaks off finds another one, and goes on", async () => {
  const [abe, bea] = await two("abe", "bea", { relay: true });
  await connect(abe, bea);
  await receives(abe, { video: false });
  await turn.restart();
  await abe.by("call-state").getByText("Looking for the connection").waitFor({ timeout: 30_000 });
  await abe.by("call-state").getByText("Looking for the connection").waitFor({ state: "detached", timeout: 40_000 });
  await Promise.all([receives(abe, { video: false }), receives(bea, { video: false })]);
  await abe.by("call-hang-up").click();
  await over(abe, bea);
  await leave(abe, bea);
});

test("m14: who call each other at the same time are in one call", async () => {
  const [eve, fay] = await two("eve", "fay");
  await Promise.all([eve.by("call-voice").click(), fay.by("call-voice").click()]);
  await Promise.all([inState(eve, "connected"), inState(fay, "connected")]);
  assert.equal(await shownCall(eve), await shownCall(fay));
  await Promise.all([receives(eve, { video: false }), receives(fay, { video: false })]);
  assert.deepEqual([await eve.by("incoming-call").count(), await fay.by("incoming-call").count()], [0, 0]);
  await eve.by("call-hang-up").click();
  await over(eve, fay);
  await leave(eve, fay);
});

test("m14: all devices and tabs ring, one answers and the others stop; a call that is declined stops everywhere", async () => {
  const [gus, hal, roomId] = await two("gus", "hal");
  const first = hal.page;
  await hal.open();
  const tab = hal.page;
  await openRoom(tab, roomId);
  const tablet = await caller(browser, server, "hal", { signIn: true });
  const rings = (page) => page.getByTestId("incoming-call");
  for (const end of ["answer", "decline"]) {
    await gus.by("call-voice").click();
    for (const page of [first, tab, tablet.page]) await rings(page).waitFor();
    await rings(tab).getByTestId(end === "answer" ? "call-answer" : "call-decline").click();
    for (const page of [first, tab, tablet.page]) await rings(page).waitFor({ state: "detached" });
    if (end === "answer") {
      await Promise.all([inState(gus, "connected"), inState({ page: tab }, "connected")]);
      await Promise.all([receives(gus, { video: false }), receives({ page: tab, name: "hal" }, { video: false })]);
      assert.deepEqual([await first.getByTestId("call").count(), await tablet.by("call").count()], [0, 0], "the call is of one tab");
      await gus.by("call-hang-up").click();
      await tab.getByTestId("call").waitFor({ state: "detached" });
    }
  }
  await over(gus);
  await gus.by("toast").getByText("hal declined.").waitFor();
  await line(gus, "You called · declined");
  await line(hal, "Declined call from gus");
  await leave(gus, hal, tablet);
});

test("p13: who is busy is not rung, and finds the call that they missed", async () => {
  const [ida, jim] = await two("ida", "jim");
  await jim.choosePresence("busy");
  await until("the server knows", async () => (await ask(jim, "GET", `presence/${encodeURIComponent(jim.userId)}/status`))["org.pilotlight.presence"]?.state === "busy");
  await ida.by("call-voice").click();
  await line(jim, "ida is calling");
  assert.equal(await jim.by("incoming-call").count(), 0);
  await ida.by("call-hang-up").click();
  await over(ida);
  await line(jim, "Missed call from ida");
  await line(ida, "You called · no answer");
  await leave(ida, jim);
});

test("m14: a page that is reloaded has left the call, and the other hears so at once", async () => {
  const [kit, lea] = await two("kit", "lea");
  await connect(kit, lea);
  await kit.page.reload();
  await over(lea);
  await lea.by("toast").getByText("kit hung up.").waitFor();
  await kit.by("call-voice").waitFor();
  assert.equal(await kit.by("incoming-call").count(), 0);
  await connect(lea, kit);
  await receives(kit, { video: false });
  await lea.by("call-hang-up").click();
  await over(kit, lea);
  await leave(kit, lea);
});

test("m14: a microphone is muted, a camera is turned on in a call that began without, and a call is held", async () => {
  const [max, nia] = await two("max", "nia");
  await connect(max, nia);
  await max.by("call-mute").click();
  await nia.by("call-state").getByText("Their microphone is off").waitFor();
  await max.by("call-mute").click();
  await nia.by("call-state").getByText("Their microphone is off").waitFor({ state: "detached" });
  await max.by("call-camera").click();
  await nia.by("call-other").waitFor();
  await until("nia sees max", async () => (await counted(nia.page)).frames > 5);
  await max.by("call-camera").click();
  await nia.by("call-other").waitFor({ state: "hidden" });
  await nia.by("call-hold").click();
  await max.by("call-state").getByText("Held by the other").waitFor();
  await until("nothing comes", async () => {
    const before = (await counted(nia.page)).audioPackets;
    await nia.page.waitForTimeout(500);
    return (await counted(nia.page)).audioPackets === before;
  });
  await nia.by("call-hold").click();
  await max.by("call-state").getByText("Held by the other").waitFor({ state: "detached" });
  await receives(nia, { video: false });
  await max.by("call-hang-up").click();
  await over(max, nia);
  await leave(max, nia);
});

test("a call lies over nothing that is needed, and a second caller's card says in full what answering does", async () => {
  const [ann, ben] = await two("ann-wide", "ben-narrow");
  await ben.page.setViewportSize({ width: 390, height: 780 });
  const cid = await caller(browser, server, "cid");
  await privateChat(cid, ben);
  await ann.by("call-video").click();
  await ben.by("call-answer-video").click();
  await Promise.all([inState(ann, "connected"), inState(ben, "connected")]);
  await cid.by("call-voice").click();
  await ben.by("incoming-call").waitFor();
  const words = ben.by("incoming-call").getByText("Call: answering it ends the one you are in");
  assert.ok(await words.evaluate((node) => node.scrollWidth <= node.clientWidth), "not cut off");
  await ben.screenshot("call-second-narrow");
  // A click that lands on what it is meant for.
  const canClick = (locator) => locator.click({ trial: true, timeout: 5000 });
  for (const id of ["back", "composer", "call-answer", "call-hang-up"]) await canClick(ben.by(id));
  await ben.by("call-decline").click();
  await ben.by("people-toggle").click();
  for (const button of await ben.by("user-item").locator("button").all()) await canClick(button);
  await ben.screenshot("call-people-narrow");
  await ben.by("people-back").click();
  await ben.by("back").click();
  for (const room of await ben.by("room-item").all()) await canClick(room);

  for (const width of [1280, 1000]) {
    await ann.page.setViewportSize({ width, height: 800 });
    if (width < 1080) await ann.by("people-toggle").click();
    for (const button of await ann.by("user-item").locator("button").all()) await canClick(button);
    await ann.screenshot(`call-people-${width}`);
  }
  await ann.page.setViewportSize({ width: 844, height: 390 });
  for (const id of ["call-hang-up", "call-mute", "call-size"]) await canClick(ann.by(id));
  await ann.screenshot("call-low");
  await ann.by("call-hang-up").click();
  await over(ann, ben);
  await leave(ann, ben, cid);
});

test("m14: without a microphone the person is told why, and a call that comes in rings on", async () => {
  const [oda, pia] = await two("oda", "pia");
  await pia.page.evaluate(() => (navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"))));
  await pia.by("call-voice").click();
  await pia.by("toast").getByText("does not let this page use the microphone").waitFor();
  await over(pia);
  await oda.by("call-voice").click();
  await pia.by("call-answer").click();
  await pia.by("incoming-call").getByText("does not let this page use the microphone").waitFor();
  await oda.by("call-hang-up").click();
  await pia.by("incoming-call").waitFor({ state: "detached" });
  await leave(oda, pia);
});
