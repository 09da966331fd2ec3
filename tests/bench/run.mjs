// Measures this server and Synapse in one run, on one machine, with the same load: `make bench`.
//
//   node tests/bench/run.mjs [--parts room,list,peers,engine] [--users 200] [--changes 100] [--messages 50] [--idle 60]
//     [--only pilotlight] [--contacts 1000] [--peers 100] [--minutes 5]
//
// `room`: one server, N users in one room; `list`: users of this server who all have each other on their
// lists; `peers`: two of these servers, counted on the wire; `engine`: the
// presence engine alone. Prints tables next to the targets and writes everything to tests/bench/results/DATE.json.
import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { freePort, Homeserver } from "../e2e/lib/homeserver.mjs";
import { root } from "../e2e/lib/paths.mjs";
import { peerRows, twoServers } from "./peers.mjs";

const { values: options } = parseArgs({
  options: {
    users: { type: "string", default: "200" },
    changes: { type: "string", default: "100" },
    messages: { type: "string", default: "50" },
    idle: { type: "string", default: "60" },
    only: { type: "string" },
    parts: { type: "string", default: "room,list,peers,engine" },
    contacts: { type: "string", default: "1000" },
    peers: { type: "string", default: "100" },
    minutes: { type: "string", default: "5" },
  },
});
const parts = options.parts.split(",");
const programs = join(process.env.CARGO_TARGET_DIR ?? join(root, "target"), "release/examples");
const kinds = ["pilotlight", "synapse"].filter((kind) => !options.only || options.only === kind);

// What is shown, how to find it, and what it must reach; the figures are ratios to read within one run.
const rows = [
  ["CPU per delivered presence change, µs", (r) => r.presence.cpu_us_per_delivery, 20],
  ["bytes per delivered presence change", (r) => r.presence.bytes_per_delivery],
  ["presence change → last receiver, p50 ms", (r) => r.presence.last_receiver_ms.p50, 5],
  ["presence change → last receiver, p95 ms", (r) => r.presence.last_receiver_ms.p95],
  ["CPU per delivered message, µs", (r) => r.message.cpu_us_per_delivery, 30],
  ["message → last receiver, p50 ms", (r) => r.message.last_receiver_ms.p50],
  ["memory, empty, MiB", (r) => r.empty_rss_bytes / 2 ** 20, 15],
  ["memory per idle connected user, KiB", (r) => r.rss_bytes_per_user / 1024, 10],
  ["idle CPU per user-minute, ms", (r) => r.idle_cpu_ms_per_user_minute, 0.1],
  ["idle bytes per user-minute", (r) => r.idle_bytes_per_user_minute],
  ["all users connect, CPU s", (r) => r.connect_cpu_seconds],
];

const listRows = [
  ["all come online, CPU s", (r) => r.connect_cpu_seconds, 2],
  ["presence events for each pair", (r) => r.connect_presences_per_pair],
  ["memory per user, KiB", (r) => r.rss_bytes_per_user / 1024, 10],
  ["CPU per delivered change, µs", (r) => r.presence.cpu_us_per_delivery, 20],
  ["bytes per delivered change", (r) => r.presence.bytes_per_delivery],
  ["change → last receiver, p50 ms", (r) => r.presence.last_receiver_ms.p50, 15],
  ["change → last receiver, p95 ms", (r) => r.presence.last_receiver_ms.p95],
];

// Everybody on everybody's list and nobody in a room; written into the database before the server starts.
async function listed() {
  const server = new Homeserver(await freePort(), {}, "pilotlight");
  try {
    const load = (...args) => promisify(execFile)(join(programs, "load"),
      ["--address", `127.0.0.1:${server.port}`, "--users-file", join(server.dir, "users.json"), ...args]);
    const dataDir = join(server.dir, "data");
    mkdirSync(dataDir);
    await load("seed", "--data-dir", dataDir, "--server-name", server.name, "--users", options.contacts);
    await server.up();
    const { stdout } = await load("measure", "--pid", String(server.process.pid), "--changes", options.changes,
      "--messages", "0", "--idle-seconds", options.idle);
    await server.stop();
    return JSON.parse(stdout);
  } catch (error) {
    throw new Error(`list: ${error.message}\n${error.stderr ?? ""}`);
  }
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

const results = {};
if (parts.includes("room")) {
  for (const kind of kinds) {
    console.error(`measuring ${kind} with ${options.users} users in one room`);
    results[kind] = await measured(kind);
  }
  console.log(table([["", "target", ...kinds], ...rows.map(([name, pick, target]) =>
    [name, atMost(target), ...kinds.map((kind) => shown(pick(results[kind])))])]));
}
if (parts.includes("list")) {
  console.error(`measuring ${options.contacts} users who have each other on their lists`);
  results.list = await listed();
  console.log(table([["", "target", "pilotlight"], ...listRows.map(([name, pick, target]) =>
    [name, atMost(target), shown(pick(results.list))])]));
}
if (parts.includes("peers")) {
  console.error(`measuring two servers with ${options.peers} contacts across, for about ${2 * options.minutes + 3} minutes`);
  results.peers = await twoServers(join(programs, "peers"), options);
  console.log(table([["", "target", "pilotlight", "synapse", "prosody"], ...peerRows.map(([name, pick, target, ...others]) =>
    [name, atMost(target), shown(pick(results.peers)), others[0] ?? "", others[1] ?? ""])]));
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
