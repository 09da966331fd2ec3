// Requests byte for byte as written, for what `fetch` would refuse to send or would mend.
import { request } from "node:http";
import { connect } from "node:net";

const TIMEOUT_MS = 20_000;

/** One request over a connection of its own. The answer counts even when the server stops reading early. */
export function exchange(port, method, path, { headers = {}, body = "" } = {}) {
  return new Promise((resolve, reject) => {
    const bytes = Buffer.from(body);
    const sent = { ...headers };
    if (bytes.length > 0) Object.assign(sent, { "content-type": "application/json", "content-length": bytes.length });
    let answered = false;
    const outgoing = request({ host: "127.0.0.1", port, method, path, headers: sent, agent: false }, (incoming) => {
      answered = true;
      const chunks = [];
      incoming.on("data", (chunk) => chunks.push(chunk));
      incoming.on("error", reject);
      incoming.on("end", () => resolve(parsed(incoming, Buffer.concat(chunks).toString())));
    });
    outgoing.setTimeout(TIMEOUT_MS, () => outgoing.destroy(new Error("no answer")));
    outgoing.on("error", (error) => answered || reject(error));
    outgoing.end(bytes);
  });
}

function parsed({ statusCode, headers }, text) {
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = undefined;
  }
  return { status: statusCode, headers, text, body };
}

/** Sends bytes and gives back whatever comes until the server hangs up or falls silent. */
export function raw(port, bytes) {
  return new Promise((resolve) => {
    let answer = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
    const done = () => {
      socket.destroy();
      resolve(answer);
    };
    socket.on("data", (chunk) => (answer += chunk.toString("latin1")));
    socket.on("close", done);
    socket.on("error", done);
    socket.setTimeout(1500, done);
  });
}
