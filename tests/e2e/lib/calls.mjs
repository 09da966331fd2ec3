// Two people who call each other: browsers with a microphone and a camera that are made up, and what their connections count.
import { launch, Person } from "./browser.mjs";
import { until } from "./matrix.mjs";

/** A browser whose camera shows a clock and whose microphone beeps; it asks nobody, and reaches itself. */
export function launchWithMedia() {
  return launch(
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns", "--autoplay-policy=no-user-gesture-required",
  );
}

/** Keeps the connections of a page, and what they are made with, where a test finds them. */
function keepConnections() {
  window.connections = [];
  window.iceTransportPolicy ??= "all";
  const Plain = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Plain {
    constructor(configuration) {
      super({ ...configuration, iceTransportPolicy: window.iceTransportPolicy });
      window.connections.push(this);
    }
  };
}

/** Somebody signed in, whose connections are kept; `relay`: only through the TURN server; `signIn`: with the account there is. */
export async function caller(browser, server, name, { relay = false, signIn = false, ...options } = {}) {
  const person = await Person.arrive(browser, server.baseUrl, name, options);
  await person.context.addInitScript(keepConnections);
  if (relay) await person.context.addInitScript(() => (window.iceTransportPolicy = "relay"));
  await person.page.reload();
  if (!signIn) {
    await person.register();
    return person;
  }
  await person.by("login-user").fill(name);
  await person.by("login-password").fill("correct horse battery");
  await person.by("login-submit").click();
  await person.by("my-presence").waitFor();
  return person;
}

/** The session that a page keeps. */
export function sessionOf(page) {
  return page.evaluate(() => JSON.parse(localStorage.getItem("pilotlight.session")));
}

/** A request of a person's, beside the page. */
export async function ask(person, method, path, body) {
  const { baseUrl, accessToken } = await sessionOf(person.page);
  const answer = await fetch(`${baseUrl}/_matrix/client/v3/${path}`, {
    method, headers: { Authorization: `Bearer ${accessToken}` }, body: body && JSON.stringify(body),
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(`${method} ${path}: ${JSON.stringify(said)}`);
  return said;
}

/** A private chat of both, open in both pages; its ID. */
export async function privateChat(one, other) {
  const room = { invite: [other.userId], is_direct: true, preset: "trusted_private_chat" };
  const { room_id: roomId } = await ask(one, "POST", "createRoom", room);
  await ask(other, "POST", `join/${encodeURIComponent(roomId)}`, {});
  for (const [person, partner] of [[one, other], [other, one]]) {
    await ask(person, "PUT", `user/${encodeURIComponent(person.userId)}/account_data/m.direct`, { [partner.userId]: [roomId] });
    await openRoom(person.page, roomId);
  }
  return roomId;
}

/** Opens a room in a page. */
export async function openRoom(page, roomId) {
  await page.evaluate((id) => (location.hash = `#/room/${encodeURIComponent(id)}`), roomId);
  await page.locator(`[data-room-id="${roomId}"]`).getByTestId("call-voice").waitFor();
}

/** What the connection of a page's latest call has received and decoded, and by what kind of candidates. */
export function counted(page) {
  return page.evaluate(async () => {
    const connection = window.connections.at(-1);
    const all = [...(await connection?.getStats())?.values() ?? []];
    const inbound = (kind) => all.find((one) => one.type === "inbound-rtp" && one.kind === kind);
    // The one in use, whatever became of its last check.
    const selected = all.find((one) => one.type === "transport")?.selectedCandidatePairId;
    const pair = all.find((one) => one.id === selected);
    const kindOf = (id) => all.find((one) => one.id === id)?.candidateType;
    return {
      audioPackets: inbound("audio")?.packetsReceived ?? 0,
      audioSamples: inbound("audio")?.totalSamplesReceived ?? 0,
      videoPackets: inbound("video")?.packetsReceived ?? 0,
      frames: inbound("video")?.framesDecoded ?? 0,
      local: kindOf(pair?.localCandidateId),
      remote: kindOf(pair?.remoteCandidateId),
    };
  });
}

/** Waits until more has come than had: sound, and pictures where there is one. */
export async function receives(person, { video = true } = {}) {
  const before = await counted(person.page);
  await until(`${person.name} hears${video ? " and sees" : ""} the other`, async () => {
    const now = await counted(person.page);
    return now.audioPackets > before.audioPackets + 10 && now.audioSamples > 0 && (!video || now.frames > before.frames + 5);
  }, 30_000);
  return counted(person.page);
}

/** Waits until a person's call is in a state. */
export function inState(person, state, timeout = 20_000) {
  return person.page.locator(`[data-testid=call][data-state="${state}"]`).waitFor({ timeout });
}
