// What a room of two servers costs each of them, and the wire between: messages and presence changes, all at once and one
// by one, and what is said while nobody says anything, or while people talk.
import { setTimeout as sleep } from "node:timers/promises";
import { Authority } from "../e2e/lib/authority.mjs";
import { Homeserver } from "../e2e/lib/homeserver.mjs";
import { Device, path, until } from "../e2e/lib/matrix.mjs";
import { cpuOf, wireOf } from "./process.mjs";

/** Longer than a batch window, and what may be repeated after it. */
const CALM_MS = 15_000;
const PATIENCE_MS = 300_000;

const BURST = 200;
const SINGLE = 40;
const APART_MS = 500;
const CHANGES = 6;
const CHANGES_APART_MS = 13_000;
const CHANGING = 20;
const TALK_APART_MS = 10_000;

const FILTER = { room: { timeline: { limit: 100 } } };

/** Somebody who reads by long polls, and what they were told. */
class Reader extends Device {
  texts = new Set();
  statuses = new Map();

  static async arrive(server, name) {
    const { userId, token, deviceId } = await Device.register(server.baseUrl, name);
    const reader = new Reader(server.baseUrl, { user_id: userId, access_token: token, device_id: deviceId });
    // Also when its server has ended because of something else that failed.
    reader.done = reader.#read().catch((error) => (reader.failed = error));
    return reader;
  }

  leave() {
    this.left = true;
    return this.done;
  }

  async #read() {
    while (!this.left) {
      const { rooms, presence } = await this.sync({ timeout: 10_000, filter: FILTER });
      for (const [room, { timeline }] of Object.entries(rooms?.join ?? {})) {
        // More came at once than one answer holds.
        if (timeline.limited && this.texts.size > 0) await this.#scrollBack(room, timeline.prev_batch);
        this.#note(timeline.events);
      }
      for (const { sender, content } of presence?.events ?? []) this.statuses.set(sender, content.status_msg);
    }
  }

  #note(events) {
    const texts = events.map(({ content }) => content.body).filter((text) => text);
    const areNew = texts.some((text) => !this.texts.has(text));
    texts.forEach((text) => this.texts.add(text));
    return areNew;
  }

  async #scrollBack(room, from) {
    for (let page; from; from = page.end) {
      page = await this.ok("GET", path("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=100&from={}", room, from));
      if (!this.#note(page.chunk)) return;
    }
  }

  reads(texts) {
    return this.#until("reads all", () => texts.every((text) => this.texts.has(text)));
  }

  sees(others, message) {
    return this.#until(`sees ${message}`, () => others.every(({ userId }) => this.statuses.get(userId) === message));
  }

  #until(what, question) {
    return until(`${this.userId} ${what}`, () => {
      if (this.failed) throw this.failed;
      return question();
    }, PATIENCE_MS);
  }
}

/** Measures servers of two kinds: who says something is on the first, and is heard on the second. */
export async function acrossRoom([hereIs, thereIs], minutes) {
  const authority = new Authority();
  const servers = [];
  try {
    for (const kind of [hereIs, thereIs]) {
      const server = await Homeserver.start({}, kind, { authority, relayed: true });
      server.wire = wireOf(server.relay);
      servers.push(server);
    }
    return await measured(servers, minutes);
  } catch (error) {
    const logs = servers.map((server) => server.log().slice(-2000)).join("\n");
    throw new Error(`${hereIs} and ${thereIs}: ${error.message}\n${logs}`);
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
    authority.remove();
  }
}

/** Both ways together, but for the CPU. */
function sample(servers) {
  const all = servers.flatMap(({ relay }) => relay.transactions);
  const isReminder = ({ edus }) => edus.length > 0 && edus.every(({ content }) => content["org.pilotlight"]?.digest);
  const reminders = all.filter(isReminder).length;
  return {
    at: Date.now(),
    cpu: servers.map(cpuOf),
    wire: servers.reduce((sum, server) => sum + server.wire(), 0),
    transactions: all.length - reminders,
    reminders,
  };
}

