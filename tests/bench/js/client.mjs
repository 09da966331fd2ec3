// The package's own costs, in Node: what TARGETS calls "in the browser". Prints one JSON line a row.
//
//   node --expose-gc tests/bench/js/client.mjs
//
// The network is replaced by promises that this script ends itself, so that the time measured is from the
// arrival of an answer's bytes to the last listener's return: reading, applying, and handing over the changes.
import { spawnSync } from "node:child_process";
import { Client } from "../../../pkg/node.js";

const COUNT = 1000;
const room = "!r:hs";
const encoder = new TextEncoder();
let waiting = [];

globalThis.fetch = (url) => ({
  then(onResponse) {
    const path = new URL(url).pathname;
    const answer = (body) => {
      const bytes = encoder.encode(typeof body === "string" ? body : JSON.stringify(body)).buffer;
      let deliver;
      const response = {
        status: 200,
        headers: { get: () => null },
        arrayBuffer: () => ({ then: (onBody) => void (deliver = onBody) }),
      };
      onResponse(response);
      return () => deliver(bytes);
    };
    waiting.push({ path, answer });
  },
});

const take = (part) => {
  const at = waiting.findIndex(({ path }) => path.includes(part));
  if (at < 0) throw new Error(`no request for ${part} among ${waiting.map((one) => one.path)}`);
  return waiting.splice(at, 1)[0].answer;
};

const user = (i) => `@user${i}:hs`;
const member = (id, i) => ({
  type: "m.room.member", state_key: id, sender: id, event_id: `$m${i}`, origin_server_ts: 1,
  content: { membership: "join", displayname: id },
});
const presence = (state) => ({
  events: Array.from({ length: COUNT }, (_, i) => ({
    type: "m.presence", sender: user(i),
    content: { presence: state, last_active_ago: 1000 + i, currently_active: state === "online", status_msg: `hello ${i}` },
  })),
});
let sequence = 0;
const timeline = () => ({
  limited: false, prev_batch: "p",
  events: Array.from({ length: COUNT }, (_, i) => ({
    type: "m.room.message", sender: user(i), event_id: `$e${++sequence}`, origin_server_ts: 1700000000000 + sequence,
    content: { msgtype: "m.text", body: `message ${i}` },
  })),
});
const joined = (part) => ({ join: { [room]: { timeline: { events: [] }, state: { events: [] }, ...part } } });

let changes = 0;
async function client() {
  waiting = [];
  const made = await Client.create({ baseUrl: "http://hs", userId: "@me:hs", deviceId: "D", accessToken: "t" });
  made.on("presence", (changed) => (changes += changed.length));
  made.on("timeline", (_, ops) => (changes += ops.length));
  made.on("rooms", (changed) => (changes += changed.length));
  made.start();
  take("versions")({ versions: ["v1.11"] })();
  const state = { events: [member("@me:hs", "me"), ...Array.from({ length: COUNT }, (_, i) => member(user(i), i))] };
  take("sync")({ next_batch: "s0", rooms: joined({ state }), presence: presence("online") })();
  return made;
}

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
function report(name, times, per = 1) {
  const [min, mid] = [Math.min(...times), median(times)].map((ms) => +(ms / per).toFixed(4));
  console.log(JSON.stringify({ name, min_ms: min, median_ms: mid, runs: times.length }));
}

const timed = (run) => {
  globalThis.gc?.();
  const before = performance.now();
  run();
  return performance.now() - before;
};

/** A new client for each of `runs` answers, set up as `reader` does. */
async function syncs(name, body, reader = () => {}, runs = 40) {
  const times = [];
  for (let i = 0; i < runs + 10; i++) {
    const made = await client();
    reader(made);
    const deliver = take("sync")(JSON.stringify({ next_batch: `s${i + 1}`, ...body() }));
    const ms = timed(deliver);
    if (i >= 10) times.push(ms);
    made.free();
  }
  report(name, times);
}

