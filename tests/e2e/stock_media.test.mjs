// M18: files by the stock JavaScript library, and by the bare API where the library says nothing.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, before, test } from "node:test";
import * as sdk from "matrix-js-sdk";
import { Homeserver, stock } from "./lib/homeserver.mjs";
import { Device, path } from "./lib/matrix.mjs";
import { picture, sizeOf } from "./lib/picture.mjs";

for (const level of ["trace", "debug", "info", "warn", "error"]) console[level] = () => {};
const MEDIA = "/_matrix/client/v1/media";
const UPLOAD = "/_matrix/media/v3/upload";
let server, alice, bob, library;

before(async () => {
  server = await Homeserver.start();
  [alice, bob] = [await Device.register(server.baseUrl, "alice"), await Device.register(server.baseUrl, "bob")];
  library = sdk.createClient({ baseUrl: server.baseUrl, userId: alice.userId, accessToken: alice.token, deviceId: alice.deviceId });
});

after(() => server?.stop());

/** A file, or a part of one, as somebody reads it. */
async function read(target, { by = bob, headers = {}, method = "GET" } = {}) {
  const answer = await fetch(server.baseUrl + target, { method, headers: { ...(by && { authorization: `Bearer ${by.token}` }), ...headers } });
  const bytes = Buffer.from(await answer.arrayBuffer());
  const json = answer.headers.get("content-type")?.startsWith("application/json") && bytes.length > 0 ? JSON.parse(bytes) : undefined;
  return { status: answer.status, headers: answer.headers, bytes, json };
}

async function put(target, bytes, { by = alice, type = "text/plain", method = "POST" } = {}) {
  const answer = await fetch(server.baseUrl + target, { method, headers: { authorization: `Bearer ${by.token}`, "content-type": type }, body: bytes });
  return { status: answer.status, json: await answer.json() };
}

