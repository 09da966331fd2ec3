// What two clients make of a conversation together, this one and a stock one: replies, edits, reactions, deletions,
// mentions, formatted text, receipts; and how one finds one's way through a long one.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import * as sdk from "matrix-js-sdk";
import { hold, launch, Person } from "./lib/browser.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, path, until } from "./lib/matrix.mjs";

for (const level of ["trace", "debug", "info", "warn", "error"]) console[level] = () => {};

const V3 = "/_matrix/client/v3";
let server, browser, bob, stockBob, zoe, room, names = 0, txn = 0;

before(async () => {
  server = await Homeserver.start();
  browser = await launch();
  bob = await Device.register(server.baseUrl, "bob");
  stockBob = sdk.createClient({ baseUrl: server.baseUrl, userId: bob.userId, accessToken: bob.token, deviceId: bob.deviceId, timelineSupport: true });
  await stockBob.startClient({ initialSyncLimit: 20, pollTimeout: 1000 });
  zoe = await Person.arrive(browser, server.baseUrl, "zoe");
  await zoe.register();
});

after(async () => {
  stockBob?.stopClient();
  await browser?.close();
  await server?.stop();
});

beforeEach(async () => {
  names += 1;
  const made = { name: `Room ${names}`, preset: "public_chat", room_alias_name: `room${names}` };
  room = await bob.createRoom(made);
  await zoe.joinRoom(`#room${names}:localhost`, `Room ${names}`);
  await until("the stock client has the room", () => stockBob.getRoom(room)?.getMember(zoe.userId)?.membership === "join");
});

const say = async (content, who = bob, kind = "m.room.message") => {
  const body = typeof content === "string" ? { msgtype: "m.text", body: content } : content;
  return (await who.ok("PUT", path(`${V3}/rooms/{}/send/{}/{}`, room, kind, `c${++txn}`), body)).event_id;
};
const row = (eventId) => zoe.page.locator(`[data-testid=timeline-item][data-event-id="${eventId}"]`);
const focused = () => zoe.page.evaluate(() => document.activeElement?.dataset.testid);
/** An event as the stock client has it. */
const stockEvent = (fits) => until("the stock client has it", () => stockBob.getRoom(room).getLiveTimeline().getEvents().findLast(fits));
const menuOf = async (message) => {
  await message.locator(".bubble").hover();
  await message.getByTestId("message-more").click();
};

test("a reply names what it answers, both ways, and leads there", async () => {
  const asked = await say("tea or coffee?");
  await row(asked).locator(".bubble").hover();
  await row(asked).getByTestId("quick-reply").click();
  assert.equal(await focused(), "composer");
  await zoe.say("tea");
  const answer = await stockEvent((event) => event.getContent().body === "tea");
  assert.equal(answer.replyEventId, asked);
  assert.deepEqual(answer.getContent()["m.mentions"], { user_ids: [bob.userId] });
  await zoe.by("composer-about").waitFor({ state: "hidden" });

  const relation = { "m.in_reply_to": { event_id: answer.getId() } };
  const back = await say({ msgtype: "m.text", body: "> <@zoe:localhost> tea\n\nhere you are", "m.relates_to": relation });
  await row(back).getByTestId("quote").getByText("tea").waitFor();
  // A row has no text to be read before it is looked at (content-visibility).
  await until("the quotation for old clients is not shown", async () => /zoe\s+tea\s+here you are/.test(await row(back).innerText()));
  await row(back).getByTestId("quote").click();
  await zoe.flashed(answer.getId());

  const nowhere = await say({ msgtype: "m.text", body: "to nothing", "m.relates_to": { "m.in_reply_to": { event_id: "$nothing" } } });
  await row(nowhere).getByText("A message that is not available").waitFor();
  const threaded = await say({ msgtype: "m.text", body: "in a thread", "m.relates_to": { rel_type: "m.thread", event_id: asked } });
  await row(threaded).getByTestId("quote").getByText("tea or coffee?").waitFor();
});