async function measured(servers, minutes) {
  const [here, there] = servers;
  const [alice, bob] = await Promise.all([Reader.arrive(here, "alice"), Reader.arrive(there, "bob")]);
  const room = await alice.createRoom();
  await join(bob, room, here);
  const say = async (who, hears, text) => {
    await who.send(room, text);
    await hears.reads([text]);
  };
  await say(alice, bob, "first");
  await say(bob, alice, "second");

  const idle = { cpu: [0, 0] };
  /** What `act` takes until all is still, beyond what an idle server takes. */
  const cost = async (units, act) => {
    await sleep(CALM_MS);
    const before = sample(servers);
    await act();
    await sleep(CALM_MS);
    const after = sample(servers);
    const seconds = (after.at - before.at) / 1000;
    const [cpuHere, cpuThere] = after.cpu.map((cpu, n) => Math.max(0, cpu - before.cpu[n] - idle.cpu[n] * seconds) / units);
    const each = (key) => (after[key] - before[key]) / units;
    return { cpuHere, cpuThere, wire: each("wire"), transactions: each("transactions"), reminders: each("reminders"), seconds };
  };
  const perMinute = async (act) => {
    const before = sample(servers);
    await act();
    const after = sample(servers);
    const took = (after.at - before.at) / 60_000;
    const each = (key) => (after[key] - before[key]) / took;
    return { wire: each("wire"), transactions: each("transactions"), reminders: each("reminders"), cpu: after.cpu.map((cpu, n) => (cpu - before.cpu[n]) / took / 60) };
  };

  await sleep(CALM_MS);
  const silent = await perMinute(() => sleep(minutes * 60_000));
  idle.cpu = silent.cpu;
  const turns = (minutes * 60_000) / TALK_APART_MS;
  const talking = await perMinute(async () => {
    for (let n = 0; n < turns; n++) {
      await (n % 2 ? say(bob, alice, `talk${n}`) : say(alice, bob, `talk${n}`));
      await sleep(TALK_APART_MS);
    }
  });
  const single = await cost(SINGLE, async () => {
    for (let n = 0; n < SINGLE; n++) {
      await say(alice, bob, `single${n}`);
      await sleep(APART_MS);
    }
  });
  const burst = await cost(BURST, async () => {
    const texts = Array.from({ length: BURST }, (_, n) => `burst${n}`);
    const waiting = [...texts];
    const send = async () => {
      for (let text; (text = waiting.shift()); ) await alice.send(room, text);
    };
    await Promise.all([send(), send(), send(), send()]);
    await bob.reads(texts);
  });
  const changes = await cost(CHANGES, async () => {
    for (let n = 0; n < CHANGES; n++) {
      await alice.setPresence("online", `change${n}`);
      await bob.sees([alice], `change${n}`);
      await sleep(CHANGES_APART_MS);
    }
  });
  const many = [];
  for (let n = 0; n < CHANGING; n++) {
    many.push(await Reader.arrive(here, `many${n}`));
    await many[n].join(room);
    await many[n].setPresence("online", "here");
  }
  await bob.sees(many, "here");
  const allChange = await cost(CHANGING, async () => {
    await Promise.all(many.map((one) => one.setPresence("online", "all")));
    await bob.sees(many, "all");
  });
  await Promise.all([alice, bob, ...many].map((one) => one.leave()));
  return { silent, talking, single, burst, changes, allChange };
}

const join = (device, room, server) =>
  device.ok("POST", path("/_matrix/client/v3/join/{}?server_name={}&via={}", room, server.name, server.name), {});

const of = (name, phase) => [
  [`${name}: CPU of the sender's server, ms`, (r) => r[phase].cpuHere * 1000],
  ["  of the other one, ms", (r) => r[phase].cpuThere * 1000],
  ["  on the wire, bytes", (r) => r[phase].wire],
  ["  transactions", (r) => r[phase].transactions],
];

/** What is shown, and how to find it. */
export const acrossRows = [
  ...of(`a message, one each ${APART_MS} ms`, "single"),
  ...of(`a message of ${BURST} at once`, "burst"),
  // What it takes of CPU is less than what an idle server takes now more, now less.
  [`a presence change, one each ${CHANGES_APART_MS / 1000} s: on the wire, bytes`, (r) => r.changes.wire],
  ["  transactions", (r) => r.changes.transactions],
  ...of(`a presence change of ${CHANGING} at once`, "allChange"),
  ["nobody says anything: on the wire, bytes a minute", (r) => r.silent.wire],
  ["  reminders a minute", (r) => r.silent.reminders],
  [`a message each ${TALK_APART_MS / 1000} s, in turn: on the wire, bytes a minute`, (r) => r.talking.wire],
  ["  transactions a minute", (r) => r.talking.transactions],
  ["  reminders a minute", (r) => r.talking.reminders],
];
