// Files in the web client: sent by a button, by pasting and by dropping; shown, saved, refused; and pictures of people.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { readFileSync } from "node:fs";
import { launch, Person, hold } from "./lib/browser.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, path, until } from "./lib/matrix.mjs";
import { picture } from "./lib/picture.mjs";

const V3 = "/_matrix/client/v3";
let server, browser, zoe, bob, ben, den, txn = 0;

before(async () => {
  server = await Homeserver.start({ "media.max_upload_size": "1M" });
  browser = await launch();
  zoe = await Person.arrive(browser, server.baseUrl, "zoe");
  await zoe.register();
  await zoe.createRoom("The Den", "den");
  bob = await Person.arrive(browser, server.baseUrl, "bob", { viewport: { width: 390, height: 780 }, colorScheme: "dark" });
  await bob.register();
  await bob.joinRoom("#den:localhost", "The Den");
  ben = await Device.register(server.baseUrl, "ben");
  den = (await ben.join("#den:localhost")).room_id;
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

const file = (name, mimeType, buffer) => ({ name, mimeType, buffer });
const shown = (person) => person.page.locator('[data-testid=picture][data-state="shown"] img');
const send = (content) => ben.ok("PUT", path(`${V3}/rooms/{}/send/m.room.message/{}`, den, `f${++txn}`), content);
/** Puts a file on the clipboard, or in the hand, and lets it go over the composer. */
const give = (person, type, name, kind, bytes) =>
  person.by("composer").evaluate((node, [type, name, kind, bytes]) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(bytes)], name, { type: kind }));
    const options = { bubbles: true, cancelable: true };
    if (type === "paste") node.dispatchEvent(new ClipboardEvent("paste", { ...options, clipboardData: data }));
    else for (const step of ["dragenter", "dragover", "drop"]) node.dispatchEvent(new DragEvent(step, { ...options, dataTransfer: data }));
  }, [type, name, kind, [...bytes]]);

test("a picture goes with a caption, is shown at once as large as it will be, and opens by itself", async () => {
  await zoe.by("attach-input").setInputFiles(file("cat.png", "image/png", picture(900, 600)));
  await zoe.by("staged-file").getByText("cat.png").waitFor();
  await zoe.by("composer").fill("what a **cat**");
  await zoe.screenshot("files-staged");
  await zoe.by("composer").press("Enter");
  for (const person of [zoe, bob]) {
    await shown(person).waitFor();
    await person.by("timeline-item").filter({ has: shown(person) }).locator("strong", { hasText: "cat" }).waitFor();
    assert.equal(await shown(person).getAttribute("alt"), "cat.png");
  }
  assert.equal(await zoe.by("staged").isHidden(), true);
  const { content } = (await ben.history(den)).at(-1);
  assert.deepEqual([content.msgtype, content.filename, content.body, content.info.mimetype, content.info.w, content.info.h], ["m.image", "cat.png", "what a **cat**", "image/png", 900, 600]);
  const box = await zoe.by("picture").boundingBox();
  assert.ok(Math.abs(box.width / box.height - 1.5) < 0.02, `${box.width} × ${box.height}`);
  await zoe.screenshot("files-picture");
  await bob.screenshot("files-picture-narrow-dark");
  await zoe.by("picture").click();
  await zoe.page.locator('[data-testid=large-picture][data-state="shown"] img').waitFor();
  await zoe.screenshot("files-large");
  await zoe.page.keyboard.press("Escape");
  await zoe.by("picture-dialog").waitFor({ state: "detached" });
});

test("files come by pasting and by dropping, are taken out again, and are saved by others as they were", async () => {
  await give(zoe, "paste", "notes.txt", "text/plain", Buffer.from("hello"));
  await give(zoe, "drop", "odd.html", "text/html", Buffer.from("<script>alert(1)</script>"));
  await until("both are there", async () => (await zoe.by("staged-file").count()) === 2);
  await zoe.by("staged-remove").first().click();
  await until("one is there", async () => (await zoe.by("staged-file").count()) === 1);
  await give(zoe, "paste", "notes.txt", "text/plain", Buffer.from("hello"));
  await zoe.by("send").click();
  await bob.by("file").getByText("odd.html").waitFor();
  const card = bob.by("file").filter({ hasText: "notes.txt" });
  await card.waitFor();
  const coming = bob.page.waitForEvent("download");
  await card.getByTestId("download").click();
  const download = await coming;
  assert.equal(download.suggestedFilename(), "notes.txt");
  assert.equal(readFileSync(await download.path(), "utf8"), "hello");
  const kept = await bob.by("file").filter({ hasText: "odd.html" }).getAttribute("data-kind");
  assert.equal(kept, "file", "what could run is only saved");
  await bob.screenshot("files-cards-narrow-dark");
});

