// A TURN server of the test's own on loopback: coturn, with the secret that the homeserver has too.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "./homeserver.mjs";
import { until } from "./matrix.mjs";

/** How many ports it relays at: what a page that went away had is given back late where that was not heard. */
const RELAYED = 48;
const SECRET = "north star";

export class Turn {
  static async start() {
    const turn = new Turn();
    turn.dir = mkdtempSync(join(tmpdir(), "pilotlight-turn-"));
    turn.port = await freePort();
    const relayed = [];
    while (relayed.length < RELAYED) relayed.push(await freePort());
    const settings = {
      "listening-ip": "127.0.0.1", "relay-ip": "127.0.0.1", "listening-port": turn.port, "min-port": relayed[0], "max-port": relayed.at(-1),
      realm: "localhost", "static-auth-secret": SECRET, "log-file": "stdout", userdb: join(turn.dir, "users"), pidfile: join(turn.dir, "pid"),
    };
    const flags = ["use-auth-secret", "fingerprint", "no-tls", "no-dtls", "no-cli", "allow-loopback-peers"];
    const args = [...flags.map((flag) => `--${flag}`), ...Object.entries(settings).map(([name, value]) => `--${name}=${value}`)];
    turn.args = args;
    turn.said = "";
    await turn.#up();
    return turn;
  }

  async #up() {
    this.process = spawn("turnserver", ["-n", ...this.args], { cwd: this.dir, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.process.stdout, this.process.stderr]) stream.on("data", (text) => (this.said += text));
    this.exited = new Promise((resolve) => this.process.once("exit", resolve).once("error", resolve));
    await until("the TURN server listens", () => answers(this.port)).catch((error) => {
      throw new Error(`${error.message}\n${this.said}`);
    });
  }

  /** Ends it, with all that it relays, and starts another one in its place. */
  async restart() {
    this.process.kill("SIGKILL");
    await this.exited;
    await this.#up();
  }

  /** What a homeserver is told of it. */
  get settings() {
    return { "turn.uris": `turn:127.0.0.1:${this.port}?transport=udp,turn:127.0.0.1:${this.port}?transport=tcp`, "turn.shared_secret": SECRET };
  }

  async stop() {
    this.process.kill("SIGTERM");
    await this.exited;
    rmSync(this.dir, { recursive: true, force: true });
  }
}

function answers(port) {
  return new Promise((resolve) => {
    const socket = createConnection(port, "127.0.0.1", () => resolve(socket.destroy()));
    socket.once("error", () => resolve(false));
  });
}