await syncs("1000 m.presence from bytes, all changed", () => ({ presence: presence("unavailable") }));
await syncs("1000 m.presence from bytes, all changed, each with a subscriber of its own", () => ({ presence: presence("unavailable") }), (made) => {
  for (let i = 0; i < COUNT; i++) {
    made.presenceOf(user(i));
    made.subscribe({ presence: user(i) }, () => changes++);
  }
});
await syncs("one m.presence from bytes, and the list of 1000 read again", () => ({ presence: { events: presence("unavailable").events.slice(0, 1) } }), (made) => {
  made.presences();
  made.subscribe("presences", (all) => (changes += all.length));
});
await syncs("1000 m.presence from bytes, none changed", () => ({ presence: presence("online") }));
await syncs("1000 timeline events from bytes", () => ({ rooms: joined({ timeline: timeline() }) }));
await syncs("1000 m.presence + 1000 timeline events from bytes", () => ({
  presence: presence("unavailable"), rooms: joined({ timeline: timeline() }),
}));
{
  const text = JSON.stringify({ presence: presence("unavailable"), rooms: joined({ timeline: timeline() }) });
  report("JSON.parse alone of that text", Array.from({ length: 40 }, () => timed(() => JSON.parse(text))));
}

{
  const ECHOES = 200;
  const times = [];
  for (let run = 0; run < 12; run++) {
    const made = await client();
    const ms = timed(() => {
      const ids = Array.from({ length: ECHOES }, (_, i) => made.sendText(room, `hi ${i}`));
      for (const id of ids) take("/send/")({ event_id: `$sent${id}` })();
      const events = ids.map((id) => ({
        type: "m.room.message", sender: "@me:hs", event_id: `$sent${id}`, origin_server_ts: 1,
        content: { msgtype: "m.text", body: "hi" }, unsigned: { transaction_id: `${id}` },
      }));
      take("sync")({ next_batch: "s1", rooms: joined({ timeline: { events } }) })();
    });
    if (made.timeline(room).some((item) => item.echo !== "placed")) throw new Error("an echo was lost");
    if (run >= 2) times.push(ms);
    made.free();
  }
  report(`one local echo of ${ECHOES}: sent, answered, placed`, times, ECHOES);
}

{
  // Where serde-wasm-bindgen stands against JSON text: a session read, a small answer, and a thousand people.
  const CALLS = 20_000;
  const made = await client();
  const session = { ...made.session };
  report(`a session read and given back, of ${CALLS}`, Array.from({ length: 7 }, () => timed(() => {
    for (let i = 0; i < CALLS; i++) made.session;
  })), CALLS);
  report(`what I chose, of ${CALLS}`, Array.from({ length: 7 }, () => timed(() => {
    for (let i = 0; i < CALLS; i++) made.me;
  })), CALLS);
  const creations = [];
  for (let run = 0; run < 7; run++) {
    const begun = performance.now();
    const all = [];
    for (let i = 0; i < 500; i++) all.push(await Client.create(session, { idleTimeoutMs: 60_000, deviceType: "bot" }));
    creations.push(performance.now() - begun);
    for (const one of all) one.free();
  }
  report("a client made of a session and options, of 500", creations, 500);
  made.free();
  const times = [];
  for (let run = 0; run < 20; run++) {
    const fresh = await client();
    times.push(timed(() => fresh.presences()));
    fresh.free();
  }
  report("1000 people's presence asked for, at first", times);
}

{
  const entry = new URL("../../../pkg/node.js", import.meta.url).href;
  const program = `const a=process.cpuUsage();const m=await import(${JSON.stringify(entry)});
    const c=await m.Client.create({baseUrl:"http://hs",userId:"@me:hs",deviceId:"D",accessToken:"t"});c.rooms();
    const u=process.cpuUsage(a);process.stdout.write(String((u.user+u.system)/1000));process.exit(0)`;
  const times = Array.from({ length: 7 }, () =>
    Number(spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" }).stdout));
  report("import to first call in a fresh Node, CPU", times);
}
console.error(`${changes} changes seen`);
process.exit(0);