test("how far a file is can be seen, it can be called off, and goes on when the connection is back", async () => {
  const gate = await hold(zoe.page, "**/_matrix/media/v3/upload*", "request");
  await zoe.by("attach-input").setInputFiles(file("slow.bin", "application/octet-stream", Buffer.alloc(300_000, 1)));
  await zoe.by("send").click();
  const upload = zoe.by("upload").filter({ hasText: "slow.bin" });
  await upload.waitFor();
  await zoe.screenshot("files-on-their-way");
  await upload.getByTestId("upload-cancel").click();
  await upload.waitFor({ state: "detached" });
  gate.open();
  await gate.remove();
  await zoe.page.route("**/_matrix/media/v3/upload*", (route) => route.abort());
  await zoe.by("attach-input").setInputFiles(file("later.bin", "application/octet-stream", Buffer.alloc(3000, 1)));
  await zoe.by("send").click();
  const failed = zoe.page.locator('[data-testid=upload][data-state="failed"]');
  await failed.getByText(/No connection/).waitFor();
  await zoe.screenshot("files-failed");
  await zoe.page.unroute("**/_matrix/media/v3/upload*");
  await failed.getByTestId("upload-retry").click();
  await zoe.by("file").filter({ hasText: "later.bin" }).waitFor();
  await until("nothing is on its way", async () => (await zoe.by("upload").count()) === 0);
  assert.equal(await zoe.by("file").filter({ hasText: "slow.bin" }).count(), 0);
  zoe.problems.splice(0); // the connection that was cut
});

test("a file that is too large for the server is not taken, and why is said", async () => {
  await zoe.by("attach-input").setInputFiles(file("film.bin", "application/octet-stream", Buffer.alloc((1 << 20) + 1)));
  await zoe.by("composer-problem").getByText("film.bin has 1 MB; this server takes files of 1 MB at most.").waitFor();
  assert.equal(await zoe.by("staged-file").count(), 0);
  const large = (name) => file(name, "application/octet-stream", Buffer.alloc((2 << 20) + 1));
  await zoe.by("attach-input").setInputFiles([large("one.bin"), file("small.txt", "text/plain", Buffer.from("small")), large("two.bin"), large("three.bin")]);
  await zoe.by("composer-problem").getByText("one.bin (2 MB), two.bin (2 MB) and three.bin (2 MB) are too large: this server takes files of 1 MB at most.").waitFor();
  assert.deepEqual(await zoe.by("staged-file").locator(".file-name").allInnerTexts().then((names) => names.map((name) => name.replace(/\s/g, ""))), ["small.txt"]);
  await zoe.screenshot("files-too-large");
  await zoe.by("staged-remove").click();
});

/** The last files and words that the server has, once one of that name is the last. */
const sentUntil = (name, count) => until(`the server has ${name}`, async () => {
  const sent = (await ben.history(den)).map(({ content }) => [content.filename, content.body]);
  return sent.at(-1)[0] === name && sent.slice(-count);
});
const rendered = (locator) => locator.evaluateAll((nodes) => nodes.map((node) => ({ text: node.textContent, ending: node.querySelector(".file-ending")?.textContent })));
/** Where the letters of a file's name stand on the screen, from the left. */
const fromTheLeft = (locator) => locator.evaluate((node) => {
  const letters = [];
  const texts = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    for (let at = 0; at < texts.currentNode.length; at += 1) {
      const range = new Range();
      range.setStart(texts.currentNode, at);
      range.setEnd(texts.currentNode, at + 1);
      letters.push([range.getBoundingClientRect().left, range.toString()]);
    }
  }
  return letters.sort(([a], [b]) => a - b).map(([, letter]) => letter).join("");
});

