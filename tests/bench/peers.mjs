// What presence between two of these servers costs on the wire: starts them, each behind a counting relay
// that `tests/bench/peers/` runs, and names the rows of the table.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Authority } from "../e2e/lib/authority.mjs";
import { freePort, Homeserver } from "../e2e/lib/homeserver.mjs";

/** Measures; `options.peers` users, `options.minutes` of one change a minute each. */
export async function twoServers(program, options) {
  const authority = new Authority();
  const servers = [];
  try {
    for (let n = 0; n < 2; n++) {
      const server = new Homeserver(await freePort(), {}, "pilotlight");
      server.authority = authority;
      server.federationPort = await freePort();
      server.relayPort = await freePort();
      server.name = `localhost:${server.relayPort}`;
      await server.up();
      servers.push(server);
    }
    const [here, there] = servers.map(({ port, relayPort, federationPort }) => [port, relayPort, federationPort].map(String));
    const args = ["--authority", authority.dir, "--here", ...here, "--there", ...there, "--users", options.peers,
      "--minutes", options.minutes, "--idle-minutes", options.minutes];
    const { stdout, stderr } = await promisify(execFile)(program, args);
    if (stderr) console.error(stderr);
    return JSON.parse(stdout);
  } catch (error) {
    const logs = servers.map((server) => server.log().slice(-2000)).join("\n");
    throw new Error(`two servers: ${error.message}\n${error.stderr ?? ""}\n${logs}`);
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
    authority.remove();
  }
}

const both = ({ to_there: forth, to_here: back }, key) => forth[key] + back[key];
const messages = ({ to_there: forth, to_here: back }) =>
  forth.transactions + forth.reminders + back.transactions + back.reminders;

/** What is shown, how to find it, what it must reach, and what Synapse and Prosody took. */
export const peerRows = [
  ["one change, seen by all contacts there: transactions", (r) => r.one_change.to_there.transactions, 1, "1", "100"],
  ["  body, bytes", (r) => r.one_change.to_there.body_bytes, 250, "247"],
  ["  on the wire, bytes", (r) => r.one_change.to_there.wire_bytes, undefined, "1141", "16290"],
  ["20 users, one change a minute: transactions in 5 min", (r) => r.steady.to_there.transactions, 31, "100"],
  ["  on the wire, bytes", (r) => r.steady.to_there.wire_bytes],
  ["burst, everybody within a second: transactions", (r) => r.burst.to_there.transactions, 1, "4"],
  ["  body, bytes a change", (r) => r.burst.to_there.body_bytes / r.burst.changes, 60, "119"],
  ["login of one with all contacts there: messages forth", (r) => r.login.to_there.transactions, 1, undefined, "200"],
  ["  messages back", (r) => r.login.to_here.transactions, 1, undefined, "100"],
  ["  bodies of both, bytes", (r) => both(r.login, "body_bytes"), 8000],
  ["  on the wire, bytes", (r) => both(r.login, "wire_bytes"), undefined, undefined, "36000"],
  ["idle: reminders a minute", (r) => messages(r.idle) / r.idle.minutes, 1, "0", "0"],
  ["  on the wire, bytes each", (r) => both(r.idle, "wire_bytes") / messages(r.idle), 400],
];