const below = (uri) => uri.replace(/^mxc:\/\//, "");
const upload = async (bytes, type) => below((await put(UPLOAD, bytes, { type })).json.content_uri);

test("the library uploads, says how far it is, and others read what it names", async () => {
  const bytes = randomBytes(3 << 20);
  const { content_uri: uri } = await library.uploadContent(new Blob([bytes]), { name: "noise.bin", type: "application/x-noise" });
  assert.match(uri, /^mxc:\/\/localhost\/[\w-]+$/);
  const url = library.mxcUrlToHttp(uri, undefined, undefined, undefined, false, true, true);
  assert.ok(url.startsWith(`${server.baseUrl}${MEDIA}/download/`), url);
  const file = await read(url.slice(server.baseUrl.length));
  assert.deepEqual([file.status, file.headers.get("content-type"), file.bytes.equals(bytes)], [200, "application/x-noise", true]);
  assert.match(file.headers.get("content-disposition"), /^attachment; ?filename="?noise\.bin"?$/);
  const config = await library.getMediaConfig(true);
  assert.ok(config["m.upload.size"] >= 50 << 20);
});

test("thumbnails have the sizes of the specification, and are never larger than the picture", async () => {
  const { content_uri: uri } = await library.uploadContent(new Blob([picture(1000, 800)]), { name: "p.png", type: "image/png" });
  for (const [width, height, method, expected] of [
    [32, 32, "crop", [32, 32]],
    [96, 96, "crop", [96, 96]],
    [320, 240, "scale", [300, 240]],
    [640, 480, "scale", [600, 480]],
    [800, 600, "scale", [750, 600]],
  ]) {
    const url = library.mxcUrlToHttp(uri, width, height, method, false, true, true);
    const { status, bytes, headers } = await read(url.slice(server.baseUrl.length));
    assert.equal(status, 200);
    assert.deepEqual(sizeOf(bytes), expected, `${width} × ${height}, ${method}`);
    assert.equal(headers.get("content-type"), "image/png");
    assert.match(headers.get("content-disposition"), /^inline/);
  }
});

test("of what is no picture there is no thumbnail, and what is asked wrongly is refused", async () => {
  const text = await upload("no picture", "image/png");
  const refused = await read(`${MEDIA}/thumbnail/${text}?width=96&height=96&method=crop`);
  assert.deepEqual([refused.status, refused.json.errcode], [400, "M_UNKNOWN"]);
  const missing = await read(`${MEDIA}/thumbnail/${text}?height=96`);
  assert.deepEqual([missing.status, missing.json.errcode], [400, "M_MISSING_PARAM"]);
  const wrong = await read(`${MEDIA}/thumbnail/${text}?width=a&height=96`);
  assert.equal(wrong.status, 400);
});

test("nobody reads without a token, and what was uploaded is not at the paths of before", async () => {
  const file = await upload("secret", "text/plain");
  for (const target of [`${MEDIA}/download/${file}`, `${MEDIA}/thumbnail/${file}?width=32&height=32`, `${MEDIA}/config`]) {
    const { status, json } = await read(target, { by: null });
    assert.deepEqual([status, json.errcode], [401, "M_MISSING_TOKEN"]);
  }
  for (const version of ["r0", "v1", "v3"]) {
    for (const what of ["download", "thumbnail"]) {
      const { status, json } = await read(`/_matrix/media/${version}/${what}/${file}?width=32&height=32`, { by: null });
      assert.deepEqual([status, json.errcode], [404, "M_NOT_FOUND"], `${version} ${what}`);
    }
  }
});

test("what could run in a page is saved and does not run, whatever it is", async () => {
  for (const [type, shown] of [["image/png", "inline"], ["text/plain; charset=utf-8", "inline"], ["text/html", "attachment"], ["image/svg+xml", "attachment"], ["application/pdf", "attachment"]]) {
    const { headers } = await read(`${MEDIA}/download/${await upload("<script>alert(1)</script>", type)}`);
    assert.ok(headers.get("content-disposition").startsWith(shown), `${type}: ${headers.get("content-disposition")}`);
    assert.match(headers.get("content-security-policy"), /^sandbox; ?default-src 'none';/);
    assert.equal(headers.get("cross-origin-resource-policy"), "cross-origin");
  }
  const named = await read(`${MEDIA}/download/${await upload("x", "text/plain")}/${encodeURIComponent('a"b\r\nx.txt')}`);
  assert.equal(named.status, 200);
  assert.doesNotMatch(named.headers.get("content-disposition"), /[\r\n]/);
});

test("an address can be had first, and its file comes once", async () => {
  const { json } = await put("/_matrix/media/v1/create", "{}", { type: "application/json" });
  const of = below(json.content_uri);
  assert.ok(json.unused_expires_at > Date.now());
  const early = await read(`${MEDIA}/download/${of}?timeout_ms=0`);
  assert.deepEqual([early.status, early.json.errcode], [504, "M_NOT_YET_UPLOADED"]);
  const waiting = read(`${MEDIA}/download/${of}?timeout_ms=20000`);
  const theirs = await put(`${UPLOAD}/${of}`, "no", { method: "PUT", by: bob });
  assert.deepEqual([theirs.status, theirs.json.errcode], [403, "M_FORBIDDEN"]);
  assert.deepEqual(await put(`${UPLOAD}/${of}`, "late", { method: "PUT" }), { status: 200, json: {} });
  assert.equal((await waiting).bytes.toString(), "late");
  const again = await put(`${UPLOAD}/${of}`, "other", { method: "PUT" });
  assert.deepEqual([again.status, again.json.errcode], [409, "M_CANNOT_OVERWRITE_MEDIA"]);
  const unknown = await put(`${UPLOAD}/localhost/unknown`, "x", { method: "PUT" });
  assert.deepEqual([unknown.status, unknown.json.errcode], [404, "M_NOT_FOUND"]);
});

test("what is not there is not found, at this server or at one that is none", async () => {
  for (const of of ["localhost/unknown", "localhost/%2e%2e%2fetc"]) {
    const { status } = await read(`${MEDIA}/download/${of}`);
    assert.equal(status, 404, of);
  }
});

test("a part of a file is read by its bytes, and what was had is not sent again", { skip: stock && "it always sends all of it" }, async () => {
  const target = `${MEDIA}/download/${await upload("0123456789", "text/plain")}`;
  const part = await read(target, { headers: { range: "bytes=2-4" } });
  assert.deepEqual([part.status, part.headers.get("content-range"), part.bytes.toString()], [206, "bytes 2-4/10", "234"]);
  assert.equal((await read(target, { headers: { range: "bytes=10-" } })).status, 416);
  const known = await read(target, { headers: { "if-none-match": part.headers.get("etag") } });
  assert.equal(known.status, 304);
  assert.equal((await read(target, { method: "HEAD" })).headers.get("content-length"), "10");
});

test("a picture is a user's, and others see it in the room", async () => {
  const uri = `mxc://${await upload(picture(40, 40), "image/png")}`;
  await library.setAvatarUrl(uri);
  const { avatar_url: seen } = await bob.ok("GET", path("/_matrix/client/v3/profile/{}/avatar_url", alice.userId));
  assert.equal(seen, uri);
});