test("no name shows a file as another kind than it is, nor what stands around it in another order", async () => {
  const spoof = "photo\u202Egpj.exe";
  const long = `${"a name that goes on and on ".repeat(5)}\u2067.exe`;
  await zoe.by("attach-input").setInputFiles([file(spoof, "application/x-msdownload", Buffer.from("MZ")), file(long, "application/x-msdownload", Buffer.from("MZ")), file("\u05d0.exe", "application/x-msdownload", Buffer.from("MZ"))]);
  await until("they are staged", async () => (await zoe.by("staged-file").count()) === 3);
  assert.deepEqual((await rendered(zoe.by("staged-file").locator(".file-name"))).map(({ ending }) => ending), [".exe", ".exe", ".exe"]);
  await zoe.by("send").click();
  const [[first], [second]] = await sentUntil("\u05d0.exe", 3);
  assert.deepEqual([first, /^a name .* on\s+\.exe$/.test(second)], ["photogpj.exe", true]);
  await send({ msgtype: "m.file", body: spoof, url: "mxc://localhost/unknown", info: {} });
  const card = bob.by("file").filter({ hasText: "photogpj.exe" }).last();
  await card.waitFor();
  assert.equal(await fromTheLeft(card.locator(".file-name")), "photogpj.exe");
  assert.equal(await fromTheLeft(bob.by("file").filter({ hasText: "\u05d0.exe" }).locator(".file-name")), "\u05d0.exe");
  const cut = bob.by("file").filter({ hasText: "goes on and on" }).locator(".file-ending");
  const [box, around] = [await cut.boundingBox(), await bob.by("file").filter({ hasText: "goes on and on" }).boundingBox()];
  assert.ok(box.x + box.width <= around.x + around.width && box.width > 10, "the ending is in sight");
  await zoe.page.locator("[data-testid=room-item]").getByText("ben: File: photogpj.exe").waitFor();
  await bob.screenshot("files-names-narrow-dark");
  await ben.ok("PUT", path(`${V3}/profile/{}/displayname`, ben.userId), { displayname: "ben\u202Enerd" });
  await zoe.by("timeline-item").getByText("ben is now bennerd", { exact: true }).waitFor();
  await send({ msgtype: "m.text", body: "see \u202Ehttps://example.org/\u202Egpj.exe" });
  const link = zoe.by("timeline-item").last().locator("a");
  await link.waitFor();
  assert.deepEqual([await link.getAttribute("href"), await fromTheLeft(link)], ["https://example.org/", "https://example.org/"]);
  await zoe.screenshot("files-names");
  await ben.ok("PUT", path(`${V3}/profile/{}/displayname`, ben.userId), { displayname: "ben" });
});

test("a picture that is damaged says so, on both sides, and can be saved", async () => {
  const before = await zoe.by("picture").count();
  await zoe.by("attach-input").setInputFiles(file("broken.png", "image/png", picture(600, 400).subarray(0, 60)));
  await zoe.by("send").click();
  for (const person of [zoe, bob]) {
    const failed = person.page.locator('[data-testid=picture][data-state="failed"]').filter({ hasText: "broken.png" });
    await failed.getByText("This picture is damaged and cannot be shown.").waitFor();
    assert.equal(await failed.getByTestId("picture-retry").count(), 0, "it stays so");
    const coming = person.page.waitForEvent("download");
    await failed.getByTestId("download").click();
    assert.equal((await coming).suggestedFilename(), "broken.png");
  }
  assert.equal(await zoe.by("picture").count(), before + 1);
  await zoe.screenshot("files-broken");
  await bob.screenshot("files-broken-narrow-dark");
  zoe.problems.splice(0); // of such a one the server makes no thumbnail
  bob.problems.splice(0);
});

