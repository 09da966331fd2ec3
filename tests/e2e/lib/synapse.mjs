// How to run Synapse with everything open and no rate limits.
import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root, serverName } from "./paths.mjs";

const python = process.env.SYNAPSE_PYTHON ?? join(root, ".tools/synapse/bin/python");
const limits = [
  "rc_message", "rc_registration", "rc_joins_per_room", "rc_room_creation", "rc_profile", "rc_admin_redaction",
];

/** The command, arguments and environment that run it in the homeserver's folder. */
export function synapseCommand({ dir, port }) {
  const config = join(dir, "homeserver.json");
  if (!existsSync(config)) {
    writeFileSync(config, JSON.stringify(settings(dir, port)));
    writeFileSync(join(dir, "logging.json"), JSON.stringify(logging));
    const made = spawnSync(python, ["-m", "synapse.app.homeserver", "-c", config, "--generate-keys"], { encoding: "utf8" });
    if (made.status !== 0) throw new Error(`synapse: ${made.error ?? made.stderr}`);
  }
  return [python, ["-m", "synapse.app.homeserver", "-c", config], {}];
}

function settings(dir, port) {
  const free = { per_second: 1_000_000, burst_count: 1_000_000 };
  return {
    server_name: serverName,
    listeners: [{ port, bind_addresses: ["127.0.0.1"], type: "http", tls: false, resources: [{ names: ["client"], compress: false }] }],
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
  };
}

const logging = {
  version: 1,
  disable_existing_loggers: false,
  handlers: { console: { class: "logging.StreamHandler" } },
  root: { level: "WARNING", handlers: ["console"] },
};