test("an edit shows in its place, both ways", async () => {
  await zoe.say("teh word");
  const said = await stockEvent((event) => event.getContent().body === "teh word");
  await zoe.by("composer").press("ArrowUp");
  assert.equal(await zoe.by("composer").inputValue(), "teh word");
  await zoe.by("composer").press("Escape");
  assert.equal(await zoe.by("composer").inputValue(), "", "left as it was");
  await zoe.by("composer").fill("a draft");
  await menuOf(row(said.getId()));
  await zoe.by("edit").click();
  await zoe.say("the word");
  assert.equal(await zoe.by("composer").inputValue(), "a draft", "what was being written is there again");
  await zoe.by("composer").fill("");
  await row(said.getId()).getByText("edited").waitFor();
  await row(said.getId()).getByText("the word", { exact: true }).waitFor();
  await until("the stock client shows it", () => said.replacingEvent()?.getContent()["m.new_content"].body === "the word");
  assert.equal(said.getContent().body, "the word");

  const theirs = await say("frist");
  const { event_id: edit } = await stockBob.sendMessage(room, {
    msgtype: "m.text", body: "* first", "m.new_content": { msgtype: "m.text", body: "first" }, "m.relates_to": { rel_type: "m.replace", event_id: theirs },
  });
  await row(theirs).getByText("first", { exact: true }).waitFor();
  await stockBob.redactEvent(room, edit);
  await row(theirs).getByText("frist", { exact: true }).waitFor();
  assert.equal(await row(edit).count(), 0, "an edit has no line of its own, nor has a redacted one");
  await zoe.page.reload();
  await row(theirs).getByText("frist", { exact: true }).waitFor();
  assert.equal(await row(edit).count(), 0, "nor has one that comes redacted");
  const forged = await say("genuine");
  const mallory = await Device.register(server.baseUrl);
  await mallory.join(room);
  await say({ msgtype: "m.text", body: "x", "m.new_content": { msgtype: "m.text", body: "forged" }, "m.relates_to": { rel_type: "m.replace", event_id: forged } }, mallory);
  await zoe.message(await say("after it").then(() => "after it")).waitFor();
  await until("only who said it can edit it", async () => (await row(forged).locator(".body").innerText()) === "genuine");
});

test("reactions are counted, given and taken back, both ways", async () => {
  const said = await say("good news");
  await stockBob.sendEvent(room, "m.reaction", { "m.relates_to": { rel_type: "m.annotation", event_id: said, key: "🎉" } });
  const party = row(said).getByTestId("reaction").filter({ hasText: "🎉" });
  await party.getByText("1").waitFor();
  await party.click();
  await party.getByText("2").waitFor();
  assert.equal(await party.getAttribute("aria-pressed"), "true");
  const mine = await stockEvent((event) => event.getType() === "m.reaction" && event.getSender() === zoe.userId);
  assert.deepEqual(mine.getRelation(), { rel_type: "m.annotation", event_id: said, key: "🎉" });
  await zoe.page.locator(`[data-event-id="${said}"] [data-testid=reaction][data-echo=placed]`).waitFor();
  await party.click();
  await until("taken back", () => mine.isRedacted());
  await party.getByText("1").waitFor();

  await menuOf(row(said));
  await zoe.by("react-other").fill("🫖");
  await zoe.by("react-other").press("Enter");
  await row(said).getByTestId("reaction").filter({ hasText: "🫖" }).waitFor();
});

test("a deletion takes away what was said, both ways", async () => {
  await zoe.say("regretted");
  const said = await stockEvent((event) => event.getContent().body === "regretted");
  await menuOf(row(said.getId()));
  await zoe.by("message-menu").getByTestId("delete").click();
  await zoe.by("delete-submit").click();
  await row(said.getId()).getByText("Message deleted").waitFor();
  await until("the stock client has heard", () => said.isRedacted());
  const theirs = await say("theirs");
  await row(theirs).waitFor();
  await menuOf(row(theirs));
  assert.equal(await zoe.by("message-menu").getByTestId("delete").count(), 0, "others' messages are the moderators'");
  await zoe.page.keyboard.press("Escape");
  await stockBob.redactEvent(room, theirs);
  await row(theirs).getByText("Message deleted").waitFor();
});

