// What a stock client expects of rooms, push rules and directories, on this server and on a stock one.
import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { Homeserver, stock } from "./lib/homeserver.mjs";
import { Device, path, until } from "./lib/matrix.mjs";

const V3 = "/_matrix/client/v3";
let server, alice, bob, room, names = 0;

before(async () => {
  server = await Homeserver.start();
});

after(() => server?.stop());

// Two new users in a room of the first.
beforeEach(async () => {
  names += 1;
  alice = await Device.register(server.baseUrl, `alice${names}`);
  bob = await Device.register(server.baseUrl, `bob${names}`);
  room = await alice.createRoom({ preset: "public_chat", room_version: "11" });
  await bob.join(room);
});

const of = (roomId, rest = "") => path(`${V3}/rooms/{}`, roomId) + rest;
const send = async (who, kind, content, txn = `${kind}${Math.random()}`, where = room) =>
  (await who.ok("PUT", of(where, `/send/${kind}/${encodeURIComponent(txn)}`), content)).event_id;
const react = (eventId, key) => ({ "m.relates_to": { rel_type: "m.annotation", event_id: eventId, key } });
const state = (who, where, kind, key = "") => who.ok("GET", of(where, `/state/${kind}/${encodeURIComponent(key)}`));
const refused = async (answer, status, ...errcodes) => {
  const { body, status: was, text } = await answer;
  assert.equal(was, status, text);
  if (errcodes.length > 0) assert.ok(errcodes.includes(body.errcode), text);
};

test("answers to what is posted are exactly Matrix's", async () => {
  const carol = await Device.register(server.baseUrl, `carol${names}`);
  const user = { user_id: carol.userId };
  assert.deepEqual(await alice.ok("POST", of(room, "/invite"), user), {});
  assert.deepEqual(await carol.ok("POST", of(room, "/join"), {}), { room_id: room });
  for (const [verb, body] of [["kick", user], ["ban", user], ["unban", user]]) {
    assert.deepEqual(await alice.ok("POST", of(room, `/${verb}`), body), {}, verb);
  }
  const sent = await alice.ok("PUT", of(room, "/send/m.room.message/exact"), { msgtype: "m.text", body: "x" });
  assert.deepEqual(Object.keys(sent), ["event_id"]);
  const redacted = await alice.ok("PUT", of(room, path("/redact/{}/r", sent.event_id)), {});
  assert.deepEqual(Object.keys(redacted), ["event_id"]);
  const set = await alice.ok("PUT", of(room, "/state/m.room.topic/"), { topic: "x" });
  assert.deepEqual(Object.keys(set), ["event_id"]);
  assert.deepEqual(Object.keys(await alice.ok("POST", `${V3}/createRoom`, {})), ["room_id"]);
  for (const [verb, body] of [["leave", {}], ["forget", {}]]) {
    assert.deepEqual(await bob.ok("POST", of(room, `/${verb}`), body), {}, verb);
  }
});

test("what this server adds to an answer comes when it is asked for", { skip: stock && "these are this server's own words" }, async () => {
  const carol = await Device.register(server.baseUrl, `carol${names}`);
  const full = "?org.pilotlight.answer=full";
  const invited = await alice.ok("POST", of(room, `/invite${full}`), { user_id: carol.userId });
  assert.deepEqual(invited, { "org.pilotlight.displayname": `carol${names}` });
  const sent = await alice.ok("PUT", of(room, `/send/m.room.message/full${full}`), { msgtype: "m.text", body: "x" });
  assert.deepEqual(Object.keys(sent).sort(), ["event_id", "org.pilotlight.position"]);
  await refused(alice.request("POST", of(room, "/invite?org.pilotlight.answer=all"), {}), 400, "M_INVALID_PARAM");
});

test("a message does not end a typing notice", async () => {
  await bob.sync();
  const typing = path("/typing/{}", alice.userId);
  await alice.ok("PUT", of(room, typing), { typing: true, timeout: 30_000 });
  await send(alice, "m.room.message", { msgtype: "m.text", body: "first of two" });
  const users = ({ rooms }) =>
    rooms?.join?.[room]?.ephemeral?.events?.find((event) => event.type === "m.typing")?.content.user_ids;
  let last;
  for (let i = 0; i < 3; i++) last = users(await bob.sync({ timeout: 100 })) ?? last;
  assert.deepEqual(last, [alice.userId]);
  await alice.ok("PUT", of(room, typing), { typing: false });
  for (let i = 0; i < 3; i++) last = users(await bob.sync({ timeout: 100 })) ?? last;
  assert.deepEqual(last, []);
});

