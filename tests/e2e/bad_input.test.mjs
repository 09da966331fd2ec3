// What a client should not send, and what it is told: a table of requests and answers.
// After all of it nothing has changed, nothing has panicked, and the server still answers.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Homeserver, stock } from "./lib/homeserver.mjs";
import { Device, path } from "./lib/matrix.mjs";
import { exchange, raw } from "./lib/wire.mjs";

const V3 = "/_matrix/client/v3";
const deep = (depth) => `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`;
const text = (extra) => `{"msgtype":"m.text","body":"x"${extra}}`;
const utf8 = (bytes) => Buffer.from(bytes, "latin1");

// Each row: what is wrong, the request line, the body (text as it goes on the wire, or bytes), the status and
// the error code; alternatives are separated by `|`. `{room}`, `{me}` and `{other}` are filled in. Rows under
// `anonymous` go without a token. `ours` marks rows where a stock server answers something else, and why.
const table = {
  "JSON": [
    ["cut off", `POST ${V3}/createRoom`, '{"name": "x"', 400, "M_NOT_JSON"],
    ["no body", `POST ${V3}/rooms/{room}/invite`, "", 400, "M_NOT_JSON|M_BAD_JSON|M_MISSING_PARAM"],
    ["two values", `POST ${V3}/createRoom`, "{}{}", 400, "M_NOT_JSON"],
    ["a comma too many", `POST ${V3}/createRoom`, '{"name":"x",}', 400, "M_NOT_JSON"],
    ["invalid UTF-8", `POST ${V3}/createRoom`, utf8('{"name":"\xff\xfe"}'), 400, "M_NOT_JSON"],
    ["a lone surrogate", `PUT ${V3}/profile/{me}/displayname`, '{"displayname":"\\ud800"}', 400, "M_NOT_JSON|M_BAD_JSON", "ours"],
    ["NaN", `PUT ${V3}/rooms/{room}/send/m.room.message/nan`, text(',"n":NaN'), 400, "M_NOT_JSON"],
    ["an array", `POST ${V3}/createRoom`, "[]", 400, "M_BAD_JSON"],
    ["a string", `PUT ${V3}/rooms/{room}/send/m.room.message/str`, '"hello"', 400, "M_BAD_JSON"],
    ["null", `PUT ${V3}/rooms/{room}/state/m.room.topic`, "null", 400, "M_BAD_JSON"],
    ["too deep", `PUT ${V3}/rooms/{room}/send/m.room.message/deep`, deep(5000), 400, "M_NOT_JSON|M_BAD_JSON", "ours"],
    ["too deep, not closed", `POST ${V3}/createRoom`, "[".repeat(100_000), 400, "M_NOT_JSON|M_BAD_JSON", "ours"],
  ],
  "types": [
    ["a room name that is a number", `POST ${V3}/createRoom`, '{"name":5}', 400, "M_BAD_JSON", "ours"],
    ["invitees that are an object", `POST ${V3}/createRoom`, '{"invite":{}}', 400, "M_BAD_JSON", "ours"],
    ["an invitee that is no user", `POST ${V3}/createRoom`, '{"invite":["nobody"]}', 400, "M_INVALID_PARAM|M_BAD_JSON", "ours"],
    ["a preset that does not exist", `POST ${V3}/createRoom`, '{"preset":"secret_club"}', 400, "M_BAD_JSON|M_INVALID_PARAM", "ours"],
    ["a room version that does not exist", `POST ${V3}/createRoom`, '{"room_version":"900"}', 400, "M_UNSUPPORTED_ROOM_VERSION"],
    ["a room version that is a number", `POST ${V3}/createRoom`, '{"room_version":10}', 400, "M_BAD_JSON"],
    ["an alias with a space", `POST ${V3}/createRoom`, '{"room_alias_name":"a b"}', 400, "M_INVALID_PARAM", "ours"],
    ["an alias with a colon", `POST ${V3}/createRoom`, '{"room_alias_name":"a:b"}', 400, "M_INVALID_PARAM", "ours"],
    ["an alias that is taken", `POST ${V3}/createRoom`, '{"room_alias_name":"taken"}', 400, "M_ROOM_IN_USE"],
    ["a display name that is a list", `PUT ${V3}/profile/{me}/displayname`, '{"displayname":["x"]}', 400, "M_BAD_JSON|M_INVALID_PARAM"],
    ["an invitation without a user", `POST ${V3}/rooms/{room}/invite`, "{}", 400, "M_MISSING_PARAM|M_BAD_JSON"],
    ["an invitation of a number", `POST ${V3}/rooms/{room}/invite`, '{"user_id":7}', 400, "M_BAD_JSON|M_INVALID_PARAM", "ours"],
    ["typing that is a word", `PUT ${V3}/rooms/{room}/typing/{me}`, '{"typing":"yes"}', 400, "M_BAD_JSON", "ours"],
    ["account data that is a list", `PUT ${V3}/user/{me}/account_data/x.y`, "[1]", 400, "M_BAD_JSON"],
  ],
  "numbers": [
    ["a fraction in an event", `PUT ${V3}/rooms/{room}/send/m.room.message/frac`, text(',"n":1.5'), 400, "M_BAD_JSON"],
    ["an exponent in an event", `PUT ${V3}/rooms/{room}/send/m.room.message/exp`, text(',"n":1e400'), 400, "M_BAD_JSON|M_NOT_JSON", "ours"],
    ["2^53 in an event", `PUT ${V3}/rooms/{room}/send/m.room.message/big`, text(',"n":9007199254740992'), 400, "M_BAD_JSON"],
    ["-2^53 in an event", `PUT ${V3}/rooms/{room}/send/m.room.message/low`, text(',"n":[{"m":-9007199254740992}]'), 400, "M_BAD_JSON"],
    ["40 digits in an event", `PUT ${V3}/rooms/{room}/send/m.room.message/huge`, text(`,"n":${"9".repeat(40)}`), 400, "M_BAD_JSON"],
    ["a fraction in a state event", `PUT ${V3}/rooms/{room}/state/x.y`, '{"n":0.1}', 400, "M_BAD_JSON"],
    ["a timeout that is a word", `GET ${V3}/sync?timeout=soon`, "", 400, "M_INVALID_PARAM"],
    ["a timeout below zero", `GET ${V3}/sync?timeout=-1`, "", 400, "M_INVALID_PARAM", "ours"],
    ["a timeout of a fraction", `GET ${V3}/sync?timeout=1.5`, "", 400, "M_INVALID_PARAM"],
    ["a timeout of 40 digits", `GET ${V3}/sync?timeout=${"9".repeat(40)}`, "", 400, "M_INVALID_PARAM", "ours"],
    ["a limit that is a word", `GET ${V3}/rooms/{room}/messages?dir=b&limit=all`, "", 400, "M_INVALID_PARAM"],
    ["a limit below zero", `GET ${V3}/rooms/{room}/messages?dir=b&limit=-1`, "", 400, "M_INVALID_PARAM"],
    ["a limit of 40 digits", `GET ${V3}/rooms/{room}/messages?dir=b&limit=${"9".repeat(40)}`, "", 400, "M_INVALID_PARAM", "ours"],
    ["a power level that is a fraction", `PUT ${V3}/rooms/{room}/state/m.room.power_levels`, '{"users_default":0.5}', 400, "M_BAD_JSON"],
    ["a typing timeout of 40 digits", `PUT ${V3}/rooms/{room}/typing/{me}`, `{"typing":true,"timeout":${"9".repeat(40)}}`, 400, "M_BAD_JSON", "ours"],
  ],
  "size": [
    ["an event over 65,536 bytes", `PUT ${V3}/rooms/{room}/send/m.room.message/size`, text(`,"pad":"${"x".repeat(66_000)}"`), 413, "M_TOO_LARGE"],
    ["an event type over 255 bytes", `PUT ${V3}/rooms/{room}/send/${"t".repeat(256)}/type`, "{}", 413, "M_TOO_LARGE|M_INVALID_PARAM"],
    ["a state key over 255 bytes", `PUT ${V3}/rooms/{room}/state/x.y/${"k".repeat(256)}`, "{}", 413, "M_TOO_LARGE|M_INVALID_PARAM"],
    ["a body of 3 MB", `PUT ${V3}/rooms/{room}/send/m.room.message/body`, text(`,"pad":"${"x".repeat(3_000_000)}"`), 413, "M_TOO_LARGE"],
    ["account data of 3 MB", `PUT ${V3}/user/{me}/account_data/x.y`, `{"pad":"${"x".repeat(3_000_000)}"}`, 413, "M_TOO_LARGE", "ours"],
  ],
  "endpoints": [
    ["unknown", `GET ${V3}/nothing/of/the/kind`, "", 404, "M_UNRECOGNIZED"],
    ["unknown, with a body", `POST ${V3}/nothing`, "{}", 404, "M_UNRECOGNIZED"],
    ["unknown version", "GET /_matrix/client/v99/sync", "", 404, "M_UNRECOGNIZED"],
    ["unknown, outside of the client API", "GET /_matrix/nothing", "", 404, "M_UNRECOGNIZED"],
    ["unknown method of /sync", `DELETE ${V3}/sync`, "", 405, "M_UNRECOGNIZED"],
    ["unknown method of /createRoom", `GET ${V3}/createRoom`, "", 405, "M_UNRECOGNIZED"],
    ["unknown method of presence", `POST ${V3}/presence/{me}/status`, "{}", 405, "M_UNRECOGNIZED"],
    ["a path that is not UTF-8", `GET ${V3}/profile/%ff%fe`, "", 400, "M_INVALID_PARAM|M_UNRECOGNIZED", "ours"],
  ],
  "tokens": [
    ["none", `GET ${V3}/account/whoami`, "", 401, "M_MISSING_TOKEN", "anonymous"],
    ["none, and a body that is no JSON", `POST ${V3}/createRoom`, "{", 401, "M_MISSING_TOKEN", "anonymous"],
    ["wrong", `GET ${V3}/account/whoami`, "", 401, "M_UNKNOWN_TOKEN", { authorization: "Bearer nonsense" }],
    ["wrong, on a path for a room", `GET ${V3}/rooms/{room}/state`, "", 401, "M_UNKNOWN_TOKEN", { authorization: "Bearer nonsense" }],
    ["of a device that logged out", `GET ${V3}/account/whoami`, "", 401, "M_UNKNOWN_TOKEN", { authorization: "Bearer {gone}" }],
    ["of another scheme", `GET ${V3}/account/whoami`, "", 401, "M_MISSING_TOKEN", { authorization: "Basic dXNlcjpwYXNz" }],
    ["empty", `GET ${V3}/account/whoami`, "", 401, "M_MISSING_TOKEN|M_UNKNOWN_TOKEN", { authorization: "Bearer " }],
    ["not ASCII", `GET ${V3}/account/whoami`, "", 401, "M_UNKNOWN_TOKEN|M_MISSING_TOKEN", { authorization: "Bearer \xff\xfe" }, "ours"],
  ],
  "accounts": [
    ["a user name in capitals", `POST ${V3}/register`, '{"username":"ALICE X","password":"correct horse","auth":{"type":"m.login.dummy"}}', 400, "M_INVALID_USERNAME", "anonymous"],
    ["a user name that is taken", `POST ${V3}/register`, '{"username":"other","password":"correct horse","auth":{"type":"m.login.dummy"}}', 400, "M_USER_IN_USE", "anonymous"],
    ["a user name that is too long", `POST ${V3}/register`, `{"username":"${"a".repeat(300)}","password":"correct horse","auth":{"type":"m.login.dummy"}}`, 400, "M_INVALID_USERNAME", "anonymous"],
    ["a user name that is a number", `POST ${V3}/register`, '{"username":5,"password":"correct horse","auth":{"type":"m.login.dummy"}}', 400, "M_BAD_JSON|M_INVALID_USERNAME", "anonymous", "ours"],
    ["a wrong password", `POST ${V3}/login`, '{"type":"m.login.password","identifier":{"type":"m.id.user","user":"other"},"password":"wrong"}', 403, "M_FORBIDDEN", "anonymous"],
    ["an unknown user", `POST ${V3}/login`, '{"type":"m.login.password","identifier":{"type":"m.id.user","user":"no one"},"password":"wrong"}', 403, "M_FORBIDDEN", "anonymous"],
    ["an unknown kind of login", `POST ${V3}/login`, '{"type":"m.login.telepathy"}', 400, "M_UNKNOWN", "anonymous", "ours"],
    ["a login without a kind", `POST ${V3}/login`, "{}", 400, "M_MISSING_PARAM|M_BAD_JSON", "anonymous", "ours"],
    ["a password that is a number", `POST ${V3}/login`, '{"type":"m.login.password","identifier":{"type":"m.id.user","user":"other"},"password":5}', 400, "M_BAD_JSON", "anonymous", "ours"],
    ["somebody else's display name", `PUT ${V3}/profile/{other}/displayname`, '{"displayname":"x"}', 403, "M_FORBIDDEN", "ours"],
    ["somebody else's account data", `PUT ${V3}/user/{other}/account_data/x.y`, "{}", 403, "M_FORBIDDEN"],
    ["a profile that does not exist", `GET ${V3}/profile/@nobody:localhost`, "", 404, "M_NOT_FOUND", "ours"],
    ["a profile of nonsense", `GET ${V3}/profile/nonsense`, "", 400, "M_INVALID_PARAM"],
    ["a device that does not exist", `GET ${V3}/devices/NOSUCH`, "", 404, "M_NOT_FOUND"],
  ],
  "rooms": [
    ["a message into an unknown room", `PUT ${V3}/rooms/!nowhere:localhost/send/m.room.message/1`, text(""), 403, "M_FORBIDDEN"],
    ["the state of an unknown room", `GET ${V3}/rooms/!nowhere:localhost/state`, "", 403, "M_FORBIDDEN"],
    ["the messages of an unknown room", `GET ${V3}/rooms/!nowhere:localhost/messages?dir=b`, "", 403, "M_FORBIDDEN"],
    ["a join by an unknown alias", `POST ${V3}/join/%23nowhere:localhost`, "{}", 404, "M_NOT_FOUND"],
    ["a join of an unknown room", `POST ${V3}/join/!nowhere:localhost`, "{}", 404, "M_NOT_FOUND|M_UNKNOWN"],
    ["a join of nonsense", `POST ${V3}/join/nonsense`, "{}", 400, "M_INVALID_PARAM", "ours"],
    ["a room ID that is none", `GET ${V3}/rooms/nonsense/state`, "", 400, "M_INVALID_PARAM", "ours"],
    ["a room the user is not in", `PUT ${V3}/rooms/{closed}/send/m.room.message/1`, text(""), 403, "M_FORBIDDEN"],
    ["a join without an invitation", `POST ${V3}/join/{closed}`, "{}", 403, "M_FORBIDDEN"],
    ["an unknown direction", `GET ${V3}/rooms/{room}/messages?dir=sideways`, "", 400, "M_INVALID_PARAM"],
    ["no direction", `GET ${V3}/rooms/{room}/messages`, "", 400, "M_MISSING_PARAM|M_INVALID_PARAM", "ours"],
    ["a place that is none", `GET ${V3}/rooms/{room}/messages?dir=b&from=nonsense`, "", 400, "M_INVALID_PARAM", "ours"],
    ["an event that does not exist", `GET ${V3}/rooms/{room}/event/$nothing`, "", 404, "M_NOT_FOUND"],
    ["a redaction of nothing", `PUT ${V3}/rooms/{room}/redact/$nothing/1`, "{}", 404, "M_NOT_FOUND", "ours"],
    ["state that is not there", `GET ${V3}/rooms/{room}/state/x.nothing`, "", 404, "M_NOT_FOUND"],
    ["a kick of somebody who is not there", `POST ${V3}/rooms/{room}/kick`, '{"user_id":"@nobody:localhost"}', 403, "M_FORBIDDEN"],
    ["a kick beyond one's power", `POST ${V3}/rooms/{theirs}/kick`, '{"user_id":"{other}"}', 403, "M_FORBIDDEN"],
    ["a power level beyond one's power", `PUT ${V3}/rooms/{theirs}/state/m.room.power_levels`, '{"users":{"{me}":100}}', 403, "M_FORBIDDEN"],
    ["a member event of somebody else", `PUT ${V3}/rooms/{room}/state/m.room.member/{other}`, '{"membership":"join"}', 403, "M_FORBIDDEN"],
    ["a second create event", `PUT ${V3}/rooms/{room}/state/m.room.create`, "{}", 400, "M_UNKNOWN", "ours"],
    ["an alias of nothing", `GET ${V3}/directory/room/%23nowhere:localhost`, "", 404, "M_NOT_FOUND"],
    ["an alias that is none", `GET ${V3}/directory/room/nowhere`, "", 400, "M_INVALID_PARAM"],
  ],
  "presence": [
    ["a state that does not exist", `PUT ${V3}/presence/{me}/status`, '{"presence":"sleeping"}', 400, "M_INVALID_PARAM|M_BAD_JSON", "ours"],
    ["the state that is only shown", `PUT ${V3}/presence/{me}/status`, '{"presence":"unknown"}', 400, "M_INVALID_PARAM|M_BAD_JSON", "ours"],
    ["a state in capitals", `PUT ${V3}/presence/{me}/status`, '{"presence":"ONLINE"}', 400, "M_INVALID_PARAM|M_BAD_JSON", "ours"],
    ["a state that is a number", `PUT ${V3}/presence/{me}/status`, '{"presence":1}', 400, "M_BAD_JSON|M_INVALID_PARAM", "ours"],
    ["no state", `PUT ${V3}/presence/{me}/status`, '{"status_msg":"x"}', 400, "M_MISSING_PARAM|M_BAD_JSON|M_INVALID_PARAM", "ours"],
    ["a status message that is a number", `PUT ${V3}/presence/{me}/status`, '{"presence":"online","status_msg":5}', 400, "M_BAD_JSON|M_INVALID_PARAM", "ours"],
    ["a status message of 100 KB", `PUT ${V3}/presence/{me}/status`, `{"presence":"online","status_msg":"${"x".repeat(100_000)}"}`, [400, 413], "M_BAD_JSON|M_INVALID_PARAM|M_TOO_LARGE", "ours"],
    ["somebody else's state", `PUT ${V3}/presence/{other}/status`, '{"presence":"offline"}', 403, "M_FORBIDDEN"],
    ["somebody who is none", `GET ${V3}/presence/nonsense/status`, "", 400, "M_INVALID_PARAM", "ours"],
    ["a state in /sync that does not exist", `GET ${V3}/sync?set_presence=sleeping`, "", 400, "M_INVALID_PARAM"],
    ["a device's idleness below zero", "PUT /_matrix/client/unstable/org.pilotlight/presence/{me}/device", '{"idle_ms":-1}', 400, "M_BAD_JSON|M_INVALID_PARAM", "ours"],
    ["a device's idleness of a fraction", "PUT /_matrix/client/unstable/org.pilotlight/presence/{me}/device", '{"idle_ms":1.5}', 400, "M_BAD_JSON|M_INVALID_PARAM", "ours"],
    ["a device's idleness beyond 2^53", "PUT /_matrix/client/unstable/org.pilotlight/presence/{me}/device", '{"idle_ms":9007199254740993}', 400, "M_BAD_JSON|M_INVALID_PARAM", "ours"],
    ["a device's idleness that is a word", "PUT /_matrix/client/unstable/org.pilotlight/presence/{me}/device", '{"idle_ms":"long"}', 400, "M_BAD_JSON|M_INVALID_PARAM", "ours"],
    ["a device type of 1,000 letters", "PUT /_matrix/client/unstable/org.pilotlight/presence/{me}/device", `{"idle_ms":0,"device_type":"${"x".repeat(1000)}"}`, 400, "M_BAD_JSON|M_INVALID_PARAM", "ours"],
    ["somebody else's device", "PUT /_matrix/client/unstable/org.pilotlight/presence/{other}/device", '{"idle_ms":0}', 403, "M_FORBIDDEN", "ours"],
  ],
  "sync and filters": [
    ["a token that is none", `GET ${V3}/sync?since=nonsense`, "", 400, "M_INVALID_PARAM|M_UNKNOWN"],
    ["a token of 40 digits", `GET ${V3}/sync?since=p${"9".repeat(40)}_1`, "", 400, "M_INVALID_PARAM|M_UNKNOWN"],
    ["a filter that is no JSON", `GET ${V3}/sync?filter=%7B`, "", 400, "M_NOT_JSON|M_INVALID_PARAM|M_UNKNOWN"],
    ["a filter that does not exist", `GET ${V3}/sync?filter=987654`, "", [400, 404], "M_INVALID_PARAM|M_NOT_FOUND|M_UNKNOWN"],
    ["a filter of wrong types", `POST ${V3}/user/{me}/filter`, '{"room":{"timeline":{"limit":"many"}}}', 400, "M_BAD_JSON", "ours"],
    ["a filter with a limit below zero", `POST ${V3}/user/{me}/filter`, '{"room":{"timeline":{"limit":-1}}}', 400, "M_BAD_JSON|M_INVALID_PARAM", "ours"],
    ["a filter of fractions", `POST ${V3}/user/{me}/filter`, '{"room":{"timeline":{"limit":1.5}}}', 400, "M_BAD_JSON", "ours"],
    ["a filter that is a list", `POST ${V3}/user/{me}/filter`, "[]", 400, "M_BAD_JSON"],
    ["a filter too deep", `POST ${V3}/user/{me}/filter`, deep(5000), 400, "M_BAD_JSON|M_NOT_JSON", "ours"],
    ["a filter too deep, in the address", `GET ${V3}/sync?filter=${encodeURIComponent(deep(500))}`, "", 400, "M_BAD_JSON|M_NOT_JSON|M_INVALID_PARAM", "ours"],
    ["a filter for somebody else", `POST ${V3}/user/{other}/filter`, "{}", 403, "M_FORBIDDEN"],
    ["full_state that is a word", `GET ${V3}/sync?full_state=perhaps`, "", 400, "M_INVALID_PARAM", "ours"],
  ],
};

