// Starts one homeserver on loopback, with a data folder of its own, and ends it by its process id.
//
// The server under test is this project's binary ($PILOTLIGHT_BIN, default target/debug/pilotlight).
// HOMESERVER=synapse puts a stock one in its place (after `scripts/need.sh synapse`), to see that a test
// asks for what Matrix says and not for what we happen to do.
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, openSync, closeSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root, serverName } from "./paths.mjs";
import { Relay } from "./relay.mjs";
import { rotateSynapseKey, synapseCommand } from "./synapse.mjs";

const kindUnderTest = process.env.HOMESERVER ?? "pilotlight";

/** Whether the server under test is a stock one. */
export const stock = kindUnderTest === "synapse";

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 15_000;

export class Homeserver {
  /**
   * Starts one with `settings` (`{"presence.offline_grace": "2s"}`) over the defaults. With an `authority` it
   * speaks with other servers, and its name has the port at which they reach it; when `relayed`, they reach
   * it through `server.relay`.
   */
  static async start(settings = {}, kind = kindUnderTest, { authority, relayed = false } = {}) {
    const server = new Homeserver(await freePort(), settings, kind);
    if (authority) {
      server.authority = authority;
      server.federationPort = await freePort();
      if (relayed) server.relay = await Relay.start(authority, server.federationPort);
      server.name = `localhost:${server.relay?.port ?? server.federationPort}`;
    }
    await server.up();
    return server;
  }

  constructor(port, settings, kind) {
    this.kind = kind;
    this.name = serverName;
    this.dir = mkdtempSync(join(tmpdir(), "pilotlight-e2e-"));
    this.port = port;
    this.baseUrl = `http://127.0.0.1:${port}`;
    this.settings = settings;
  }

  /** Runs the server on the data it has and waits until it answers. */
  async up() {
    const [program, args, env] = this.kind === "synapse" ? synapseCommand(this) : pilotlightCommand(this);
    const log = openSync(join(this.dir, "log"), "a");
    this.process = spawn(program, args, { cwd: this.dir, env: { ...process.env, ...env }, stdio: ["ignore", log, log] });
    closeSync(log);
    this.exited = new Promise((resolve, reject) => {
      this.process.once("exit", (code, signal) => resolve({ code, signal }));
      this.process.once("error", reject);
    });
    let gone = false;
    this.exited.then(() => (gone = true), () => (gone = true));
    for (const deadline = Date.now() + START_TIMEOUT_MS; ; ) {
      if (await answers(this.baseUrl)) return;
      if (gone || Date.now() > deadline) throw new Error(`the server did not come up:\n${this.log()}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Has a server that is not running sign with another key; the one that it had is published as a former one. */
  rotateKey() {
    if (this.kind === "synapse") return rotateSynapseKey(this);
    const [program, [, ...settings]] = pilotlightCommand(this);
    const { status, stderr } = spawnSync(program, ["keys", "rotate", ...settings], { encoding: "utf8" });
    if (status !== 0) throw new Error(`keys rotate: ${status} ${stderr}`);
  }

  /** Ends the process with `signal` and waits for its end. */
  async end(signal) {
    this.process.kill(signal);
    const slow = setTimeout(() => this.process.kill("SIGKILL"), STOP_TIMEOUT_MS);
    const how = await this.exited;
    clearTimeout(slow);
    return how;
  }

  /** Ends the server as an operator would, and removes its data. */
  async stop() {
    // What failed before it was started is said by who failed.
    const how = this.process && (await this.end("SIGTERM"));
    await this.relay?.stop();
    rmSync(this.dir, { recursive: true, force: true });
    return how;
  }

  /** Everything the server has said so far. */
  log() {
    return readFileSync(join(this.dir, "log"), "utf8");
  }
}

function pilotlightCommand({ name, dir, port, federationPort, authority, settings }) {
  const federation = authority && {
    "federation.listen": `127.0.0.1:${federationPort}`,
    "federation.tls_certificate": authority.certificate,
    "federation.tls_private_key": authority.privateKey,
    "federation.trusted_ca": authority.ca,
    "federation.allow_addresses": "127.0.0.0/8,::1/128",
  };
  const all = {
    server_name: name, data_dir: join(dir, "data"), listen: `127.0.0.1:${port}`, "rate_limits.enabled": false, ...federation,
    ...settings,
  };
  const args = Object.entries(all).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
  const program = process.env.PILOTLIGHT_BIN ?? join(root, "target/debug/pilotlight");
  return [program, ["serve", ...args], {}];
}

async function answers(baseUrl) {
  try {
    return (await fetch(`${baseUrl}/_matrix/client/versions`)).ok;
  } catch {
    return false;
  }
}

// Not among the ports that the system gives to connections: a server that was killed finds its own free again. Each
// process of the tests has a hundred for itself, by listening at the first of them as long as it lives: else the port of a
// server that is down for a while would be another process's next.
const BLOCKS = 76;
let candidate, owning;

async function ownBlock() {
  for (let n = 0; n < BLOCKS; n++) {
    const first = 12_000 + ((process.pid + n) % BLOCKS) * 100;
    const guard = await listen(first);
    if (guard) {
      guard.unref();
      candidate = first + 1;
      return;
    }
  }
  throw new Error("no ports are left for this process");
}

/** A port of loopback that nobody listens at. */
export async function freePort() {
  await (owning ??= ownBlock());
  for (;;) {
    const port = candidate++;
    const probe = await listen(port);
    if (probe) return new Promise((resolve) => probe.close(() => resolve(port)));
  }
}

function listen(port) {
  return new Promise((resolve) => {
    const server = createServer().once("error", () => resolve(undefined));
    server.listen(port, "127.0.0.1", () => resolve(server));
  });
}