test("edits, reactions and deletions are echoes: they wait while the network is cut, and when refused an edit is retried, a deletion told of", async () => {
  const own = await say("mine to change", await ownDevice());
  const theirs = await say("react to this");
  await row(theirs).waitFor();
  const gate = await hold(zoe.page, /\/(send|redact)\//, "request");
  await menuOf(row(own));
  await zoe.by("edit").click();
  await zoe.say("changed");
  await row(own).and(zoe.page.locator("[data-echo=sending]")).getByText("changed").waitFor();
  await menuOf(row(theirs));
  await zoe.by("react").first().click();
  const reaction = row(theirs).getByTestId("reaction");
  await reaction.waitFor();
  assert.match(await reaction.getAttribute("data-echo"), /^(queued|sending)$/);
  gate.open();
  await row(own).and(zoe.page.locator("[data-echo=placed]")).waitFor();
  await until("placed", async () => (await reaction.getAttribute("data-echo")) === "placed");
  await gate.remove();

  const refuse = (what, words) => zoe.page.route(what, (route) => route.fulfill({ status: 403, json: { errcode: "M_FORBIDDEN", error: words } }), { times: 1 });
  await refuse(/\/send\//, "not now");
  await menuOf(row(own));
  await zoe.by("edit").click();
  await zoe.say("changed again");
  await row(own).getByText("not now").waitFor();
  await row(own).getByTestId("retry").click();
  await row(own).and(zoe.page.locator("[data-echo=placed]")).getByText("changed again").waitFor();

  const deleted = async () => {
    await menuOf(row(own));
    await zoe.by("message-menu").getByTestId("delete").click();
    await zoe.by("delete-submit").click();
  };
  await refuse(/\/redact\//, "not today");
  await deleted();
  await zoe.by("toast").getByText("not today").waitFor();
  await row(own).getByText("changed again").waitFor();
  assert.equal(await row(own).getByTestId("retry").count(), 0, "it is as if nothing had been done");
  await deleted();
  await row(own).getByText("Message deleted").waitFor();
});

/** Another device of zoe's. */
const ownDevice = () => Device.login(server.baseUrl, "zoe", "correct horse battery");

test("what I do on one device shows on my other one, once", async () => {
  const phone = await ownDevice();
  await zoe.say("from the page");
  const said = (await stockEvent((event) => event.getContent().body === "from the page")).getId();
  await row(said).and(zoe.page.locator("[data-echo=placed]")).waitFor();
  const typed = await say("from the phone", phone);
  await row(typed).waitFor();
  assert.match(await row(typed).getAttribute("class"), /\bown\b/);
  await say({ msgtype: "m.text", body: "*", "m.new_content": { msgtype: "m.text", body: "changed by the phone" }, "m.relates_to": { rel_type: "m.replace", event_id: said } }, phone);
  await row(said).getByText("changed by the phone").waitFor();
  const reaction = await say({ "m.relates_to": { rel_type: "m.annotation", event_id: typed, key: "👍" } }, phone, "m.reaction");
  const button = row(typed).getByTestId("reaction");
  await until("it is mine", async () => (await button.getAttribute("aria-pressed")) === "true");
  await button.click();
  await button.waitFor({ state: "detached" });
  await until("taken back for the phone", async () => (await phone.ok("GET", path(`${V3}/rooms/{}/event/{}`, room, reaction))).unsigned?.redacted_because);
  assert.equal(await zoe.message("from the page").count(), 0);
});

test("what is written with marks is sent as text and as the same in HTML, and shown so", async () => {
  await zoe.by("composer").fill("**bold** _and_ `code <b>`\n- one\n- two\n> said");
  await zoe.by("composer").press("Enter");
  const said = await stockEvent((event) => event.getContent().body?.startsWith("**bold**"));
  const { format, formatted_body: html } = said.getContent();
  assert.equal(format, "org.matrix.custom.html");
  assert.equal(html, "<strong>bold</strong> <em>and</em> <code>code &#60;b&#62;</code><ul><li>one</li><li>two</li></ul><blockquote>said</blockquote>");
  for (const part of ["strong", "em", "code", "li", "blockquote"]) await row(said.getId()).locator(`.body ${part}`).first().waitFor();
  await zoe.say("a_plain_word, 2*3*4, https://example.org/a_b_c <b>");
  const plain = await stockEvent((event) => event.getContent().body?.startsWith("a_plain"));
  assert.equal(plain.getContent().format, undefined, "what has no form is sent without");
});

test("hostile HTML does nothing and looks like nothing but a message", async () => {
  const problems = zoe.problems.length;
  for (const [html, shown] of [
    [`<script>document.title='owned'</script>left`, "left"],
    [`<img src="https://evil.example/x.png" onerror="document.title='owned'" alt="pic">`, "pic"],
    [`<a href="javascript:document.title='owned'">press</a>`, "press"],
    [`<a href="data:text/html,<script>1</script>">press2</a>`, "press2"],
    [`<a href=" jAvAsCrIpT:document.title='owned'">press3</a>`, "press3"],
    [`<svg><script>document.title='owned'</script></svg><math><mi>m</mi></math>s`, "s"],
    [`<p style="position:fixed;inset:0;background:red" class="dialog" id="app" onclick="document.title='owned'">styled</p>`, "styled"],
    [`<style>*{display:none}</style>st`, "st"],
    [`<iframe src="https://evil.example"></iframe><object data="x"></object>fr`, "fr"],
    [`<form action="https://evil.example"><input name=q><button>go</button></form>`, "go"],
    [`<mx-reply><blockquote>forged</blockquote></mx-reply>answer`, "answer"],
    [`<noscript><p title="</noscript><img src=x onerror=document.title='owned'>">`, "noscript"],
    [`<div>${"<b>".repeat(3000)}deep`, undefined],
    [`<table><tr><td>cell</td></tr></table>`, "cell"],
    [`<template><img src=x onerror="document.title='owned'"></template>t`, "t"],
    [`${"<i>x</i>".repeat(8000)}`, undefined],
  ]) {
    const event = await say({ msgtype: "m.text", body: "noscript", format: "org.matrix.custom.html", formatted_body: html });
    const body = row(event).locator(".body");
    await body.waitFor();
    // What is below the edge is not laid out and has no text yet: the page comes to it with its next frame.
    if (shown !== undefined) await until(html, async () => (await body.innerText()).trim() === shown);
    const found = await body.evaluate((node) => ({
      bad: node.querySelectorAll("script, img, style, iframe, object, form, input, svg, math, template, [style], [onclick], [onerror], [id]").length,
      links: [...node.querySelectorAll("a")].map((link) => [link.protocol, link.rel]),
      nodes: node.querySelectorAll("*").length,
    }));
    assert.equal(found.bad, 0, html);
    for (const [protocol, rel] of found.links) assert.ok(/^https?:$/.test(protocol) && rel.includes("noopener"), html);
    assert.ok(found.nodes <= 4_100, `${found.nodes} nodes`);
  }
  assert.notEqual(await zoe.page.title(), "owned");
  assert.equal(zoe.requests.filter((request) => request.url().includes("evil.example")).length, 0, "nothing is loaded from elsewhere");
  // The page's policy says so in the console where the parser meets a style, which it does not take.
  assert.deepEqual(zoe.problems.slice(problems).filter((problem) => !problem.startsWith("Applying inline style violates")), []);
});

test("@ completes people by the keyboard, tells them, and everybody only by those who may", async () => {
  await bob.ok("PUT", path(`${V3}/profile/{}/displayname`, bob.userId), { displayname: "Bob <the> Builder" });
  await until("the name has arrived", () => zoe.page.evaluate(() => document.body.textContent.includes("Bob <the> Builder")));
  await zoe.by("composer").focus();
  await zoe.page.keyboard.type("hello @bo");
  await zoe.by("completion-item").first().waitFor();
  await zoe.page.keyboard.press("Enter");
  assert.equal(await zoe.by("composer").inputValue(), "hello @Bob <the> Builder ");
  await zoe.page.keyboard.type("and @room");
  assert.equal(await zoe.by("completion").isVisible(), false, "everybody is not for me to call");
  await zoe.page.keyboard.press("Enter");
  const said = await stockEvent((event) => event.getContent().body?.startsWith("hello @Bob"));
  assert.deepEqual(said.getContent()["m.mentions"], { user_ids: [bob.userId] });
  assert.match(said.getContent().formatted_body, /<a href="https:\/\/matrix\.to\/#\/%40bob%3Alocalhost">Bob &#60;the&#62; Builder<\/a>/);
  await row(said.getId()).locator(".pill-name").getByText("Bob <the> Builder").waitFor();

  const html = `<a href="https://matrix.to/#/${zoe.userId}">zoe</a>: look`;
  const told = await say({ msgtype: "m.text", body: "zoe: look", format: "org.matrix.custom.html", formatted_body: html, "m.mentions": { user_ids: [zoe.userId] } });
  await row(told).and(zoe.page.locator(".names-me")).locator(".pill-name.names-you").waitFor();
  const all = await say({ msgtype: "m.text", body: "@room", "m.mentions": { room: true } });
  await row(all).and(zoe.page.locator(".names-me")).waitFor();
  const mallory = await Device.register(server.baseUrl);
  await mallory.join(room);
  const cry = await say({ msgtype: "m.text", body: "@room", "m.mentions": { room: true } }, mallory);
  await row(cry).waitFor();
  assert.equal(await row(cry).and(zoe.page.locator(".names-me")).count(), 0, "only those with the power call everybody");
});

test("who has read up to where is shown at the message, and told of me when I look, or to my devices only", async () => {
  await zoe.say("seen?");
  const said = (await stockEvent((event) => event.getContent().body === "seen?")).getId();
  const receipt = (who, event) => who.ok("POST", path(`${V3}/rooms/{}/receipt/m.read/{}`, room, event), {});
  for (let n = 0; n < 5; n++) {
    const reader = await Device.register(server.baseUrl);
    await reader.join(room);
    await receipt(reader, said);
  }
  const readers = row(said).getByTestId("readers");
  // Those who came after it stand between it and the end.
  await readers.getByText("+2").waitFor();
  assert.equal(await readers.locator(".reader").count(), 3);

  const read = () => stockBob.getRoom(room).getEventReadUpTo(zoe.userId);
  const first = await say("look at me");
  await until("zoe has read it", () => read() === first);
  await zoe.page.evaluate(() => (document.hasFocus = () => false));
  const second = await say("nobody looks");
  await row(second).waitFor();
  await zoe.page.waitForTimeout(300);
  assert.equal(read(), first, "what nobody saw is not read");
  await zoe.page.evaluate(() => {
    delete document.hasFocus;
    localStorage.setItem("pilotlight.private-receipts", "yes");
    dispatchEvent(new Event("focus"));
  });
  const { rooms } = await until("my devices know", async () => {
    const answer = await (await ownDevice()).sync();
    const receipts = answer.rooms.join[room].ephemeral.events.find(({ type }) => type === "m.receipt");
    return receipts?.content[second]?.["m.read.private"]?.[zoe.userId] && answer;
  });
  assert.equal(rooms.join[room].unread_notifications.notification_count, 0);
  assert.equal(read(), first, "others do not");
  await zoe.page.evaluate(() => localStorage.removeItem("pilotlight.private-receipts"));
});

test("a message far back is jumped to, and read on from there to the latest, at its place", async () => {
  const LINES = 420;
  const events = [];
  for (let n = 0; n < LINES; n += 20) events.push(...await Promise.all(Array.from({ length: 20 }, (_, i) => say(`line ${n + i}`))));
  const target = events[60];
  const reply = await say({ msgtype: "m.text", body: "remember?", "m.relates_to": { "m.in_reply_to": { event_id: target } } });
  // A page that comes anew has the end of it only.
  await zoe.page.reload();
  await row(reply).getByTestId("quote").getByText(/^line \d+$/).waitFor();
  await row(reply).getByTestId("quote").click();
  await zoe.flashed(target);
  assert.equal(await row(reply).count(), 0, "the latest is far from here");
  await zoe.by("new-messages").waitFor();

  const live = await say("meanwhile");
  await zoe.by("new-messages").getByText("1 new message").waitFor();
  // Wheel by wheel to the end: what is at the middle moves by the wheel and nothing else.
  let most = 0;
  await until("the live end", async () => {
    const { jumped, rows, isAtEnd } = await zoe.page.evaluate(async () => {
      const scroller = document.querySelector(".scroller");
      const middle = scroller.getBoundingClientRect().top + scroller.clientHeight / 2;
      const anchor = [...document.querySelectorAll("[data-testid=timeline-item]")].find((node) => node.getBoundingClientRect().bottom > middle);
      const before = anchor.getBoundingClientRect().top;
      const from = scroller.scrollTop;
      scroller.scrollTop += 250;
      const wheel = scroller.scrollTop - from;
      for (let frame = 0; frame < 4; frame++) await new Promise((resolve) => requestAnimationFrame(resolve));
      await new Promise((resolve) => setTimeout(resolve, 0));
      return {
        jumped: anchor.isConnected ? anchor.getBoundingClientRect().top - before + wheel : 0,
        rows: document.querySelectorAll("[data-testid=timeline-item]").length,
        isAtEnd: scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 1,
      };
    });
    most = Math.max(most, rows);
    // Who comes near to the end is taken there as what is around it gets its height.
    assert.ok(Math.abs(jumped) < 3 || isAtEnd, `the place is kept, but it jumped by ${jumped}`);
    return await row(live).isVisible();
  }, 60_000);
  assert.ok(most <= 500, `${most} rows at most`);
  const shown = await zoe.page.locator("[data-testid=timeline-item] .body").allInnerTexts();
  const lines = shown.filter((text) => /^line \d+$/.test(text));
  assert.equal(new Set(lines).size, lines.length, "nothing twice");
  await until("it is the end", async () => {
    await zoe.page.evaluate(() => (document.querySelector(".scroller").scrollTop = 1e9));
    return (await zoe.by("new-messages").isHidden());
  });

  await zoe.page.evaluate((hash) => (location.hash = hash), `#/room/${encodeURIComponent(room)}/${encodeURIComponent(events[3])}`);
  await zoe.flashed(events[3]);
  await zoe.by("new-messages").click();
  await row(live).waitFor();
});

test("the keyboard alone reaches whatever can be done with a message", async () => {
  const said = await say("press enter on me");
  await row(said).waitFor();
  await zoe.page.keyboard.press("Escape");
  await row(said).locator(".line").focus();
  await zoe.page.keyboard.press("Enter");
  await zoe.by("message-menu").waitFor();
  assert.equal(await focused(), "react");
  await zoe.page.keyboard.press("ArrowRight");
  await zoe.page.keyboard.press("Enter");
  const heart = row(said).getByTestId("reaction");
  await heart.waitFor();
  assert.equal(await heart.getAttribute("data-key"), "❤️");
  assert.equal(await zoe.page.evaluate(() => document.activeElement?.className), "line", "the focus returns to the message");
  await zoe.page.keyboard.press("Enter");
  for (let steps = 0; (await focused()) !== "reply" && steps < 12; steps++) await zoe.page.keyboard.press("ArrowDown");
  await zoe.page.keyboard.press("Enter");
  assert.equal(await focused(), "composer");
  await zoe.by("composer-about").waitFor();
  await zoe.page.keyboard.press("Escape");
  await zoe.by("composer-about").waitFor({ state: "hidden" });
  assert.equal(await focused(), "composer");
});
