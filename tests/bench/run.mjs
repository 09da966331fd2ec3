// Measures this server and Synapse in one run, on one machine, with the same load: `make bench`.
//
//   node tests/bench/run.mjs [--parts room,forms,sliding,list,many,instructions,peers,across,join,large,engine] [--users 200] [--changes 100] [--messages 50]
//     [--idle 60] [--only pilotlight] [--receivers 200,1000] [--contacts 1000] [--rooms 1000] [--streams 10000] [--peers 100]
//     [--minutes 5] [--pairs pilotlight-pilotlight,synapse-synapse] [--members 10000] [--profile release]
//
// `room`: one server, N users in one room; `forms`: the same of this server by `/sync` and by the held stream, at a spread load;
// `sliding`: the same by sliding sync, and of some users who are in many rooms together and have all of them in one list;
// `list`: users of this server who all have each other on their lists; `many`: held streams that are idle; `instructions`: of a delivery, by callgrind (valgrind is to be
// installed; not among the parts by default); `peers`: two of these servers, counted on the wire; `across`: a room of two servers, of each
// kind; `join`: a large room of another server is joined by either kind; `large`: very large ones by this one; `engine`: the
// presence engine alone. Prints tables next to the targets and writes everything to tests/bench/results/DATE.json.
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { freePort, Homeserver } from "../e2e/lib/homeserver.mjs";
import { root } from "../e2e/lib/paths.mjs";
import { acrossRoom, acrossRows } from "./across.mjs";
import { hosted, joined, joinRows, watched } from "./join.mjs";
import { peerRows, twoServers } from "./peers.mjs";

const { values: options } = parseArgs({
  options: {
    users: { type: "string", default: "200" },
    changes: { type: "string", default: "100" },
    messages: { type: "string", default: "50" },
    idle: { type: "string", default: "60" },
    only: { type: "string" },
    parts: { type: "string", default: "room,forms,sliding,list,many,peers,across,join,large,engine" },
    receivers: { type: "string", default: "200,1000" },
    deliveries: { type: "string", default: "100000" },
    streams: { type: "string", default: "10000" },
    contacts: { type: "string", default: "1000" },
    rooms: { type: "string", default: "1000" },
    profile: { type: "string", default: "release" },
    peers: { type: "string", default: "100" },
    minutes: { type: "string", default: "5" },
    pairs: { type: "string", default: "pilotlight-pilotlight,synapse-synapse,pilotlight-synapse,synapse-pilotlight" },
    members: { type: "string", default: "10000" },
  },
});
const parts = options.parts.split(",");
const programs = join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), options.profile, "examples");
const kinds = ["pilotlight", "synapse"].filter((kind) => !options.only || options.only === kind);

/** Once nothing has happened for a while: what only connecting took is given back by then. */
const idleKib = (r) => (r.idle_rss_bytes - r.empty_rss_bytes) / r.users / 1024;

// What is shown, how to find it, and what it must reach; the figures are ratios to read within one run.
const rows = [
  ["CPU per delivered presence change, µs", (r) => r.presence.cpu_us_per_delivery, 20],
  ["bytes per delivered presence change", (r) => r.presence.bytes_per_delivery],
  ["presence change → last receiver, p50 ms", (r) => r.presence.last_receiver_ms.p50, 5],
  ["presence change → last receiver, p95 ms", (r) => r.presence.last_receiver_ms.p95],
  ["CPU per delivered message, µs", (r) => r.message.cpu_us_per_delivery, 30],
  ["message → last receiver, p50 ms", (r) => r.message.last_receiver_ms.p50],
  ["memory, empty, MiB", (r) => r.empty_rss_bytes / 2 ** 20, 15],
  ["memory per idle connected user, KiB", idleKib, 10],
  ["idle CPU per user-minute, ms", (r) => r.idle_cpu_ms_per_user_minute, 0.1],
  ["idle bytes per user-minute", (r) => r.idle_bytes_per_user_minute],
  ["all users connect, CPU s", (r) => r.connect_cpu_seconds],
];

// Who are in many rooms: to put them there takes a request for each and every room.
const READERS = "10";

// One change a write: each comes when the streams have rested from the one before.
const PAUSE_MS = "60";

