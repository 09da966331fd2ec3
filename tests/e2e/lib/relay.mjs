// Stands between a homeserver and those who ask it something: it has the name and the certificate, passes
// everything on, and writes down the transactions, and the brief reminders. TLS ends here and begins anew; signatures stay whole.
import { readFileSync } from "node:fs";
import { Agent, createServer, request } from "node:https";

const TIMEOUT_MS = 60_000;
const BRIEF = "/_matrix/federation/unstable/org.pilotlight/r/";

export class Relay {
  /** The transactions that arrived: `{at, bytes, edus, status}`. */
  transactions = [];
  /** While set, whoever connects is hung up on. */
  cut = false;

  /** Passes on to the TLS port `target` of loopback. */
  static async start(authority, target) {
    const relay = new Relay(authority, target);
    await new Promise((resolve, reject) => relay.server.once("error", reject).listen(0, "127.0.0.1", resolve));
    relay.port = relay.server.address().port;
    return relay;
  }

  constructor({ ca, certificate, privateKey }, target) {
    this.target = target;
    this.agent = new Agent({ ca: readFileSync(ca), servername: "localhost", keepAlive: true });
    const tls = { cert: readFileSync(certificate), key: readFileSync(privateKey) };
    this.server = createServer(tls, (incoming, outgoing) => this.#take(incoming, outgoing));
    this.server.on("connection", (socket) => this.cut && socket.destroy());
  }

  /** From now on nobody comes through; or, with `false`, everybody does again. */
  setCut(cut) {
    this.cut = cut;
    if (cut) this.server.closeAllConnections();
  }

  stop() {
    this.server.closeAllConnections();
    this.agent.destroy();
    return new Promise((resolve) => this.server.close(resolve));
  }

  #take(incoming, outgoing) {
    const chunks = [];
    incoming.on("data", (chunk) => chunks.push(chunk));
    incoming.on("error", () => outgoing.destroy());
    incoming.on("end", () => this.#pass(incoming, Buffer.concat(chunks), outgoing));
  }

  #pass({ method, url, headers }, body, outgoing) {
    const to = { host: "127.0.0.1", port: this.target, method, path: url, headers, agent: this.agent, timeout: TIMEOUT_MS };
    const onward = request(to, (answer) => {
      if (method === "PUT" && url.startsWith("/_matrix/federation/v1/send/")) this.#note(body, answer.statusCode);
      if (method === "GET" && url.startsWith(BRIEF)) this.#noteBrief(url, answer.statusCode);
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    });
    // The server is away: whoever asks is told as it would be without a relay, by a connection that ends.
    onward.on("error", () => outgoing.destroy());
    onward.on("timeout", () => onward.destroy());
    onward.end(body);
  }

  /** A reminder in the brief form, as the EDU that it stands for. */
  #noteBrief(url, status) {
    const [at, seq, ...digest] = url.slice(BRIEF.length).split(/[.~!]/);
    const content = { "org.pilotlight": { at: [at, seq], digest, answer: url.includes("~") } };
    this.transactions.push({ at: Date.now(), bytes: url.length, edus: [{ edu_type: "m.presence", content }], status });
  }

  #note(body, status) {
    const { edus = [] } = JSON.parse(body);
    this.transactions.push({ at: Date.now(), bytes: body.length, edus, status });
  }
}

/** What presence EDUs say: how many users each of them pushes, polls and so on, in our form or Matrix's. */
export function presenceIn(transactions) {
  const edus = transactions.flatMap(({ edus }) => edus).filter(({ edu_type: type }) => type === "m.presence");
  return edus.map(({ content }) => {
    const ours = content["org.pilotlight"] ?? {};
    const size = (key) => (content[key]?.length ?? 0) + (ours[key]?.length ?? 0);
    return {
      push: size("push"), poll: size("poll"), unpoll: size("unpoll"), withdrawn: size("withdrawn"),
      once: size("once"), told: size("told"), reminder: ours.digest !== undefined, answer: ours.answer === true,
    };
  });
}
