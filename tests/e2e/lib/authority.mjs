// A certification authority for servers on loopback.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "./paths.mjs";

/** An authority and its certificate for `localhost`, in a folder of their own until `remove`. */
export class Authority {
  constructor() {
    this.dir = mkdtempSync(join(tmpdir(), "pilotlight-ca-"));
    const made = spawnSync(join(root, "scripts/make-ca.sh"), [this.dir, "localhost,127.0.0.1,::1"], { encoding: "utf8" });
    if (made.status !== 0) throw new Error(`make-ca.sh: ${made.error ?? made.stderr}`);
    this.ca = join(this.dir, "ca.pem");
    this.certificate = join(this.dir, "localhost.pem");
    this.privateKey = join(this.dir, "localhost.key");
  }

  remove() {
    rmSync(this.dir, { recursive: true, force: true });
  }
}