test("somebody's second equal annotation of an event is refused, until the first is redacted", async () => {
  const event = await send(alice, "m.room.message", { msgtype: "m.text", body: "cake" });
  const first = await send(bob, "m.reaction", react(event, "👍"));
  const again = (who, key, kind = "m.reaction") =>
    who.request("PUT", of(room, `/send/${kind}/${Math.random()}`), react(event, key));
  await refused(again(bob, "👍"), 400, "M_DUPLICATE_ANNOTATION");
  for (const [who, key, kind] of [[bob, "👎"], [alice, "👍"], [bob, "👍", "org.example.reaction"]]) {
    assert.equal((await again(who, key, kind)).status, 200);
  }
  await bob.ok("PUT", of(room, path("/redact/{}/r", first)), {});
  assert.equal((await again(bob, "👍")).status, 200);
  await refused(again(bob, "👍"), 400, "M_DUPLICATE_ANNOTATION");
  // A retransmission is no second one.
  const txn = { ...react(event, "🎂") };
  const [one, two] = [await send(bob, "m.reaction", txn, "same"), await send(bob, "m.reaction", txn, "same")];
  assert.equal(one, two);
});

test("of equal annotations at the same time one is taken", { skip: stock && "a stock server looks before it writes" }, async () => {
  const event = await send(alice, "m.room.message", { msgtype: "m.text", body: "cake" });
  const all = Array.from({ length: 8 }, (_, i) =>
    bob.request("PUT", of(room, `/send/m.reaction/at-once${i}`), react(event, "👍")));
  const taken = (await Promise.all(all)).filter(({ status }) => status === 200);
  assert.equal(taken.length, 1);
});

test("a thread upon an event of a thread is refused", async () => {
  const root = await send(alice, "m.room.message", { msgtype: "m.text", body: "root" });
  const thread = (event) => ({ msgtype: "m.text", body: "in it", "m.relates_to": { rel_type: "m.thread", event_id: event } });
  const inside = await send(bob, "m.room.message", thread(root));
  await refused(bob.request("PUT", of(room, "/send/m.room.message/upon"), thread(inside)), 400, "M_UNKNOWN");
});

test("members without a picture have no key for one", async () => {
  await alice.ok("PUT", path(`${V3}/profile/{}/avatar_url`, alice.userId), { avatar_url: "mxc://localhost/a" });
  const joined = await until("the picture is in the room", async () => {
    const members = (await bob.ok("GET", of(room, "/joined_members"))).joined;
    return members[alice.userId].avatar_url === "mxc://localhost/a" && members;
  });
  assert.ok(!stock && !("avatar_url" in joined[bob.userId]) || stock && (joined[bob.userId].avatar_url ?? null) === null);
});

test("what a client puts into a join is in the member event", async () => {
  const carol = await Device.register(server.baseUrl, `carol${names}`);
  const own = { reason: "curious", "org.example.how": { door: 2 }, membership: "ban" };
  await carol.ok("POST", path(`${V3}/join/{}`, room), own);
  const member = await state(carol, room, "m.room.member", carol.userId);
  assert.deepEqual([member.membership, member.reason, member["org.example.how"]], ["join", "curious", { door: 2 }]);
  assert.equal(member.displayname, `carol${names}`);
  await carol.ok("POST", of(room, "/leave"), { reason: "bored" });
  assert.equal((await state(alice, room, "m.room.member", carol.userId)).reason, "bored");
});

test("an event of another room cannot be redacted, and is not there for outsiders", async () => {
  const other = await alice.createRoom({ preset: "private_chat" });
  const event = await send(alice, "m.room.message", { msgtype: "m.text", body: "x" }, "t", other);
  await refused(alice.request("PUT", of(room, path("/redact/{}/r", event)), {}), 400);
  assert.equal((await alice.ok("GET", of(other, path("/event/{}", event)))).content.body, "x");
  await refused(bob.request("GET", of(other, path("/context/{}", event))), 403, "M_FORBIDDEN");
  await refused(alice.request("PUT", of(room, path("/redact/{}/r2", "$nothing")), {}), stock ? 200 : 404);
});

