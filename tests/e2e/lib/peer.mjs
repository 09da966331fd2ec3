// What a homeserver says to another, signed with its key: for what no server of that kind says by itself.
import { createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { request } from "node:https";

// What comes before the 32 bytes of an Ed25519 key in PKCS #8 and in SubjectPublicKeyInfo.
export const PRIVATE_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
const PUBLIC_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

/** Base64 as Matrix writes it. */
export const unpadded = (bytes) => bytes.toString("base64").replace(/=+$/, "");

/** Matrix's canonical JSON, for values whose numbers are integers. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const keys = Object.keys(value).filter((key) => value[key] !== undefined).sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
}

/** Whether `object` carries a good signature of `server` by a key in `keys` (`{"ed25519:1": {key}}`). */
export function isSignedBy(object, server, keys) {
  const { signatures, unsigned: _, ...signed } = object;
  return Object.entries(signatures?.[server] ?? {}).some(([id, signature]) => {
    if (!keys[id]) return false;
    const der = Buffer.concat([PUBLIC_PREFIX, Buffer.from(keys[id].key, "base64")]);
    const key = createPublicKey({ key: der, format: "der", type: "spki" });
    return verify(null, Buffer.from(canonical(signed)), key, Buffer.from(signature, "base64"));
  });
}

/** Speaks over TLS, in the name of a server whose signing key (a file as Synapse writes it) it has. */
export class Peer {
  /** Without `keyFile` the requests are not signed. */
  constructor({ name, ca, keyFile }) {
    this.name = name;
    this.ca = readFileSync(ca);
    if (!keyFile) return;
    const [algorithm, version, seed] = readFileSync(keyFile, "utf8").trim().split(/\s+/);
    this.keyId = `${algorithm}:${version}`;
    this.key = createPrivateKey({ key: Buffer.concat([PRIVATE_PREFIX, Buffer.from(seed, "base64")]), format: "der", type: "pkcs8" });
  }

  /** The same key, used in the name of another server. */
  as(name) {
    return Object.assign(Object.create(this), { name });
  }

  /** One request to the server called `destination`; resolves to `{status, body}`, whatever the status. */
  ask(destination, method, uri, content) {
    const headers = { ...(this.key && { authorization: this.authorization(destination, method, uri, content) }) };
    const bytes = content === undefined ? undefined : JSON.stringify(content);
    if (bytes !== undefined) Object.assign(headers, { "content-type": "application/json", "content-length": Buffer.byteLength(bytes) });
    return new Promise((resolve, reject) => {
      const outgoing = request(`https://${destination}${uri}`, { method, headers, ca: this.ca, agent: false }, (incoming) => {
        const chunks = [];
        incoming.on("data", (chunk) => chunks.push(chunk));
        incoming.on("error", reject);
        incoming.on("end", () => {
          const text = Buffer.concat(chunks).toString();
          resolve({ status: incoming.statusCode, body: JSON.parse(text) });
        });
      });
      outgoing.on("error", reject);
      outgoing.end(bytes);
    });
  }

  /** A transaction of these EDUs. */
  send(destination, txnId, ...edus) {
    const content = { origin: this.name, origin_server_ts: Date.now(), pdus: [], edus };
    return this.ask(destination, "PUT", `/_matrix/federation/v1/send/${encodeURIComponent(txnId)}`, content);
  }

  authorization(destination, method, uri, content) {
    const signed = canonical({ content, destination, method, origin: this.name, uri });
    const signature = unpadded(sign(null, Buffer.from(signed), this.key));
    return `X-Matrix origin="${this.name}",destination="${destination}",key="${this.keyId}",sig="${signature}"`;
  }
}