test("what is said with several files goes with the next one when the first is called off, and comes back when all are", async () => {
  const gate = await hold(zoe.page, "**/_matrix/media/v3/upload*", "request");
  await zoe.by("attach-input").setInputFiles(["one.bin", "two.bin", "three.bin"].map((name) => file(name, "application/octet-stream", Buffer.alloc(2000, 7))));
  await zoe.by("composer").fill("said with three");
  await zoe.by("send").click();
  const callOff = (name) => zoe.by("upload").filter({ hasText: name }).getByTestId("upload-cancel").click();
  await callOff("one.bin");
  gate.open();
  await gate.remove();
  await zoe.by("timeline-item").filter({ hasText: "two.bin" }).getByText("said with three").waitFor();
  await zoe.by("file").filter({ hasText: "three.bin" }).waitFor();
  assert.deepEqual(await sentUntil("three.bin", 2), [["two.bin", "said with three"], ["three.bin", "three.bin"]]);

  const again = await hold(zoe.page, "**/_matrix/media/v3/upload*", "request");
  await zoe.by("attach-input").setInputFiles([file("four.bin", "application/octet-stream", Buffer.alloc(2000, 7)), file("five.bin", "application/octet-stream", Buffer.alloc(2000, 7))]);
  await zoe.by("composer").fill("said with two");
  await zoe.by("send").click();
  await zoe.by("upload").filter({ hasText: "five.bin" }).waitFor();
  await zoe.by("composer").fill("since");
  await callOff("four.bin");
  await callOff("five.bin");
  assert.equal(await zoe.by("composer").inputValue(), "said with two\nsince");
  again.open();
  await again.remove();
  await zoe.by("composer").fill("");
});

test("files that wait for their message wait in their room, with whom it mentions and what it answers", async () => {
  await zoe.createRoom("Elsewhere", "elsewhere");
  const go = (room) => zoe.by("room-item").filter({ hasText: room }).click();
  await go("The Den");
  const id = await ben.send(den, "what do you mean?");
  const asked = zoe.page.locator(`[data-event-id="${id}"]`);
  await asked.locator(".bubble").hover();
  await asked.getByTestId("quick-reply").click();
  await zoe.by("composer").pressSequentially("@bo");
  await zoe.by("completion-item").first().click();
  await zoe.by("attach-input").setInputFiles(file("draft.png", "image/png", picture(60, 40)));
  await zoe.by("staged-file").waitFor();
  await go("Elsewhere");
  await zoe.by("room-name").getByText("Elsewhere").waitFor();
  assert.equal(await zoe.by("staged-file").count(), 0);
  await go("The Den");
  await zoe.by("staged-file").getByText("draft.png").waitFor();
  await zoe.by("composer-about").getByText("what do you mean?").waitFor();
  await zoe.screenshot("files-draft");
  await zoe.by("send").click();
  const sent = await until("it is sent", async () => (await ben.history(den)).map(({ content }) => content).find(({ filename }) => filename === "draft.png"));
  assert.equal(sent.body, "@bob");
  assert.deepEqual(sent["m.mentions"].user_ids.toSorted(), [ben.userId, bob.userId].toSorted());
  assert.equal(sent["m.relates_to"]["m.in_reply_to"].event_id, id);
  await go("Elsewhere");
  await go("The Den");
  assert.deepEqual([await zoe.by("staged-file").count(), await zoe.by("composer").inputValue()], [0, ""]);
});

test("a file that fails while another room is looked at is told of", async () => {
  const go = (room) => zoe.by("room-item").filter({ hasText: room }).click();
  let cutOff;
  const cut = new Promise((resolve) => (cutOff = resolve));
  await zoe.page.route("**/_matrix/media/v3/upload*", (route) => cut.then(() => route.abort()));
  await zoe.by("attach-input").setInputFiles(file("lost.bin", "application/octet-stream", Buffer.alloc(3000, 1)));
  await zoe.by("send").click();
  await zoe.by("upload").waitFor();
  await go("Elsewhere");
  await zoe.by("room-name").getByText("Elsewhere").waitFor();
  cutOff();
  await zoe.by("toast").getByText("lost.bin was not sent to The Den. No connection").waitFor();
  await zoe.page.unroute("**/_matrix/media/v3/upload*");
  await go("The Den");
  await zoe.by("upload-cancel").click();
  await zoe.by("upload").waitFor({ state: "detached" });
  zoe.problems.splice(0); // the connection that was cut
});