test("one finds oneself in the user directory", async () => {
  for (const term of [alice.userId, `alice${names}`]) {
    const { results } = await alice.ok("POST", `${V3}/user_directory/search`, { search_term: term });
    assert.ok(results.some(({ user_id }) => user_id === alice.userId) || stock, term);
  }
});

test("aliases with spaces or with nothing before the colon are refused", async () => {
  for (const alias of ["# :localhost", "#a b:localhost", "#\t:localhost"]) {
    await refused(alice.request("PUT", path(`${V3}/directory/room/{}`, alias), { room_id: room }), 400);
  }
  if (!stock) await refused(alice.request("PUT", path(`${V3}/directory/room/{}`, "#:localhost"), { room_id: room }), 400);
  for (const room_alias_name of ["", " ", "a b"]) {
    const answer = await alice.request("POST", `${V3}/createRoom`, { room_alias_name });
    assert.ok(answer.status === 400 || (stock && room_alias_name === ""), `${JSON.stringify(room_alias_name)} ${answer.text}`);
  }
});

test("a room that is upgraded takes what it is made of along", async () => {
  const carol = await Device.register(server.baseUrl, `carol${names}`);
  const levels = await state(alice, room, "m.room.power_levels");
  levels.users[bob.userId] = 50;
  levels.events = { ...levels.events, "m.room.tombstone": 50, "m.room.name": 60 };
  await alice.ok("PUT", of(room, "/state/m.room.power_levels/"), levels);
  await alice.ok("PUT", of(room, "/state/m.room.server_acl/"), { allow: ["*"], deny: ["bad.example"] });
  await alice.ok("POST", of(room, "/ban"), { user_id: carol.userId, reason: "spam" });
  await alice.ok("PUT", path(`${V3}/directory/room/{}`, `#up${names}:localhost`), { room_id: room });
  await alice.ok("PUT", of(room, "/state/m.room.canonical_alias/"), { alias: `#up${names}:localhost` });
  const own = (who, kind) => path(`${V3}/user/{}/`, who.userId) + kind;
  await bob.ok("PUT", own(bob, path("rooms/{}/tags/m.favourite", room)), { order: 0.5 });
  await alice.ok("PUT", own(alice, path("rooms/{}/tags/u.work", room)), { order: 0.5 });
  await alice.ok("PUT", own(alice, "account_data/m.direct"), { [bob.userId]: [room] });
  await bob.ok("PUT", path(`${V3}/pushrules/global/room/{}`, room), { actions: [] });

  await refused(carol.request("POST", of(room, "/upgrade"), { new_version: "11" }), 403, "M_FORBIDDEN");
  await refused(alice.request("POST", of(room, "/upgrade"), { new_version: "no such" }), 400, "M_UNSUPPORTED_ROOM_VERSION");
  // Who may only just do it gets no more power by it.
  const { replacement_room: next } = await bob.ok("POST", of(room, "/upgrade"), { new_version: "11" });
  const tombstone = await bob.ok("GET", of(room, "/state/m.room.tombstone/?format=event"));
  assert.equal(tombstone.content.replacement_room, next);
  const create = await state(bob, next, "m.room.create");
  assert.deepEqual(create.predecessor, { room_id: room, event_id: tombstone.event_id });
  const after = await state(bob, next, "m.room.power_levels");
  assert.deepEqual(after.users, { [alice.userId]: 100, [bob.userId]: 50 });
  assert.deepEqual([after.events["m.room.name"], after.events["m.room.tombstone"]], [60, 50]);
  assert.deepEqual((await state(bob, next, "m.room.server_acl")).deny, ["bad.example"]);
  assert.equal((await state(bob, next, "m.room.canonical_alias")).alias, `#up${names}:localhost`);
  assert.equal((await bob.ok("GET", path(`${V3}/directory/room/{}`, `#up${names}:localhost`))).room_id, next);
  const ban = await state(bob, next, "m.room.member", carol.userId);
  assert.deepEqual([ban.membership, ban.reason], ["ban", "spam"]);
  await refused(carol.request("POST", path(`${V3}/join/{}`, next), {}), 403);

  const tags = async (who) => (await who.ok("GET", own(who, path("rooms/{}/tags", next)))).tags;
  assert.deepEqual(Object.keys(await tags(bob)), ["m.favourite"]);
  assert.deepEqual((await bob.ok("GET", path(`${V3}/pushrules/global/room/{}`, next))).actions, []);
  await alice.join(next);
  assert.deepEqual(Object.keys(await tags(alice)), ["u.work"]);
  assert.deepEqual(await alice.ok("GET", own(alice, "account_data/m.direct")), { [bob.userId]: [room, next] });
});

