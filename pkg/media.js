// Files: up to the homeserver and down from it. Their bytes never pass through the wasm.
import { PilotlightError } from "./index.js";
import { badArgument, checkFields } from "./options.js";

const UPLOAD = "/_matrix/media/v3/upload";
const MEDIA = "/_matrix/client/v1/media";

/** The path of `mxc://server/id`, below what is asked of it. */
function below(uri) {
  const [, server, id] = (typeof uri === "string" && /^mxc:\/\/([^/?#]+)\/([\w-]+)$/.exec(uri)) || [];
  if (id === undefined) throw badArgument("uri must look like mxc://server/id");
  return `${encodeURIComponent(server)}/${id}`;
}

const isFile = (file) => typeof file === "string" || file instanceof Blob || file instanceof ArrayBuffer || ArrayBuffer.isView(file);

function refused(status, text) {
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    return new PilotlightError("BAD_ANSWER", `the server answered ${status}`, status);
  }
  return new PilotlightError(body?.errcode ?? "BAD_ANSWER", body?.error ?? `the server answered ${status}`, status, body?.retry_after_ms);
}

function unreached(error, signal) {
  if (signal?.aborted) return signal.reason;
  return new PilotlightError("NETWORK", String(error?.message ?? error));
}

const headers = ({ session }) => ({ Authorization: `Bearer ${session.accessToken}` });
const urlOf = ({ session }, path) => session.baseUrl.replace(/\/+$/, "") + path;

async function get(client, path, signal) {
  let answer;
  try {
    answer = await fetch(urlOf(client, path), { headers: headers(client), signal });
    if (answer.ok) return await answer.blob();
  } catch (error) {
    throw unreached(error, signal);
  }
  throw refused(answer.status, await answer.text());
}

/** With progress, which only the old way tells. */
function sendTold(client, path, file, type, onProgress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.open("POST", urlOf(client, path));
    for (const [name, value] of Object.entries({ ...headers(client), "Content-Type": type })) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => onProgress(loaded, total);
    request.onload = () => resolve([request.status, request.responseText]);
    request.onerror = () => reject(unreached("the connection failed"));
    request.onabort = () => reject(unreached("aborted", signal));
    request.onloadend = () => signal?.removeEventListener("abort", abort);
    signal?.addEventListener("abort", abort);
    request.send(file);
  });
}

async function send(client, path, file, type, signal) {
  try {
    const answer = await fetch(urlOf(client, path), { method: "POST", headers: { ...headers(client), "Content-Type": type }, body: file, signal });
    return [answer.status, await answer.text()];
  } catch (error) {
    throw unreached(error, signal);
  }
}

/** What a client has of this, by name. */
export const media = {
  async upload(client, file, options = {}) {
    const { name, type, onProgress, signal } = checkFields(options, "options", { name: "text", type: "text", onProgress: "act", signal: "signal" });
    if (!isFile(file)) throw badArgument("file must be a Blob, an ArrayBuffer, a view of one, or a string");
    signal?.throwIfAborted();
    const called = name ?? file?.name;
    const path = UPLOAD + (called ? `?filename=${encodeURIComponent(called)}` : "");
    const kind = type || file?.type || "application/octet-stream";
    const told = onProgress && typeof XMLHttpRequest === "function";
    const [status, text] = await (told ? sendTold(client, path, file, kind, onProgress, signal) : send(client, path, file, kind, signal));
    if (status !== 200) throw refused(status, text);
    return JSON.parse(text).content_uri;
  },
  async uploadLimit(client) {
    const config = await client.request("GET", `${MEDIA}/config`);
    return config?.["m.upload.size"] ?? undefined;
  },
  download: async (client, uri, options = {}) => get(client, `${MEDIA}/download/${below(uri)}`, checkFields(options, "options", { signal: "signal" }).signal),
  async thumbnail(client, uri, options) {
    const { width, height, method = "scale", signal } = checkFields(options, "options", { width: "any", height: "any", method: "any", signal: "signal" });
    for (const [what, size] of [["width", width], ["height", height]]) {
      if (!Number.isInteger(size) || size < 1) throw badArgument(`${what} must be a whole number of pixels`);
    }
    if (method !== "scale" && method !== "crop") throw badArgument("method must be scale or crop");
    return get(client, `${MEDIA}/thumbnail/${below(uri)}?width=${width}&height=${height}&method=${method}`, signal);
  },
  async setAvatar(client, uri) {
    if (uri !== null) below(uri);
    const path = `/_matrix/client/v3/profile/${encodeURIComponent(client.session.userId)}/avatar_url`;
    await client.request("PUT", path, { avatar_url: uri ?? "" });
  },
};
