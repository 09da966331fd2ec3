// Calls with a stock client: matrix-js-sdk, which Element is made of, in a page of its own.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { ask, caller, counted, inState, launchWithMedia, openRoom, receives } from "./lib/calls.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, until } from "./lib/matrix.mjs";
import { serveSdk } from "./lib/sdk_page.mjs";

let browser, server, files, ours, roomId, page;

before(async () => {
  [browser, server, files] = await Promise.all([launchWithMedia(), Homeserver.start(), serveSdk()]);
  ours = await caller(browser, server, "ours");
  const stock = await Device.register(server.baseUrl, "stock");
  roomId = await stock.createRoom({ invite: [ours.userId], is_direct: true, preset: "trusted_private_chat" });
  await ask(ours, "POST", `join/${encodeURIComponent(roomId)}`, {});
  await ask(ours, "PUT", `user/${encodeURIComponent(ours.userId)}/account_data/m.direct`, { [stock.userId]: [roomId] });
  await openRoom(ours.page, roomId);
  page = await startStock(stock);
});

after(async () => {
  await browser?.close();
  await server?.stop();
  files?.close();
});

/** A page with the SDK in it, which follows the server, answers what comes in, and keeps its connections. */
async function startStock({ baseUrl, userId, token: accessToken, deviceId }) {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.on("pageerror", (error) => console.error("stock:", error.message));
  await page.addInitScript(() => {
    window.connections = [];
    const Plain = window.RTCPeerConnection;
    window.RTCPeerConnection = class extends Plain {
      constructor(...given) {
        super(...given);
        window.connections.push(this);
        // What nobody plays is not decoded.
        this.addEventListener("track", ({ streams: [stream] }) => {
          const player = Object.assign(document.createElement("video"), { autoplay: true, srcObject: stream });
          document.body.append(player);
        });
      }
    };
  });
  await page.goto(files.url);
  await page.waitForFunction(() => window.sdk, undefined, { timeout: 60_000 });
  await page.evaluate(async (session) => {
    window.answers = true;
    window.client = window.sdk.createClient(session);
    window.client.on("Call.incoming", (call) => {
      window.call = call;
      if (window.answers) void call.answer(true, call.hasRemoteUserMediaVideoTrack);
    });
    await window.client.startClient();
    await new Promise((resolve) => window.client.on("sync", (state) => state === "PREPARED" && resolve()));
  }, { baseUrl, userId, accessToken, deviceId });
  return page;
}

const stockState = () => page.evaluate(() => window.call?.state);
const inStockState = (state) => until(`the stock client is ${state}`, async () => (await stockState()) === state);
const stock = () => ({ page, name: "the stock client" });
const place = (video) => page.evaluate(([id, video]) => {
  window.call = window.sdk.createNewMatrixCall(window.client, id);
  return video ? window.call.placeVideoCall() : window.call.placeVoiceCall();
}, [roomId, video]);

test("m14: a stock client answers us, hears when we mute, and we hang up", async () => {
  await ours.by("call-video").click();
  await Promise.all([inState(ours, "connected"), inStockState("connected")]);
  await Promise.all([receives(ours), receives(stock())]);
  await ours.by("call-mute").click();
  await until("it knows", () => page.evaluate(() => window.call.remoteUsermediaFeed.isAudioMuted()));
  await page.evaluate(() => window.call.setMicrophoneMuted(true));
  await ours.by("call-state").getByText("Their microphone is off").waitFor();
  await ours.by("call-hang-up").click();
  await inStockState("ended");
  assert.equal(await page.evaluate(() => window.call.hangupReason), "user_hangup");
});

test("m14: a stock client calls us, holds the call and goes on, and hangs up", async () => {
  await place(false);
  await ours.by("call-answer").click();
  await Promise.all([inState(ours, "connected"), inStockState("connected")]);
  await Promise.all([receives(ours, { video: false }), receives(stock(), { video: false })]);
  await page.evaluate(() => window.call.setRemoteOnHold(true));
  await ours.by("call-state").getByText("Held by the other").waitFor();
  await page.evaluate(() => window.call.setRemoteOnHold(false));
  await ours.by("call-state").getByText("Held by the other").waitFor({ state: "detached" });
  // A picture in a call that began without one.
  await ours.by("call-camera").click();
  await until("it sees us", async () => (await counted(page)).frames > 5);
  await page.evaluate(() => window.call.hangup("user_hangup", false));
  await ours.by("call").waitFor({ state: "detached" });
  await ours.by("toast").getByText("stock hung up.").last().waitFor();
});

test("m14: a stock client and we call each other at the same time, decline, and are declined", async () => {
  await page.evaluate(() => (window.answers = false));
  await Promise.all([place(false), ours.by("call-voice").click()]);
  await inState(ours, "connected");
  await until("it is in the same call", () => page.evaluate(() => [...window.client.callEventHandler.calls.values()].some((call) => call.state === "connected")));
  await receives(ours, { video: false });
  await ours.by("call-hang-up").click();
  await until("it has no call", () => page.evaluate(() => [...window.client.callEventHandler.calls.values()].every((call) => call.state === "ended")));

  await place(false);
  await ours.by("call-decline").click();
  await inStockState("ended");

  await ours.by("call-voice").click();
  await inStockState("ringing");
  await page.evaluate(() => window.call.reject());
  await ours.by("toast").getByText("stock declined.").last().waitFor();
  assert.deepEqual(ours.problems, []);
});