let server, me, other, untouched, room, fill;

before(async () => {
  server = await Homeserver.start();
  me = await Device.register(server.baseUrl, "me");
  other = await Device.register(server.baseUrl, "other");
  const gone = await Device.login(server.baseUrl, "me");
  await gone.ok("POST", `${V3}/logout`, {});
  room = await me.createRoom({ preset: "public_chat", room_alias_name: "taken" });
  await other.join(room);
  await me.send(room, "before");
  const closed = await other.createRoom({ preset: "private_chat" });
  const theirs = await other.createRoom({ preset: "public_chat" });
  await me.join(theirs);
  await me.setPresence("online", "as it was");
  const names = { room, closed, theirs, me: me.userId, other: other.userId, gone: gone.token };
  fill = (string, encode) => string.replace(/\{(\w+)\}/g, (whole, name) => (names[name] ? encode(names[name]) : whole));
  untouched = await snapshot();
});

after(() => server?.stop());

/** Everything that a refused request could have changed. */
async function snapshot() {
  const get = async (device, target) => (await device.request("GET", target)).body;
  const { last_active_ago: _, ...presence } = await me.presenceOf(me.userId);
  return {
    presence,
    state: (await get(me, path(`${V3}/rooms/{}/state`, room))).map((event) => event.event_id).sort(),
    messages: (await me.history(room)).map((event) => event.event_id),
    profile: await get(me, path(`${V3}/profile/{}`, me.userId)),
    otherProfile: await get(me, path(`${V3}/profile/{}`, other.userId)),
    rooms: (await get(me, `${V3}/joined_rooms`)).joined_rooms.sort(),
    devices: (await get(me, `${V3}/devices`)).devices.map((device) => device.device_id).sort(),
    accountData: (await me.request("GET", path(`${V3}/user/{}/account_data/x.y`, me.userId))).status,
    directory: (await get(me, `${V3}/publicRooms`)).total_room_count_estimate,
  };
}

