// Stands between a homeserver and its clients, as a proxy does: counts who has the held stream, and can hold answers back.
import { createServer, request } from "node:http";

const STREAM = "/_matrix/client/unstable/org.pilotlight/stream";

export class Doorway {
  /** The held streams that are open: the queries with which they were asked for. */
  streams = new Set();
  /** The paths of all requests, without their queries. */
  asked = [];
  /** While set, no answer is passed on before it has ended: a stream never is. */
  holdsBack = false;

  static async start(server) {
    const doorway = new Doorway(server);
    await new Promise((resolve) => doorway.door.listen(0, "127.0.0.1", resolve));
    doorway.baseUrl = `http://127.0.0.1:${doorway.door.address().port}`;
    return doorway;
  }

  constructor(server) {
    this.server = server;
    this.door = createServer((incoming, outgoing) => this.#pass(incoming, outgoing));
  }

  /** How often something was asked for. */
  count(path) {
    return this.asked.filter((asked) => asked.endsWith(path)).length;
  }

  /** Hangs up on whoever is connected. */
  cut() {
    this.door.closeAllConnections();
  }

  stop() {
    this.cut();
    return new Promise((resolve) => this.door.close(resolve));
  }

  #pass(incoming, outgoing) {
    const url = new URL(incoming.url, "http://doorway");
    this.asked.push(url.pathname);
    if (url.pathname === STREAM) {
      this.streams.add(url.searchParams);
      outgoing.once("close", () => this.streams.delete(url.searchParams));
    }
    const { method, headers } = incoming;
    const to = { host: "127.0.0.1", port: this.server.port, method, path: incoming.url, headers, agent: false };
    const onward = request(to, (answer) => {
      const head = () => outgoing.writeHead(answer.statusCode, answer.headers);
      answer.on("error", () => outgoing.destroy());
      if (!this.holdsBack) {
        head();
        outgoing.flushHeaders();
        answer.pipe(outgoing);
        return;
      }
      const chunks = [];
      answer.on("data", (chunk) => chunks.push(chunk));
      answer.on("end", () => head().end(Buffer.concat(chunks)));
    });
    onward.on("error", () => outgoing.destroy());
    outgoing.once("close", () => onward.destroy());
    incoming.pipe(onward);
  }
}