test("who comes in by a member event of their own joins like any other", async () => {
  const own = (rest) => path(`${V3}/user/{}/`, bob.userId) + rest;
  await bob.ok("PUT", own(path("rooms/{}/tags/m.favourite", room)), { order: 0.5 });
  const rule = { join_rule: "public" };
  await alice.ok("PUT", of(room, "/state/m.room.join_rules/"), rule);
  const { replacement_room: next } = await alice.ok("POST", of(room, "/upgrade"), { new_version: "11" });
  await bob.ok("PUT", of(next, path("/state/m.room.member/{}", bob.userId)), { membership: "join", "x.y": 1 });
  const member = await state(bob, next, "m.room.member", bob.userId);
  assert.deepEqual([member.membership, member["x.y"]], ["join", 1]);
  const { tags } = await bob.ok("GET", own(path("rooms/{}/tags", next)));
  assert.deepEqual(Object.keys(tags), ["m.favourite"]);
});

test("a room of version 12 is upgraded to by its new creators", async () => {
  const { replacement_room: next } = await alice.ok("POST", of(room, "/upgrade"),
    { new_version: "12", additional_creators: [bob.userId] });
  const create = await state(alice, next, "m.room.create");
  assert.equal(create.predecessor.room_id, room);
  assert.deepEqual(create.additional_creators, [bob.userId]);
  const { users = {} } = await state(alice, next, "m.room.power_levels");
  assert.deepEqual(users, {});
  assert.equal((await state(alice, room, "m.room.tombstone")).replacement_room, next);
});

test("no room is replaced by itself", async () => {
  const itself = { body: "x", replacement_room: room };
  await refused(alice.request("PUT", of(room, "/state/m.room.tombstone/"), itself), 400, "M_UNKNOWN");
});

test("push rules are read and set piece by piece", async () => {
  const rules = (rest) => `${V3}/pushrules/${rest}`;
  const rule = { pattern: "cake", actions: ["notify"] };
  await alice.ok("PUT", rules("global/content/cake"), rule);
  await alice.ok("PUT", rules("global/content/tea?before=cake"), { ...rule, pattern: "tea" });
  await alice.ok("PUT", rules("global/content/milk?after=tea"), { ...rule, pattern: "milk" });
  const ids = (list) => list.map((one) => one.rule_id).filter((id) => !id.startsWith("."));
  const kind = await alice.ok("GET", rules("global/content/"));
  assert.deepEqual(ids(kind), ["tea", "milk", "cake"]);
  const whole = await alice.ok("GET", rules("global/"));
  assert.deepEqual(whole.content, kind);
  assert.deepEqual((await alice.ok("GET", rules(""))).global, whole);
  for (const empty of ["room", "sender"]) assert.deepEqual(await alice.ok("GET", rules(`global/${empty}/`)), [], empty);
  for (const full of ["override", "underride"]) assert.ok((await alice.ok("GET", rules(`global/${full}/`))).length > 0);
  assert.deepEqual(await alice.ok("GET", rules("global/content/cake/enabled")), { enabled: true });
  assert.deepEqual(await alice.ok("GET", rules("global/content/cake/actions")), { actions: ["notify"] });
  await alice.ok("PUT", rules("global/content/cake/enabled"), { enabled: false });
  await alice.ok("PUT", rules("global/content/cake/actions"), { actions: [] });
  const changed = await alice.ok("GET", rules("global/content/cake"));
  assert.deepEqual([changed.enabled, changed.actions, changed.pattern], [false, [], "cake"]);
  await alice.ok("PUT", rules("global/override/.m.rule.master/enabled"), { enabled: true });
  assert.deepEqual(await alice.ok("GET", rules("global/override/.m.rule.master/enabled")), { enabled: true });
});