for (const [subject, rows] of Object.entries(table)) {
  test(subject, async (t) => {
    for (const [name, requestLine, body, status, codes, ...marks] of rows) {
      const skip = stock && marks.includes("ours");
      await t.test(name, { skip: skip && "a stock server answers something else" }, async () => {
        const [method, target] = requestLine.split(" ");
        const headers = marks.find((mark) => typeof mark === "object") ?? {};
        const token = marks.includes("anonymous") || headers.authorization ? undefined : me.token;
        const answer = await exchange(server.port, method, fill(target, encodeURIComponent), {
          headers: { ...(token && { authorization: `Bearer ${token}` }),
            ...Object.fromEntries(Object.entries(headers).map(([key, value]) => [key, fill(value, String)])) },
          body: typeof body === "string" ? fill(body, String) : body,
        });
        const told = `${answer.status} ${answer.text.slice(0, 300)}`;
        assert.ok([status].flat().includes(answer.status), `${requestLine.slice(0, 200)}: expected ${status}, got ${told}`);
        assert.ok(codes.split("|").includes(answer.body?.errcode), `expected ${codes}, got ${told}`);
        assert.equal(typeof answer.body.error, "string", "an error says what was wrong");
        assert.equal(answer.headers["access-control-allow-origin"], "*", "a browser may read the error");
      });
    }
  });
}

