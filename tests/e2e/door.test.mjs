// How clients come in and show who they are, as Matrix has it; also against Synapse (HOMESERVER=synapse).
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, before, test } from "node:test";
import { Homeserver, stock } from "./lib/homeserver.mjs";
import { Device, path, request } from "./lib/matrix.mjs";

const V3 = "/_matrix/client/v3";
const password = "correct horse";

let server;
before(async () => (server = await Homeserver.start()));
after(() => server?.stop());

const name = () => `u${randomUUID().slice(0, 8)}`;
const anonymous = (method, target, body) => request(server.baseUrl, method, target, { body });
const refused = ({ status, body, text }, expected, errcode) =>
  assert.deepEqual([status, errcode && body.errcode], [expected, errcode], text);

/** The session of the challenge to a request. */
async function challenged(answer) {
  const { status, body, text } = await answer;
  assert.equal(status, 401, text);
  assert.ok(body.flows.length > 0 && body.session, text);
  return body.session;
}

const passwordAuth = (device, session) => ({
  type: "m.login.password", session, password, identifier: { type: "m.id.user", user: device.userId },
});

test("a device is listed with when and where it was last seen, null where that is not known", async () => {
  const device = await Device.register(server.baseUrl);
  const { devices } = await device.ok("GET", `${V3}/devices`);
  const one = await device.ok("GET", path(`${V3}/devices/{}`, device.deviceId));
  for (const listed of [...devices, one]) {
    assert.ok("last_seen_ip" in listed && "last_seen_ts" in listed, JSON.stringify(listed));
    assert.equal(listed.device_id, device.deviceId);
  }
});

test("no answer of the API is to be stored, an error neither", async () => {
  const device = await Device.register(server.baseUrl);
  const room = await device.createRoom();
  const answers = {
    whoami: device.request("GET", `${V3}/account/whoami`),
    sync: device.request("GET", `${V3}/sync`),
    state: device.request("GET", path(`${V3}/rooms/{}/state`, room)),
    sent: device.request("PUT", path(`${V3}/rooms/{}/send/m.room.message/1`, room), { msgtype: "m.text", body: "x" }),
    "no such room": device.request("GET", path(`${V3}/rooms/{}/state`, "!none:localhost")),
    "no token": anonymous("GET", `${V3}/account/whoami`),
    "bad login": anonymous("POST", `${V3}/login`, { type: "m.login.password" }),
    "no such endpoint": anonymous("GET", "/_matrix/client/v3/nothing"),
  };
  for (const [what, answer] of Object.entries(answers)) {
    assert.match((await answer).headers.get("cache-control") ?? "absent", /no-store/, what);
  }
});

test("the session of one act is refused for another", async () => {
  const device = await Device.register(server.baseUrl);
  const deletion = (auth) => device.request("POST", `${V3}/delete_devices`, { devices: ["NONE"], auth });
  const session = await challenged(deletion());
  const auth = passwordAuth(device, session);
  refused(await device.request("POST", `${V3}/account/deactivate`, { auth }), 403);
  refused(await device.request("POST", `${V3}/account/password`, { new_password: "another one", auth }), 403);
  refused(await device.request("DELETE", path(`${V3}/devices/{}`, device.deviceId), { auth }), 403);
  assert.equal((await deletion(auth)).status, 200);
  assert.equal((await device.request("GET", `${V3}/account/whoami`)).status, 200);
});

const warnsOnly = stock && "Synapse only logs a warning, for clients that do so";
test("the parameters of an act do not change between its stages", { skip: warnsOnly }, async () => {
  const device = await Device.register(server.baseUrl);
  const other = await Device.login(server.baseUrl, device.userId);
  const deletion = (devices, auth) => device.request("POST", `${V3}/delete_devices`, { devices, auth });
  const session = await challenged(deletion(["NONE"]));
  refused(await deletion([other.deviceId], passwordAuth(device, session)), 403, "M_FORBIDDEN");
  assert.equal((await other.request("GET", `${V3}/account/whoami`)).status, 200);
});

test("a registration remembers what was asked for first", async () => {
  const username = name();
  const asked = { username, password, device_id: "PHONE", initial_device_display_name: "Phone" };
  const session = await challenged(anonymous("POST", `${V3}/register`, asked));
  const { body, text } = await anonymous("POST", `${V3}/register`, { auth: { type: "m.login.dummy", session } });
  assert.deepEqual([body.user_id, body.device_id], [`@${username}:localhost`, "PHONE"], text);
  const device = new Device(server.baseUrl, body);
  assert.equal((await device.ok("GET", `${V3}/devices/PHONE`)).display_name, "Phone");
  await Device.login(server.baseUrl, username);
});

test("a finished registration that is asked for again gives the same user", async () => {
  const username = name();
  const asked = { username, password };
  const session = await challenged(anonymous("POST", `${V3}/register`, asked));
  const auth = { type: "m.login.dummy", session };
  for (const body of [{ ...asked, auth }, { ...asked, auth }, { auth }]) {
    const answer = await anonymous("POST", `${V3}/register`, body);
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.body.user_id, `@${username}:localhost`);
    const me = await new Device(server.baseUrl, answer.body).ok("GET", `${V3}/account/whoami`);
    assert.equal(me.user_id, answer.body.user_id);
  }
});

test("a registration without a login leaves it out, also when it was asked for in the first request only", async () => {
  const username = name();
  const asked = { username, password, inhibit_login: true };
  const session = await challenged(anonymous("POST", `${V3}/register`, asked));
  const { body, text } = await anonymous("POST", `${V3}/register`, { auth: { type: "m.login.dummy", session } });
  assert.equal(body.user_id, `@${username}:localhost`, text);
  assert.ok(!("access_token" in body) && !("device_id" in body), text);
  await Device.login(server.baseUrl, username);
});

test("a session that is not known registers nobody", async () => {
  const auth = { type: "m.login.dummy", session: "not known" };
  refused(await anonymous("POST", `${V3}/register`, { auth }), 400);
});

const strict = stock && "Synapse knows the scheme in one spelling only, HTTP does not care";
test("the scheme of the access token may be in lower case", { skip: strict }, async () => {
  const device = await Device.register(server.baseUrl);
  const headers = { authorization: `bearer ${device.token}` };
  assert.equal((await fetch(`${server.baseUrl}${V3}/account/whoami`, { headers })).status, 200);
});