test("push rules that there cannot be are refused as the specification has it", async () => {
  const rows = [
    ["GET", "device/", 404, "M_UNRECOGNIZED"],
    ["GET", "device/content/cake", 404, "M_UNRECOGNIZED"],
    ["GET", "global/bogus/", 404, "M_UNRECOGNIZED"],
    ["GET", "global/bogus/cake", 404, "M_UNRECOGNIZED"],
    ["GET", "global/content/none", 404, "M_NOT_FOUND"],
    ["GET", "global/content/none/enabled", 404, "M_NOT_FOUND"],
    ["GET", "global/content/none/actions", 404, "M_NOT_FOUND"],
    ["GET", "global/override/.m.rule.master/colour", 404, "M_UNRECOGNIZED"],
    ["PUT", "device/content/cake", 404, "M_UNRECOGNIZED", { pattern: "cake", actions: [] }],
    ["PUT", "global/bogus/cake", 400, null, { actions: [] }],
    ["PUT", "global/content/cake", 400, null, { actions: [] }],
    ["PUT", "global/content/cake", 400, null, { pattern: "cake" }],
    ["PUT", "global/content/.cake", 400, null, { pattern: "cake", actions: [] }],
    ["PUT", "global/content/cake?before=none", 400, "M_UNKNOWN", { pattern: "cake", actions: [] }],
    ["PUT", "global/content/cake?after=none", 400, "M_UNKNOWN", { pattern: "cake", actions: [] }],
    ["PUT", "global/content/none/enabled", 404, "M_NOT_FOUND", { enabled: true }],
    ["PUT", "global/content/none/actions", 404, "M_NOT_FOUND", { actions: [] }],
    ["PUT", "global/override/.m.rule.master/colour", 404, "M_UNRECOGNIZED", { colour: "red" }],
    ["PUT", "global/override/.m.rule.master/enabled", 400, null, { enabled: "yes" }],
    ["DELETE", "global/content/none", 404, "M_NOT_FOUND"],
    ["DELETE", "device/content/none", 404, "M_UNRECOGNIZED"],
  ];
  for (const [method, target, status, errcode, body] of rows) {
    const answer = await alice.request(method, `${V3}/pushrules/${target}`, body);
    // A stock server says 400 of an endpoint that there is not, as the specification once had it.
    const statuses = stock && errcode === "M_UNRECOGNIZED" ? [400, 404] : [status];
    assert.ok(statuses.includes(answer.status), `${method} ${target}: ${answer.status} ${answer.text}`);
    if (errcode) assert.equal(answer.body.errcode, errcode, `${method} ${target}: ${answer.text}`);
  }
  const before = await alice.ok("GET", `${V3}/pushrules/`);
  const gone = await alice.request("DELETE", `${V3}/pushrules/global/override/.m.rule.master`);
  assert.ok(gone.status >= 400, "a default rule stays");
  assert.deepEqual(await alice.ok("GET", `${V3}/pushrules/`), before);
});

test("who left and is invited again reads an event of the time in which they were there", async () => {
  const carol = await Device.register(server.baseUrl, `carol${names}`);
  const user = { user_id: carol.userId };
  const closed = await alice.createRoom({ preset: "private_chat", room_version: "11" });
  await alice.ok("POST", of(closed, "/invite"), user);
  await carol.join(closed);
  const seen = await send(alice, "m.room.message", { msgtype: "m.text", body: "seen" }, "seen", closed);
  await carol.ok("POST", of(closed, "/leave"), {});
  const missed = await send(alice, "m.room.message", { msgtype: "m.text", body: "missed" }, "missed", closed);
  await alice.ok("POST", of(closed, "/invite"), user);
  const event = await carol.ok("GET", of(closed, path("/event/{}", seen)));
  assert.equal(event.content.body, "seen");
  await refused(carol.request("GET", of(closed, path("/event/{}", missed))), 404);
  // A stock server has no pages for who is invited, whatever they were before; ours has those of then.
  if (stock) return;
  const { chunk } = await carol.ok("GET", of(closed, "/messages?dir=b&limit=50"));
  const ids = chunk.map(({ event_id }) => event_id);
  assert.ok(ids.includes(seen) && !ids.includes(missed));
});