// By form: [`/sync`, held stream].
const formRows = [
  ["CPU per delivered presence change, µs", (r) => r.presence?.cpu_us_per_delivery, [20, 4]],
  ["bytes per delivered presence change", (r) => r.presence?.bytes_per_delivery, [, 90]],
  ["presence change → last receiver, p50 ms", (r) => r.presence?.last_receiver_ms.p50, (n) => (n > 200 ? 15 : 5)],
  ["presence change → last receiver, p95 ms", (r) => r.presence?.last_receiver_ms.p95],
  ["CPU per delivered message, µs", (r) => r.message?.cpu_us_per_delivery, [30, 6]],
  ["bytes per delivered message", (r) => r.message?.bytes_per_delivery],
  ["message → last receiver, p50 ms", (r) => r.message?.last_receiver_ms.p50],
  ["message → last receiver, p95 ms", (r) => r.message?.last_receiver_ms.p95],
  ["memory, empty, MiB", (r) => r.empty_rss_bytes / 2 ** 20, [15, 15]],
  ["memory per idle connected user, KiB", idleKib, [16, 10]],
  ["idle CPU per user-minute, ms", (r) => r.idle_cpu_ms_per_user_minute, [0.1, 0.02]],
  ["idle bytes per user-minute", (r) => r.idle_bytes_per_user_minute],
  // Of a thousand who all see each other.
  ["all users connect, CPU s", (r) => r.connect_cpu_seconds, (n) => (n === 1000 ? 2 : undefined)],
  ["last arrival → the last is informed of all, ms", (r) => r.informed_after_ms, [1000, 1000]],
  ["presence events for each pair", (r) => r.connect_presences_per_pair],
  ["a bare send to as many sockets, CPU µs", (r) => r.bare_send_us],
  ["the load program's CPU per delivered change, µs", (r) => r.presence?.load_cpu_us_per_delivery],
  ["the load program's share of one core", (r) => r.presence?.load_cpu_share],
];

/** What the load program does to a server. */
const loadOf = (server, ...args) => promisify(execFile)(join(programs, "load"),
  ["--address", `127.0.0.1:${server.port}`, "--users-file", join(server.dir, "users.json"), ...args.map(String)]);

// Rooms of other servers that are larger than most: what there is, and with which settings they are joined.
const LARGE = [
  [{ members: 2, state: 10_000 }, { "10,000 state events": {} }],
  [{ members: 100_000, state: 0 }, { "100,000 members": {}, "100,000, who tie nobody": { "presence.max_room_members": "1000" } }],
];

/** A server of this project with users who are written into its database, and how to put load on it. */
async function seeded(users, contacts, use) {
  const server = new Homeserver(await freePort(), {}, "pilotlight");
  const load = (...args) => promisify(execFile)(join(programs, "load"),
    ["--address", `127.0.0.1:${server.port}`, "--users-file", join(server.dir, "users.json"), ...args]);
  const measure = async (form, { changes = 0, messages = 0, threads = 1, idle = options.idle } = {}) => {
    // A process that has done nothing yet.
    if (server.process) await server.end("SIGTERM");
    await server.up();
    const { stdout } = await load("measure", "--pid", server.process.pid, "--changes", changes, "--messages", messages,
      "--idle-seconds", idle, "--form", form, "--threads", threads, "--pause-ms", PAUSE_MS);
    return JSON.parse(stdout);
  };
  try {
    const dataDir = join(server.dir, "data");
    mkdirSync(dataDir);
    await load("seed", "--data-dir", dataDir, "--server-name", server.name, "--users", users, "--contacts", contacts);
    await server.up();
    const ended = async () => {
      const { pid } = server.process;
      await server.end("SIGTERM");
      return pid;
    };
    return await use({ load, measure, ended });
  } catch (error) {
    throw new Error(`${users} users: ${error.message}\n${error.stderr ?? ""}`);
  } finally {
    await server.stop();
  }
}

/**
 * Instructions of a delivery, which are the same on every machine: by callgrind, between a run of few changes and one of
 * more. What the kernel does for a write is not in them.
 */
async function instructions(users) {
  const dir = mkdtempSync(join(tmpdir(), "pilotlight-callgrind-"));
  const program = process.env.PILOTLIGHT_BIN ?? join(root, "target/debug/pilotlight");
  const counted = join(dir, "counted");
  writeFileSync(counted, `#!/bin/sh\nexec valgrind --tool=callgrind --callgrind-out-file=${dir}/%p '${program}' "$@"\n`, { mode: 0o755 });
  process.env.PILOTLIGHT_BIN = counted;
  try {
    return await seeded(users, "0", async ({ load, measure, ended }) => {
      await load("gather");
      const cost = {};
      for (const form of ["sync", "stream"]) {
        const total = async (much) => {
          await measure(form, { ...much, idle: "0" });
          return Number(/^summary: (\d+)/m.exec(readFileSync(join(dir, String(await ended())), "utf8"))[1]);
        };
        const few = await total({ changes: 20, messages: 20 });
        // So many that what it takes to connect, which is not the same each time, does not count.
        const of = (more) => (more - few) / (400 * (users - 1));
        cost[form] = {
          presence: of(await total({ changes: 420, messages: 20 })),
          message: of(await total({ changes: 20, messages: 420 })),
        };
      }
      return cost;
    });
  } finally {
    process.env.PILOTLIGHT_BIN = program;
    rmSync(dir, { recursive: true, force: true });
  }
}

