// A certification authority for servers on loopback.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Makes certificates for `localhost`; everything lies in a folder of its own until `remove`. */
export class Authority {
  constructor() {
    this.dir = mkdtempSync(join(tmpdir(), "pilotlight-ca-"));
    this.ca = join(this.dir, "ca.pem");
    this.certificate = join(this.dir, "cert.pem");
    this.privateKey = join(this.dir, "key.pem");
    const caKey = join(this.dir, "ca-key.pem");
    this.#openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
      "-subj", "/CN=Pilotlight tests", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
      "-keyout", caKey, "-out", this.ca);
    const request = join(this.dir, "request.pem");
    this.#openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost",
      "-keyout", this.privateKey, "-out", request);
    const extensions = join(this.dir, "extensions");
    writeFileSync(extensions, "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n");
    this.#openssl("x509", "-req", "-in", request, "-CA", this.ca, "-CAkey", caKey, "-CAcreateserial", "-days", "2",
      "-extfile", extensions, "-out", this.certificate);
  }

  remove() {
    rmSync(this.dir, { recursive: true, force: true });
  }

  #openssl(...args) {
    const { status, stderr, error } = spawnSync("openssl", args, { encoding: "utf8" });
    if (status !== 0) throw new Error(`openssl ${args[0]}: ${error ?? stderr}`);
  }
}