test("files that wait are not sent by an edit", async () => {
  await zoe.say("to be edited");
  await zoe.page.locator('[data-echo="placed"]').filter({ hasText: "to be edited" }).waitFor();
  await zoe.by("attach-input").setInputFiles(file("waits.txt", "text/plain", Buffer.from("waits")));
  await zoe.by("staged-file").waitFor();
  await zoe.by("composer").press("ArrowUp");
  await zoe.by("composer").fill("was edited");
  await zoe.by("composer").press("Enter");
  await zoe.by("timeline-item").filter({ hasText: "was edited" }).getByText("edited", { exact: true }).waitFor();
  assert.equal(await zoe.by("staged-file").count(), 1);
  await zoe.by("staged-remove").click();
});

test("what others send is shown by its kind, whatever it says of itself", async () => {
  const uri = async (type, bytes) => {
    const answer = await fetch(`${server.baseUrl}/_matrix/media/v3/upload`, { method: "POST", headers: { Authorization: `Bearer ${ben.token}`, "Content-Type": type }, body: bytes });
    return (await answer.json()).content_uri;
  };
  const html = await uri("text/html", "<script>alert(1)</script>");
  await send({ msgtype: "m.image", body: "evil.svg", url: await uri("image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"), info: { mimetype: "image/svg+xml" } });
  await send({ msgtype: "m.image", body: "not-a-picture.png", url: html, info: { mimetype: "image/png", w: 1e9, h: -1 } });
  await send({ msgtype: "m.video", body: "film.mp4", url: await uri("video/mp4", "no film"), info: { mimetype: "video/mp4", w: 640, h: 360, size: 7 } });
  await send({ msgtype: "m.audio", body: "song.ogg", url: await uri("audio/ogg", "no song"), info: { mimetype: "audio/ogg", size: 7 } });
  await send({ msgtype: "m.file", body: "gone.zip", url: "mxc://localhost/unknown", info: {} });
  await send({ msgtype: "m.image", body: "locked.png", file: { url: "mxc://localhost/x" } });
  await send({ msgtype: "m.image", body: "strange", url: "https://example.org/x.png" });
  await zoe.by("file").filter({ hasText: "gone.zip" }).waitFor();
  const kinds = await zoe.by("file").evaluateAll((nodes) => nodes.map((node) => `${node.dataset.kind} ${node.querySelector(".file-name").textContent}`));
  assert.deepEqual(kinds.slice(-4), ["file evil.svg", "video film.mp4", "audio song.ogg", "file gone.zip"]);
  const failed = zoe.page.locator('[data-testid=picture][data-state="failed"]').filter({ hasText: "not-a-picture.png" });
  await failed.getByTestId("download").waitFor();
  await until("the last ones have come", async () => (await zoe.page.locator(".attachment-gone").count()) === 2);
  await zoe.by("file").filter({ hasText: "gone.zip" }).getByTestId("download").click();
  await zoe.by("toast").getByText("The file is not there any more.").waitFor();
  await zoe.screenshot("files-of-others");
  zoe.problems.splice(0); // 404s, and what is no picture
  bob.problems.splice(0);
});

test("a person's picture is cut to a square, and shown wherever they are", async () => {
  await zoe.by("my-presence").click();
  await zoe.by("open-profile").click();
  await zoe.by("profile-picture-input").setInputFiles(file("me.png", "image/png", picture(700, 400)));
  await zoe.page.locator("[data-testid=profile-dialog] .picture-field img").waitFor();
  await zoe.screenshot("files-profile");
  await zoe.by("profile-submit").click();
  await zoe.by("my-presence").locator(".avatar img").waitFor();
  await bob.page.locator(`[data-sender="${zoe.userId}"] .avatar img`).first().waitFor();
  const { body } = await ben.request("GET", path(`${V3}/profile/{}/avatar_url`, zoe.userId));
  assert.match(body.avatar_url, /^mxc:\/\/localhost\/\w+$/);
  await zoe.by("room-menu-toggle").click();
  await zoe.by("room-about").click();
  await zoe.by("room-picture-input").setInputFiles(file("den.png", "image/png", picture(200, 200)));
  await zoe.by("room-settings-submit").click();
  for (const person of [zoe, bob]) await person.page.locator(".room-head .avatar img").waitFor();
  await zoe.screenshot("files-avatars");
  await bob.screenshot("files-avatars-narrow-dark");
});

test("the pages complained of nothing", () => assert.deepEqual([...zoe.problems, ...bob.problems], []));