/** In one room, by either form, and by the held stream with twice the threads to read it. */
const forms = (users) => seeded(users, "0", async ({ load, measure }) => {
  await load("gather");
  const rounds = String(Math.max(50, Math.round(options.deliveries / users)));
  const much = { changes: rounds, messages: rounds };
  return [
    await measure("sync", much),
    await measure("stream", much),
    await measure("stream", { ...much, threads: "2", idle: "1" }),
  ];
});

/** By `/sync` and by sliding sync: in one room, and in as many more. */
const slid = (users, rooms = 0) => seeded(users, "0", async ({ load, measure }) => {
  await load("gather");
  if (rooms > 0) await load("fill", "--rooms", String(rooms - 1));
  const rounds = String(rooms > 0 ? options.changes : Math.max(50, Math.round(options.deliveries / users)));
  const much = { changes: rounds, messages: rounds };
  return [await measure("sync", much), await measure("sliding", much)];
});

/** How many times as much as `/sync` takes. */
const ratios = ([sync, sliding]) => ["presence", "message"].map((what) =>
  [`CPU of a delivered ${what}, sliding : /sync`, shown(sliding[what].cpu_us_per_delivery / sync[what].cpu_us_per_delivery)]);

/** Everybody on everybody's list and nobody in a room. */
const listed = () => seeded(options.contacts, options.contacts, async ({ measure }) => {
  const changes = { changes: options.changes };
  return [await measure("sync", changes), await measure("stream", changes)];
});

function formsTable(results, columns) {
  const target = (of, form, users) => (typeof of === "function" ? of(users) : of?.[["Sync", "Stream"].indexOf(form)]);
  const lines = formRows.map(([name, pick, of]) => [name, ...results.flatMap((r) =>
    [shown(pick(r) ?? undefined), atMost(target(of, r.form, r.users))])]);
  console.log(table([["", ...columns.flatMap((column) => [column, "target"])],
    ...lines.filter((line) => line.slice(1).some((cell, i) => i % 2 === 0 && cell !== ""))]));
}

async function measured(kind) {
  const server = await Homeserver.start({}, kind);
  try {
    const load = (...more) => {
      const where = ["--address", `127.0.0.1:${server.port}`, "--users-file", join(server.dir, "users.json")];
      return promisify(execFile)(join(programs, "load"), [...where, ...more]);
    };
    await load("prepare", "--users", options.users);
    await server.end("SIGTERM");
    await server.up();
    const { stdout } = await load("measure", "--pid", String(server.process.pid), "--changes", options.changes,
      "--messages", options.messages, "--idle-seconds", options.idle);
    return JSON.parse(stdout);
  } catch (error) {
    throw new Error(`${kind}: ${error.message}\n${error.stderr ?? ""}\n${server.log().slice(-2000)}`);
  } finally {
    await server.stop();
  }
}

function table(lines) {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines.map((line) => line.map((cell, i) => (i ? cell.padStart(widths[i]) : cell.padEnd(widths[i]))).join("  ")).join("\n");
}

const shown = (value) => (value === undefined ? "" : value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(2));
const atMost = (target) => (target === undefined ? "" : `≤ ${target}`);

/** A table with a column for each result, and how many times as much as one the other takes. */
function withRatio(rows, results, one, other) {
  const found = Object.fromEntries(results);
  const ratio = (pick) => (found[one] && found[other] ? [shown(pick(found[other]) / pick(found[one]))] : []);
  console.log(table([["", ...results.map(([name]) => name), ...(found[one] && found[other] ? ["ratio"] : [])],
    ...rows.map(([name, pick]) => [name, ...results.map(([, result]) => shown(pick(result) ?? undefined)), ...ratio(pick)])]));
}

const results = {};
if (parts.includes("room")) {
  for (const kind of kinds) {
    console.error(`measuring ${kind} with ${options.users} users in one room`);
    results[kind] = await measured(kind);
  }
  console.log(table([["", "target", ...kinds], ...rows.map(([name, pick, target]) =>
    [name, atMost(target), ...kinds.map((kind) => shown(pick(results[kind])))])]));
}
/** What a bare write costs, in µs: to as many sockets, one after the other. */
const bare = async (sockets) => Number((await promisify(execFile)(join(programs, "load"),
  ["--address", "none", "--users-file", "none", "bare", "--sockets", sockets, "--pause-ms", PAUSE_MS])).stdout);

