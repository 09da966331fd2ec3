// A Matrix client of a few lines, to see what the server says and not what a library makes of it.
import { randomUUID } from "node:crypto";

/** A path with every `{}` filled in by one encoded part. */
export const path = (template, ...parts) => template.replace(/\{\}/g, () => encodeURIComponent(parts.shift()));

/** One request; `body` is sent as JSON. Resolves to `{status, body, headers}`, whatever the status. */
export async function request(baseUrl, method, target, { body, token, signal } = {}) {
  const response = await fetch(baseUrl + target, {
    method,
    signal,
    headers: {
      ...(token && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { "content-type": "application/json" }),
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  let json;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  return { status: response.status, body: json, text, headers: response.headers };
}

/** A logged-in device. */
export class Device {
  static async register(baseUrl, username = `u${randomUUID().slice(0, 8)}`) {
    const body = { username, password: "correct horse", auth: { type: "m.login.dummy" } };
    const { status, body: session } = await request(baseUrl, "POST", "/_matrix/client/v3/register", { body });
    if (status !== 200) throw new Error(`register ${username}: ${status} ${JSON.stringify(session)}`);
    return new Device(baseUrl, session);
  }

  static async login(baseUrl, username, password = "correct horse") {
    const identifier = { type: "m.id.user", user: username };
    const body = { type: "m.login.password", identifier, password };
    const { status, body: session } = await request(baseUrl, "POST", "/_matrix/client/v3/login", { body });
    if (status !== 200) throw new Error(`log in ${username}: ${status} ${JSON.stringify(session)}`);
    return new Device(baseUrl, session);
  }

  constructor(baseUrl, { user_id, access_token, device_id }) {
    this.baseUrl = baseUrl;
    this.userId = user_id;
    this.token = access_token;
    this.deviceId = device_id;
  }

  request(method, target, body) {
    return request(this.baseUrl, method, target, { body, token: this.token });
  }

  /** The same, and an error unless the answer is 200. */
  async ok(method, target, body) {
    const answer = await this.request(method, target, body);
    if (answer.status !== 200) throw new Error(`${method} ${target}: ${answer.status} ${answer.text}`);
    return answer.body;
  }

  async createRoom(body = { preset: "public_chat" }) {
    return (await this.ok("POST", "/_matrix/client/v3/createRoom", body)).room_id;
  }

  join(roomId) {
    return this.ok("POST", path("/_matrix/client/v3/join/{}", roomId), {});
  }

  async send(roomId, text, txnId = randomUUID()) {
    const target = path("/_matrix/client/v3/rooms/{}/send/m.room.message/{}", roomId, txnId);
    return (await this.ok("PUT", target, { msgtype: "m.text", body: text })).event_id;
  }

  /** Every event of the room by scrolling back from its end, oldest first. */
  async history(roomId, limit = 7) {
    const events = [];
    for (let from = ""; ; ) {
      const page = path("/_matrix/client/v3/rooms/{}/messages?dir=b&limit={}", roomId, limit) + (from && `&from=${from}`);
      const { chunk, end } = await this.ok("GET", page);
      events.unshift(...chunk.reverse());
      if (!end || chunk.length === 0) return events;
      from = encodeURIComponent(end);
    }
  }

  /** One `/sync`; goes on from the last one unless `since` says otherwise. */
  async sync({ timeout = 0, since = this.since, setPresence, filter } = {}) {
    const query = new URLSearchParams({ timeout });
    if (since) query.set("since", since);
    if (setPresence) query.set("set_presence", setPresence);
    if (filter) query.set("filter", typeof filter === "string" ? filter : JSON.stringify(filter));
    const answer = await this.ok("GET", `/_matrix/client/v3/sync?${query}`);
    this.since = answer.next_batch;
    return answer;
  }

  presenceOf(userId) {
    return this.ok("GET", path("/_matrix/client/v3/presence/{}/status", userId));
  }

  setPresence(presence, statusMsg) {
    const body = statusMsg === undefined ? { presence } : { presence, status_msg: statusMsg };
    return this.ok("PUT", path("/_matrix/client/v3/presence/{}/status", this.userId), body);
  }
}

let casts = 0;

/** New users by the names given, each with a number that nobody had before: `{alice, bob}`. */
export async function people(server, ...names) {
  casts += 1;
  const registered = names.map(async (name) => [name, await Device.register(server.baseUrl, `${name}${casts}`)]);
  return Object.fromEntries(await Promise.all(registered));
}

/** A public room of the first one that the others have joined, in this order. */
export async function roomOf(host, ...others) {
  const room = await host.createRoom();
  for (const other of others) await other.join(room);
  return room;
}

/** Waits until `question()` is true (or resolves to something truthy) and gives that back. */
export async function until(what, question, timeoutMs = 20_000) {
  for (const deadline = Date.now() + timeoutMs; ; ) {
    const answer = await question();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
