// `make federation-demo` without its build: two servers, two users who see one another, and an end by Ctrl-C.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { freePort } from "./lib/homeserver.mjs";
import { Device, path, until } from "./lib/matrix.mjs";
import { root } from "./lib/paths.mjs";

const bin = process.env.PILOTLIGHT_BIN ?? join(root, "target/debug/pilotlight");
const dir = mkdtempSync(join(tmpdir(), "pilotlight-demo-"));
let demo;

after(() => {
  demo?.process.kill("SIGTERM");
  rmSync(dir, { recursive: true, force: true });
});

/** Four ports in a row that nobody listens at. */
async function freePorts() {
  for (;;) {
    const first = await freePort();
    const ports = [first, first + 1, first + 2, first + 3];
    if (!(await Promise.all(ports.map(listens))).some(Boolean)) return first;
  }
}

function listens(port) {
  return new Promise((resolve) => {
    const socket = createConnection(port, "127.0.0.1");
    socket.once("connect", () => resolve(true) || socket.destroy()).once("error", () => resolve(false));
  });
}

/** Runs the script until it has told where to look. */
async function start(port) {
  const env = { ...process.env, PILOTLIGHT_BIN: bin, DEMO_DIR: dir, DEMO_PORT: String(port) };
  const child = spawn(join(root, "scripts/federation-demo.sh"), { env, stdio: ["ignore", "pipe", "pipe"] });
  const running = { process: child, output: "", exited: new Promise((resolve) => child.once("exit", (code) => resolve(code))) };
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (running.output += chunk));
  await until("the demo runs", () => {
    assert.equal(child.exitCode, null, running.output);
    return running.output.includes("Ctrl-C ends both");
  });
  return running;
}

const stateOf = async (observer, observed) => {
  const sync = await observer.ok("GET", "/_matrix/client/v3/sync?timeout=0");
  const event = sync.presence?.events?.find(({ sender }) => sender === observed.userId);
  return event?.content["org.pilotlight.presence"].state;
};

test("two people on two servers see one another, and a second run goes on with the same data", async () => {
  const port = await freePorts();
  demo = await start(port);
  const log = (user, at) => Device.login(`http://127.0.0.1:${at}`, user, `${user}-${user}`);
  const [alice, bob] = [await log("alice", port), await log("bob", port + 1)];
  assert.equal(alice.userId, `@alice:localhost:${port + 2}`);
  assert.ok(demo.output.includes(bob.userId) && demo.output.includes(alice.userId), "whom to add is told");

  const list = (device) => path("/_matrix/client/v3/presence/list/{}", device.userId);
  const ours = (device) => path("/_matrix/client/unstable/org.pilotlight/presence/requests/{}", device.userId);
  await alice.ok("POST", list(alice), { invite: [bob.userId] });
  await until("Bob is asked", async () => (await bob.ok("GET", ours(bob))).requests.includes(alice.userId));
  await bob.ok("POST", `${ours(bob)}/${encodeURIComponent(alice.userId)}`, { answer: "accept" });
  await bob.ok("POST", list(bob), { invite: [alice.userId] });
  // Who looks is there: both look, whatever the other sees.
  const both = () => Promise.all([stateOf(alice, bob), stateOf(bob, alice)]);
  await until("each sees the other", async () => (await both()).every((state) => state === "online"));
  await bob.ok("PUT", path("/_matrix/client/v3/presence/{}/status", bob.userId), { presence: "busy" });
  await until("a change is seen", async () => (await both())[0] === "busy");

  // What the text says to try.
  const config = ["--config", join(dir, "here.toml")];
  const peers = JSON.parse(spawnSync(bin, ["peers", "--json", ...config], { encoding: "utf8" }).stdout);
  assert.deepEqual(peers.peers.map(({ server, speech, held }) => ({ server, speech, held })), [
    { server: `localhost:${port + 3}`, speech: "pilotlight", held: 1 },
  ]);
  const check = spawnSync(bin, ["check", `localhost:${port + 3}`, "--signed", ...config], { encoding: "utf8" });
  assert.equal(check.status, 0, check.stdout + check.stderr);

  demo.process.kill("SIGINT");
  const begun = Date.now();
  assert.equal(await demo.exited, 0, demo.output);
  assert.ok(Date.now() - begun < 5_000, "within five seconds");
  for (const one of [port, port + 1, port + 2, port + 3]) assert.equal(await listens(one), false, "both servers have ended");

  demo = await start(port);
  const again = await log("alice", port);
  const [entry] = await again.ok("GET", list(again));
  assert.equal(entry.sender, bob.userId);
  demo.process.kill("SIGTERM");
  assert.equal(await demo.exited, 0, demo.output);
});
