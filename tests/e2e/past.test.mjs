// Looking at what was said long ago: reading on from there in both directions, at one's place, whatever comes meanwhile.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Person } from "./lib/browser.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, path, until } from "./lib/matrix.mjs";

const V3 = "/_matrix/client/v3";
const LINES = 200;
let server, browser, bob, zoe, den, lines, names = 0, txn = 0;

before(async () => {
  server = await Homeserver.start();
  browser = await launch();
  bob = await Device.register(server.baseUrl, "bob");
  zoe = await Person.arrive(browser, server.baseUrl, "zoe");
  await zoe.register();
  den = await room("The Den");
  lines = await sayAll(den, LINES, (n) => `line ${n}`);
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** A room of bob's that zoe is in, and looks at. */
async function room(name) {
  const alias = `room${++names}`;
  const id = await bob.createRoom({ name, preset: "public_chat", room_alias_name: alias });
  await zoe.joinRoom(`#${alias}:localhost`, name);
  return id;
}

const send = async (id, kind, content, who = bob) => (await who.ok("PUT", path(`${V3}/rooms/{}/send/{}/{}`, id, kind, `p${++txn}`), content)).event_id;
const say = (id, body, who) => send(id, "m.room.message", { msgtype: "m.text", body }, who);
/** Many at once, whose order is nobody's business but that of the tens. */
async function sayAll(id, count, words, kind = "m.room.message") {
  const events = [];
  for (let n = 0; n < count; n += 20) {
    events.push(...await Promise.all(Array.from({ length: Math.min(20, count - n) }, (_, i) => send(id, kind, { msgtype: "m.text", body: words(n + i) }))));
  }
  return events;
}
const row = (eventId) => zoe.page.locator(`[data-testid=timeline-item][data-event-id="${eventId}"]`);
const hashOf = (id, eventId) => `#/room/${encodeURIComponent(id)}${eventId ? `/${encodeURIComponent(eventId)}` : ""}`;
const open = (id, eventId) => zoe.page.evaluate((hash) => (location.hash = hash), hashOf(id, eventId));
const flashed = (eventId) => zoe.flashed(eventId);
const topOf = async (eventId) => (await row(eventId).boundingBox())?.y;
const below = () => zoe.page.evaluate(() => {
  const { scrollTop, clientHeight, scrollHeight } = document.querySelector(".scroller");
  return scrollHeight - scrollTop - clientHeight;
});
/** A page without what it held before, at the end of a room. */
async function anew(id) {
  await open(id);
  await zoe.page.reload();
  await zoe.by("room-name").waitFor();
}

test("where the end of a page is in sight the next one comes by itself, and after a failure when one scrolls on", async () => {
  await anew(den);
  await zoe.page.setViewportSize({ width: 1280, height: 2400 });
  let refused = 0;
  await zoe.page.route(/\/messages\?dir=f/, (route) => (refused++, route.fulfill({ status: 403, json: { errcode: "M_FORBIDDEN", error: "not yet" } })));
  await open(den, lines[10]);
  await flashed(lines[10]);
  await zoe.by("toast").getByText("not yet").waitFor();
  assert.equal(refused, 1, "it is not asked for again and again");
  await zoe.page.unroute(/\/messages\?dir=f/);
  await zoe.page.mouse.move(700, 900);
  await zoe.page.mouse.wheel(0, 20);
  await until("there is more below", async () => (await below()) > 240);
  await zoe.page.setViewportSize({ width: 1280, height: 800 });
  await zoe.by("new-messages").click();
  await row(lines[LINES - 1]).waitFor();
});

test("at the room's beginning nothing is said to be loading", async () => {
  await anew(den);
  await open(den, lines[2]);
  await flashed(lines[2]);
  await until("the beginning", async () => {
    await zoe.page.evaluate(() => (document.querySelector(".scroller").scrollTop = 0));
    return (await zoe.by("timeline-top").innerText()) === "This is where The Den begins.";
  });
});

test("from one place in the past one goes to another, and of two wishes the last counts", async () => {
  await anew(den);
  await open(den, lines[20]);
  await flashed(lines[20]);
  await open(den, lines[110]);
  await flashed(lines[110]);
  assert.equal(await row(lines[20]).count(), 0);
  await open(den, lines[5]);
  await open(den, lines[100]);
  await flashed(lines[100]);
  await zoe.by("new-messages").click();
  await row(lines[LINES - 1]).waitFor();
  await until("the address says so", async () => !(await zoe.page.url()).includes(encodeURIComponent("$")));
});

test("a reload in the past comes back to where one was, and one at the end to the end", async () => {
  await anew(den);
  await open(den, lines[80]);
  await flashed(lines[80]);
  await zoe.page.mouse.move(700, 400);
  for (let n = 0; n < 6; n++) await zoe.page.mouse.wheel(0, 100);
  const place = await until("the address says where", async () => {
    const event = decodeURIComponent(await zoe.page.evaluate(() => location.hash.split("/")[3] ?? ""));
    return event.startsWith("$") && event !== lines[80] && event;
  });
  await zoe.page.reload();
  await flashed(place);
  await zoe.by("new-messages").waitFor();
  await zoe.by("new-messages").click();
  await until("the address is the room's", () => zoe.page.evaluate((hash) => location.hash === hash, hashOf(den)));
  await zoe.page.reload();
  await row(lines[LINES - 1]).waitFor();
  await zoe.by("new-messages").waitFor({ state: "hidden" });
  // The same link leads there again.
  await open(den, lines[80]);
  await flashed(lines[80]);
});

test("a link that is followed right before the place where one is gets noted leads where it says", async () => {
  await anew(den);
  await open(den, lines[20]);
  await flashed(lines[20]);
  await zoe.by("new-messages").click();
  await row(lines.at(-1)).waitFor();
  // The time of the note comes before the page hears of the new address.
  await zoe.page.evaluate((hash) => {
    location.hash = hash;
    return window.__pwClock.controller.runFor(1_000);
  }, hashOf(den, lines[30]));
  await flashed(lines[30]);
});

test("how many are new is the same beside the end and in the list of rooms, wherever one looks", async () => {
  await anew(den);
  await open(den, lines[40]);
  await flashed(lines[40]);
  const mallory = await Device.register(server.baseUrl);
  await mallory.join(den);
  const last = await say(den, "one");
  await say(den, "two");
  await send(den, "m.reaction", { "m.relates_to": { rel_type: "m.annotation", event_id: last, key: "👍" } }, mallory);
  await send(den, "m.room.message", { msgtype: "m.text", body: "* 1", "m.new_content": { msgtype: "m.text", body: "1" }, "m.relates_to": { rel_type: "m.replace", event_id: last } });
  await zoe.by("new-messages").getByText("2 new messages").waitFor();
  const badge = zoe.page.locator(`[data-testid=room-item][data-room-id="${den}"] [data-testid=unread]`);
  // The server counts a little later than the page sees.
  await badge.getByText("2", { exact: true }).waitFor();
  await zoe.by("new-messages").click();
  await row(last).waitFor();
  await badge.waitFor({ state: "hidden" });
});

test("how much has come is told at once, before the server counts it, and not twice then", async () => {
  const id = await room("Counted");
  const said = await sayAll(id, 25, (n) => `said ${n}`);
  await anew(id);
  await row(said[24]).waitFor();
  await zoe.page.mouse.move(700, 400);
  await zoe.page.mouse.wheel(0, -700);
  await zoe.by("new-messages").getByText("Latest").waitFor();
  await zoe.page.evaluate(() => {
    const pill = document.querySelector("[data-testid=new-messages]");
    const rows = document.querySelector(".log");
    window.pillLabels = [];
    new MutationObserver(() => window.pillLabels.push([rows.textContent.includes("at once"), pill.textContent])).observe(rows, { childList: true, subtree: true });
    new MutationObserver(() => window.pillLabels.push([true, pill.textContent])).observe(pill, { childList: true });
  });
  await row(await say(id, "at once")).waitFor({ state: "attached" });
  const badge = zoe.page.locator(`[data-testid=room-item][data-room-id="${id}"] [data-testid=unread]`);
  await badge.getByText("1", { exact: true }).waitFor();
  await say(id, "and again");
  await badge.getByText("2", { exact: true }).waitFor();
  assert.equal(await zoe.by("new-messages").innerText(), "2 new messages");
  const labels = (await zoe.page.evaluate(() => window.pillLabels)).filter(([has]) => has).map(([, label]) => label);
  assert.deepEqual(labels.filter((label, n) => label !== labels[n - 1]), ["1 new message", "2 new messages"]);
});

test("what is not shown pushes nothing out that is, neither at the end nor in the past", async () => {
  const id = await room("Ticker");
  const first = await sayAll(id, 8, (n) => `said ${n}`);
  await sayAll(id, 560, (n) => `tick ${n}`, "org.example.tick");
  await anew(id);
  await row(first[7]).waitFor();
  const live = await say(id, "and then");
  await row(live).waitFor();
  await zoe.by("new-messages").waitFor({ state: "hidden" });
  assert.equal(await row(first[7]).count(), 1);

  const more = await sayAll(id, 40, (n) => `more ${n}`);
  await anew(id);
  await row(more[39]).waitFor();
  await open(id, first[3]);
  await flashed(first[3]);
  await row(more[39]).waitFor({ state: "attached" });
  assert.equal(await row(first[3]).count(), 1);
  await until("the end", async () => {
    await zoe.page.evaluate(() => (document.querySelector(".scroller").scrollTop = 1e9));
    return zoe.by("new-messages").isHidden();
  });
});

test("who went up from the end stays there whatever happens, by one big step or by many", async () => {
  const id = await room("Uphill");
  const said = await sayAll(id, 25, (n) => `said ${n}`);
  await anew(id);
  await row(said[24]).waitFor();
  await zoe.page.mouse.move(700, 400);
  const up = async (steps) => {
    for (const step of steps) await zoe.page.mouse.wheel(0, step);
    await zoe.by("new-messages").waitFor();
  };
  // A wheel that turns in the last frames of a smooth scroll is lost in it.
  const atEnd = () => until("the end, at rest", async () => {
    for (let frame = 0; frame < 10; frame += 1) {
      if ((await below()) >= 2) return false;
      await zoe.page.evaluate(() => new Promise(requestAnimationFrame));
    }
    return true;
  });
  const staysUp = async (happens) => {
    const was = await below();
    assert.ok(was > 100, `${was} px from the end`);
    await happens();
    await zoe.page.waitForTimeout(200);
    assert.ok((await below()) >= was - 2, `${await below()} px from the end, after ${was}`);
  };
  await up([-600]);
  for (const [way, steps] of [["pill", [-700]], ["pill", [-100, -100, -100, -100]], ["wheel", [-700]], ["wheel", [-100, -100, -100, -100]]]) {
    const met = await say(id, `met ${txn}`);
    await row(met).waitFor({ state: "attached" });
    if (way === "pill") await zoe.by("new-messages").click();
    else await zoe.page.mouse.wheel(0, 9000);
    await atEnd();
    await zoe.by("new-messages").waitFor({ state: "hidden" });
    await up(steps);
    await zoe.page.mouse.move(700, 400);
    await staysUp(async () => row(await say(id, `news ${txn}`)).waitFor({ state: "attached" }));
    await staysUp(async () => {
      await send(id, "m.reaction", { "m.relates_to": { rel_type: "m.annotation", event_id: met, key: `${way} ${steps.length}` } });
      await row(met).getByText(`${way} ${steps.length}`).waitFor({ state: "attached" });
    });
    await staysUp(async () => {
      const words = `long ${way} ${steps.length} `.repeat(60);
      await send(id, "m.room.message", { msgtype: "m.text", body: "* long", "m.new_content": { msgtype: "m.text", body: words }, "m.relates_to": { rel_type: "m.replace", event_id: met } });
      await row(met).getByText(words.trim()).waitFor({ state: "attached" });
    });
  }
  // Who is at the end goes along.
  await zoe.by("new-messages").click();
  await atEnd();
  await row(await say(id, "at last")).waitFor();
  await atEnd();
});

test("a gap in the stream leaves one where one was", async () => {
  await anew(den);
  await zoe.page.mouse.move(700, 400);
  await until("far from the end", async () => {
    await zoe.page.mouse.wheel(0, -400);
    return (await below()) > 2000;
  });
  await zoe.page.waitForTimeout(300);
  const seen = await zoe.page.evaluate(() => {
    const middle = document.querySelector(".scroller").getBoundingClientRect().top + 300;
    return [...document.querySelectorAll("[data-testid=timeline-item]")].find((node) => node.getBoundingClientRect().top > middle).dataset.eventId;
  });
  const place = await topOf(seen);
  await zoe.context.setOffline(true);
  await sayAll(den, 60, (n) => `missed ${n}`);
  await zoe.context.setOffline(false);
  await zoe.reconnects();
  await zoe.by("new-messages").getByText("60 new messages").waitFor();
  await until("the place is found again", async () => Math.abs(((await topOf(seen)) ?? 1e9) - place) < 40);
  await zoe.by("new-messages").click();
  await zoe.message("missed 59").or(zoe.message("missed 58")).first().waitFor();
});

test("who has read what is known in the past as well, and nothing is said where it is not", async () => {
  const id = await room("Ticks");
  const phone = await Device.login(server.baseUrl, "zoe", "correct horse battery");
  const mine = [await say(id, "mine", phone), await say(id, "mine, deleted", phone)];
  await phone.ok("PUT", path(`${V3}/rooms/{}/redact/{}/{}`, id, mine[1], `p${++txn}`), {});
  const rest = await sayAll(id, 120, (n) => `line ${n}`);
  await anew(id);
  await open(id, mine[0]);
  await flashed(mine[0]);
  assert.equal(await row(mine[0]).locator(".echo svg").count(), 0, "nobody has told");
  await bob.ok("POST", path(`${V3}/rooms/{}/receipt/m.read/{}`, id, rest[119]), {});
  await row(mine[0]).locator('.echo svg[aria-label="Read"]').waitFor();
  assert.equal(await row(mine[1]).locator(".echo svg").count(), 0, "of what is deleted nobody asks");
  await zoe.by("new-messages").click();
  await row(rest[119]).waitFor();
  assert.equal(await row(rest[119]).locator(".reader").count(), 0, "who said it has read it");
});

test("the line before what is new is drawn where nobody looked, and not under one's eyes", async () => {
  const id = await room("News");
  await row(await say(id, "seen at once")).waitFor();
  await row(await say(id, "this too")).waitFor();
  assert.equal(await zoe.page.locator(".first-unread").count(), 0);
  await zoe.page.evaluate(() => (document.hasFocus = () => false));
  const unseen = await say(id, "nobody looks");
  await row(await say(id, "still nobody")).waitFor();
  await zoe.page.locator(`.first-unread[data-event-id="${unseen}"]`).waitFor();
  assert.equal(await zoe.page.locator(".first-unread").count(), 1);
  await zoe.page.evaluate(() => {
    delete document.hasFocus;
    dispatchEvent(new Event("focus"));
  });
  await row(await say(id, "seen again")).waitFor();
  assert.equal(await zoe.page.locator(`.first-unread[data-event-id="${unseen}"]`).count(), 1, "it stays while one reads");
  await open(den);
  const away = await say(id, "elsewhere");
  await zoe.page.locator(`[data-testid=room-item][data-room-id="${id}"] [data-testid=unread]`).getByText("1").waitFor();
  await open(id);
  await zoe.page.locator(`.first-unread[data-event-id="${away}"]`).waitFor();
  assert.equal(await zoe.page.locator(".first-unread").count(), 1);
});

test("the page complained of nothing but what was refused", () => {
  const expected = /ERR_INTERNET_DISCONNECTED|status of 403/;
  assert.deepEqual(zoe.problems.filter((problem) => !expected.test(problem)), []);
});
