// What it costs a server to come into a large room of another one, and what others who use it notice of that.
import { mkdirSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Authority } from "../e2e/lib/authority.mjs";
import { freePort, Homeserver } from "../e2e/lib/homeserver.mjs";
import { Device, path } from "../e2e/lib/matrix.mjs";
import { cpuOf, forgetPeak, memoryOf, quiet } from "./process.mjs";

/** So long others are watched before the join. */
const BEFORE_MS = 10_000;

/** A room of this server's kind with as many members, and as much other state; `use` is called with it. */
export async function hosted({ members, state }, load, use) {
  const authority = new Authority();
  const host = new Homeserver(await freePort(), {}, "pilotlight");
  host.authority = authority;
  host.federationPort = await freePort();
  host.name = `localhost:${host.federationPort}`;
  try {
    const dataDir = join(host.dir, "data");
    mkdirSync(dataDir);
    await load(host, "seed", "--data-dir", dataDir, "--server-name", host.name, "--users", members, "--contacts", 0);
    await host.up();
    await load(host, "gather", "--state", state);
    const { room } = JSON.parse(readFileSync(join(host.dir, "users.json"), "utf8"));
    // A process that has done nothing yet.
    await host.end("SIGTERM");
    await host.up();
    return await use({ host, room, authority });
  } finally {
    await host.stop();
    authority.remove();
  }
}

/** A user of a new server of this kind joins `room` of `host`. */
export async function joined(kind, settings, { host, room, authority }) {
  return await entering(kind, settings, authority, async (guest) => {
    const newcomer = await Device.register(guest.baseUrl, "newcomer");
    await quiet(guest, host);
    forgetPeak(guest);
    const [cpu, memory, began] = [[guest, host].map(cpuOf), memoryOf(guest, "VmRSS"), Date.now()];
    const taken = () => Object.fromEntries([guest, host].map((server, n) => [["guestCpu", "hostCpu"][n], cpuOf(server) - cpu[n]]));
    await enter(guest, newcomer, host, room);
    const answered = { seconds: (Date.now() - began) / 1000, peak: memoryOf(guest, "VmHWM"), ...taken() };
    const { since } = await quiet(guest, host);
    const still = { seconds: (since - began) / 1000, peak: memoryOf(guest, "VmHWM"), ...taken() };
    const { joined } = await newcomer.ok("GET", path("/_matrix/client/v3/rooms/{}/joined_members", room));
    return { kind, settings, memory, members: Object.keys(joined).length, answered, still };
  });
}

/** The same, and how long others who use the new server wait meanwhile, until all is still. */
export async function watched(kind, settings, { host, room, authority }) {
  return await entering(kind, settings, authority, async (guest) => {
    const [newcomer, carol] = [await Device.register(guest.baseUrl, "newcomer"), await Device.register(guest.baseUrl, "carol")];
    const own = await carol.createRoom();
    const asks = new Times(() => carol.ok("GET", "/_matrix/client/v3/account/whoami"));
    const sends = new Times(() => carol.send(own, "on"));
    const ends = [asks, sends].map((times) => times.begin());
    await sleep(BEFORE_MS);
    const before = { whoami: asks.take(), send: sends.take() };
    await enter(guest, newcomer, host, room);
    await sleep(BEFORE_MS);
    const during = { whoami: asks.take(), send: sends.take() };
    [asks, sends].forEach((times) => times.end());
    await Promise.all(ends);
    return { before, during };
  });
}

async function entering(kind, settings, authority, use) {
  const guest = await Homeserver.start(settings, kind, { authority });
  try {
    return await use(guest);
  } catch (error) {
    throw new Error(`${kind}: ${error.message}\n${guest.log().slice(-2000)}`);
  } finally {
    await guest.stop();
  }
}

/** How long something takes, done again and again. */
class Times {
  #all = [];
  #act;
  #ended = false;
  #began = undefined;

  constructor(act) {
    this.#act = act;
  }

  async begin() {
    while (!this.#ended) {
      this.#began = performance.now();
      await this.#act();
      this.#all.push(performance.now() - this.#began);
      this.#began = undefined;
      await sleep(20);
    }
  }

  end() {
    this.#ended = true;
  }

  /** Those since it was asked last, that which is under way too. */
  take() {
    const all = this.#all.concat(this.#began === undefined ? [] : performance.now() - this.#began).sort((a, b) => a - b);
    this.#all = [];
    const at = (share) => all[Math.floor((all.length - 1) * share)];
    return { times: all.length, p50: at(0.5), p99: at(0.99), max: at(1) };
  }
}

/** A request that may take as long as it takes. */
function post(server, device, target) {
  const headers = { authorization: `Bearer ${device.token}`, "content-type": "application/json", "content-length": 2 };
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: "127.0.0.1", port: server.port, method: "POST", path: target, headers, agent: false }, (incoming) => {
      const chunks = [];
      incoming.on("data", (chunk) => chunks.push(chunk));
      incoming.on("error", reject);
      incoming.on("end", () => resolve({ status: incoming.statusCode, text: Buffer.concat(chunks).toString() }));
    });
    outgoing.on("error", reject);
    outgoing.end("{}");
  });
}

async function enter(guest, newcomer, host, room) {
  const { status, text } = await post(guest, newcomer, path("/_matrix/client/v3/join/{}?server_name={}&via={}", room, host.name, host.name));
  if (status !== 200) throw new Error(`the join was answered ${status} ${text}`);
}

const others = (what, key) => [
  [`meanwhile, ${what}, p99 ms`, (r) => r.others?.during[key].p99],
  ["  at the longest, ms", (r) => r.others?.during[key].max],
  ["  p99 before, ms", (r) => r.others?.before[key].p99],
  ["  at the longest before, ms", (r) => r.others?.before[key].max],
];

/** What is shown, and how to find it. */
export const joinRows = [
  ["until it is answered: CPU of the joining server, s", (r) => r.answered.guestCpu],
  ["  of the host, s", (r) => r.answered.hostCpu],
  ["  time, s", (r) => r.answered.seconds],
  ["until all is still: CPU of the joining server, s", (r) => r.still.guestCpu],
  ["  of the host, s", (r) => r.still.hostCpu],
  ["  time, s", (r) => r.still.seconds],
  ["memory before, MiB", (r) => r.memory],
  ["  at most until it is answered, MiB", (r) => r.answered.peak],
  ["  at most, MiB", (r) => r.still.peak],
  ...others("another user's whoami", "whoami"),
  ...others("another user's send elsewhere", "send"),
];