const byForm = ["/sync", "stream", "stream, 2 threads read"];
if (parts.includes("forms")) {
  results.forms = {};
  for (const users of options.receivers.split(",")) {
    console.error(`measuring ${users} users in one room, by form`);
    results.forms[users] = await forms(users);
    const cost = await bare(users);
    results.forms[users].forEach((result) => (result.bare_send_us = cost));
    formsTable(results.forms[users], byForm.map((form) => `${users}: ${form}`));
  }
}
if (parts.includes("sliding")) {
  results.sliding = {};
  for (const users of options.receivers.split(",")) {
    console.error(`measuring ${users} users in one room, by sliding sync`);
    results.sliding[users] = await slid(users);
    formsTable(results.sliding[users], [`${users}: /sync`, `${users}: sliding`]);
    console.log(table(ratios(results.sliding[users])));
  }
  console.error(`measuring ${READERS} users in ${options.rooms} rooms, all in one window`);
  results.slidingRooms = await slid(READERS, Number(options.rooms));
  formsTable(results.slidingRooms, [`${options.rooms} rooms: /sync`, `${options.rooms} rooms: sliding`]);
  console.log(table(ratios(results.slidingRooms)));
}
if (parts.includes("list")) {
  console.error(`measuring ${options.contacts} users who have each other on their lists`);
  results.list = await listed();
  formsTable(results.list, byForm.slice(0, results.list.length));
}
if (parts.includes("many")) {
  console.error(`measuring ${options.streams} held streams`);
  results.many = [await seeded(options.streams, "10", ({ measure }) => measure("stream"))];
  formsTable(results.many, [`${options.streams} streams`]);
}
if (parts.includes("instructions")) {
  console.error("counting instructions, 200 users in one room");
  results.instructions = await instructions("200");
  const { sync, stream } = results.instructions;
  console.log(table([["instructions of a delivery, without the kernel's", "/sync", "stream"],
    ...["presence", "message"].map((what) => [what, shown(sync[what]), shown(stream[what])])]));
}
if (parts.includes("peers")) {
  console.error(`measuring two servers with ${options.peers} contacts across, for about ${2 * options.minutes + 3} minutes`);
  results.peers = await twoServers(join(programs, "peers"), options);
  console.log(table([["", "target", "pilotlight", "synapse", "prosody"], ...peerRows.map(([name, pick, target, ...others]) =>
    [name, atMost(target), shown(pick(results.peers)), others[0] ?? "", others[1] ?? ""])]));
}
if (parts.includes("across")) {
  results.across = {};
  for (const pair of options.pairs.split(",")) {
    console.error(`measuring a room of two servers, ${pair}, for about ${2 * options.minutes + 6} minutes`);
    results.across[pair] = await acrossRoom(pair.split("-"), Number(options.minutes));
  }
  withRatio(acrossRows, Object.entries(results.across), "pilotlight-pilotlight", "synapse-synapse");
}
if (parts.includes("join")) {
  console.error(`measuring how a room of ${options.members} members is joined`);
  results.join = await hosted({ members: options.members, state: 0 }, loadOf, async (room) => {
    const found = {};
    for (const kind of kinds) found[kind] = { ...(await joined(kind, {}, room)), others: await watched(kind, {}, room) };
    return found;
  });
  withRatio(joinRows, Object.entries(results.join), "pilotlight", "synapse");
}
if (parts.includes("large")) {
  results.large = {};
  for (const [size, ways] of LARGE) {
    await hosted(size, loadOf, async (room) => {
      for (const [name, settings] of Object.entries(ways)) {
        console.error(`measuring how a room of ${name} is joined`);
        results.large[name] = { ...(await joined("pilotlight", settings, room)), others: await watched("pilotlight", settings, room) };
      }
    });
  }
  withRatio(joinRows, Object.entries(results.large));
}
if (parts.includes("engine")) {
  console.error("measuring the presence engine alone");
  results.engine = (await promisify(execFile)(join(programs, "engine"))).stdout.trimEnd().split("\n");
  console.log(results.engine.join("\n"));
}
const folder = join(root, "tests/bench/results");
mkdirSync(folder, { recursive: true });
const file = join(folder, `${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.json`);
writeFileSync(file, `${JSON.stringify({ cores: cpus().length, cpu: cpus()[0].model, options, results }, null, 2)}\n`);
console.error(`written to ${file}`);