test("bytes that are not HTTP", async (t) => {
  const cases = {
    "not a request": "GARBAGE\r\n\r\n",
    "a header of 200 KB": `GET /_matrix/client/versions HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(200_000)}\r\n\r\n`,
    "a length below zero": "POST /_matrix/client/v3/login HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "two lengths": "POST /_matrix/client/v3/login HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n{}",
    "a chunk of no size": "POST /_matrix/client/v3/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "bytes of every value": Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
  };
  for (const [name, bytes] of Object.entries(cases)) {
    await t.test(name, async () => {
      const answer = await raw(server.port, bytes);
      assert.match(answer, /^$|^HTTP\/1\.1 4\d\d /, "refused, or hung up on");
    });
  }
});

test("CORS: a preflight is answered everywhere, without a token", async (t) => {
  for (const target of [`${V3}/sync`, `${V3}/login`, fill(`${V3}/rooms/{room}/send/m.room.message/1`, encodeURIComponent)]) {
    await t.test(target, async () => {
      const { status, headers } = await exchange(server.port, "OPTIONS", target, {
        headers: { origin: "https://chat.example", "access-control-request-method": "PUT", "access-control-request-headers": "authorization" },
      });
      assert.ok(status === 200 || status === 204, String(status));
      assert.equal(headers["access-control-allow-origin"], "*");
      for (const method of ["GET", "POST", "PUT", "DELETE", "OPTIONS"]) {
        assert.ok(headers["access-control-allow-methods"].includes(method), method);
      }
      for (const header of ["authorization", "content-type", "x-requested-with"]) {
        assert.ok(headers["access-control-allow-headers"].toLowerCase().includes(header), header);
      }
    });
  }
});

test("after all of it nothing has changed, nothing has panicked, and the server is up", async () => {
  assert.deepEqual(await snapshot(), untouched);
  const eventId = await me.send(room, "after");
  const { rooms } = await other.sync();
  assert.ok(rooms.join[room].timeline.events.some((event) => event.event_id === eventId), "the next message arrives");
  if (stock) return;
  assert.doesNotMatch(server.log(), /panicked|\bERROR\b|"level":"ERROR"/, "an error in the log is a bug");
});
