// Keys for encryption as clients upload them, and signatures that fit.
import { generateKeyPairSync, sign } from "node:crypto";

export const deviceKeys = ({ userId, deviceId }) => ({
  user_id: userId,
  device_id: deviceId,
  algorithms: ["m.olm.v1.curve25519-aes-sha2"],
  keys: { [`ed25519:${deviceId}`]: "Nms4nYz4M9ucq1UGDYrPxhUcqb1qSh5t0z9vbGZl2zs", [`curve25519:${deviceId}`]: "Nms4nYz4M9ucq1UGDYrPxhUcqb1qSh5t0z9vbGZl2zs" },
  signatures: { [userId]: { [`ed25519:${deviceId}`]: "c2lnbmF0dXJl" } },
});

/** A key pair; its public part is its name. */
export function signingKey() {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  return { id: Buffer.from(publicKey.export({ format: "jwk" }).x, "base64url").toString("base64").replace(/=+$/, ""), privateKey };
}

/** JSON as it is signed: keys in order, nothing that servers add. */
const canonical = (value) =>
  Array.isArray(value) ? `[${value.map(canonical).join(",")}]`
  : value && typeof value === "object" ? `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`
  : JSON.stringify(value);

/** `object` with the signature of a device's user on it. */
export function signed(object, { userId }, by) {
  const { signatures: _, unsigned: __, ...plain } = object;
  const signature = sign(null, Buffer.from(canonical(plain)), by.privateKey).toString("base64").replace(/=+$/, "");
  return { ...plain, signatures: { [userId]: { [`ed25519:${by.id}`]: signature } } };
}

export const crossSigningKey = (device, usage, key, by) =>
  signed({ user_id: device.userId, usage: [usage], keys: { [`ed25519:${key.id}`]: key.id } }, device, by);

/** Uploads cross-signing keys, with the password where it is asked for. */
export async function uploadCrossSigning(device, keys) {
  const target = "/_matrix/client/v3/keys/device_signing/upload";
  const { status, body } = await device.request("POST", target, keys);
  if (status === 200) return;
  const auth = { type: "m.login.password", identifier: { type: "m.id.user", user: device.userId }, password: "correct horse", session: body.session };
  await device.ok("POST", target, { ...keys, auth });
}
