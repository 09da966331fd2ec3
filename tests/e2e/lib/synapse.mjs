// How to run Synapse with everything open and no rate limits.
// Settings over the defaults are its own; the names of ours it passes over.
import { spawnSync } from "node:child_process";
import { createPrivateKey, createPublicKey, randomBytes } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./paths.mjs";
import { PRIVATE_PREFIX, unpadded } from "./peer.mjs";

const python = process.env.SYNAPSE_PYTHON ?? join(root, ".tools/synapse/bin/python");
const modules = join(root, "tests/e2e/lib");
const limits = [
  "rc_message", "rc_registration", "rc_joins_per_room", "rc_room_creation", "rc_profile", "rc_admin_redaction",
];

/** The command, arguments and environment that run it in the homeserver's folder. */
export function synapseCommand(homeserver) {
  const { dir } = homeserver;
  const env = { PYTHONPATH: modules, PYTHONDONTWRITEBYTECODE: "1" };
  const config = join(dir, "homeserver.json");
  if (!existsSync(config)) {
    writeFileSync(config, JSON.stringify(settings(homeserver)));
    writeFileSync(join(dir, "logging.json"), JSON.stringify(logging));
    const made = spawnSync(python, ["-m", "synapse.app.homeserver", "-c", config, "--generate-keys"], { encoding: "utf8", env: { ...process.env, ...env } });
    if (made.status !== 0) throw new Error(`synapse: ${made.error ?? made.stderr}`);
  }
  return [python, ["-m", "synapse.app.homeserver", "-c", config], env];
}

/** Gives it another signing key; the one that it had becomes one of its former keys. */
export function rotateSynapseKey({ dir }) {
  const [keyFile, config] = [join(dir, "signing.key"), join(dir, "homeserver.json")];
  const [algorithm, version, seed] = readFileSync(keyFile, "utf8").trim().split(/\s+/);
  const key = createPrivateKey({ key: Buffer.concat([PRIVATE_PREFIX, Buffer.from(seed, "base64")]), format: "der", type: "pkcs8" });
  const former = unpadded(Buffer.from(createPublicKey(key).export({ format: "jwk" }).x, "base64url"));
  const before = JSON.parse(readFileSync(config, "utf8"));
  const old_signing_keys = { ...before.old_signing_keys, [`${algorithm}:${version}`]: { key: former, expired_ts: Date.now() } };
  writeFileSync(config, JSON.stringify({ ...before, old_signing_keys }));
  writeFileSync(keyFile, `${algorithm} a_${randomBytes(3).toString("hex")} ${unpadded(randomBytes(32))}\n`);
}

function settings({ name, dir, port, federationPort, authority, settings }) {
  const free = { per_second: 1_000_000, burst_count: 1_000_000 };
  return {
    server_name: name,
    listeners: [listener(port, "client", false), ...(authority ? [listener(federationPort, "federation", true)] : [])],
    ...(authority && {
      tls_certificate_path: authority.certificate,
      tls_private_key_path: authority.privateKey,
      federation_custom_ca_list: [authority.ca],
      ip_range_blacklist: [],
      federation_ip_range_blacklist: [],
    }),
    database: { name: "sqlite3", args: { database: join(dir, "homeserver.db") } },
    log_config: join(dir, "logging.json"),
    media_store_path: join(dir, "media"),
    signing_key_path: join(dir, "signing.key"),
    pid_file: join(dir, "pid"),
    report_stats: false,
    trusted_key_servers: [],
    suppress_key_server_warning: true,
    enable_registration: true,
    enable_registration_without_verification: true,
    bcrypt_rounds: 4,
    macaroon_secret_key: "only for tests",
    form_secret: "only for tests",
    registration_shared_secret: "only for tests",
    ...Object.fromEntries(limits.map((name) => [name, free])),
    rc_login: { address: free, account: free, failed_attempts: free },
    rc_joins: { local: free, remote: free },
    rc_invites: { per_room: free, per_user: free, per_issuer: free },
    rc_presence: { per_user: free },
    rc_federation: { window_size: 1000, sleep_limit: 1_000_000, sleep_delay: 1, reject_limit: 1_000_000, concurrent: 100 },
    ...settings,
  };
}

function listener(port, resource, tls) {
  return { port, bind_addresses: ["127.0.0.1"], type: "http", tls, resources: [{ names: [resource], compress: false }] };
}

const logging = {
  version: 1,
  disable_existing_loggers: false,
  handlers: { console: { class: "logging.StreamHandler" } },
  root: { level: "WARNING", handlers: ["console"] },
};
