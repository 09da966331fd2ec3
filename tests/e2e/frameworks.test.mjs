// The package's entries for React, Vue and Svelte, as an application gets them, with the real libraries in Chromium and in Node,
// against a real server.
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { compile } from "svelte/compiler";
import ts from "typescript";
import { compileScript, parse } from "vue/compiler-sfc";
import * as pilotlight from "../../pkg/node.js";
import { launch } from "./lib/browser.mjs";
import { Homeserver } from "./lib/homeserver.mjs";
import { Device, until } from "./lib/matrix.mjs";
import { root } from "./lib/paths.mjs";

const tools = join(root, "tests/e2e/node_modules");
const require = createRequire(import.meta.url);
let dir, web, base, browser, server, me, roomId;
const others = [];

before(async () => {
  dir = mkdtempSync(join(tmpdir(), "pilotlight-frameworks-"));
  const run = (program, args, cwd) => execFileSync(program, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  const packed = JSON.parse(run("npm", ["pack", "--json", "--pack-destination", dir], join(root, "pkg")))[0];
  writeFileSync(join(dir, "package.json"), '{"private":true,"type":"module"}');
  run("npm", ["install", "--offline", "--no-audit", "--no-fund", "--omit=peer", `./${packed.filename}`], dir);
  for (const name of ["react", "react-dom", "scheduler", "vue", "@vue", "svelte", "@types", "csstype", "clsx", "esm-env"]) {
    symlinkSync(join(tools, name), join(dir, "node_modules", name));
  }
  [server, browser, base] = [await Homeserver.start(), await launch(), await serve()];
  me = await Device.register(server.baseUrl);
  roomId = await me.createRoom();
  for (let n = 0; n < 5; n++) {
    others.push(await Device.register(server.baseUrl));
    await others[n].join(roomId);
    await others[n].setPresence("online", "here");
  }
});

after(async () => {
  await browser?.close();
  web?.close();
  await server?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** React comes as CommonJS: its files as functions of one script, and a module for each name. */
const COMMON = {
  react: "react/cjs/react.development.js", "react/jsx-runtime": "react/cjs/react-jsx-runtime.development.js", "react-dom": "react-dom/cjs/react-dom.development.js",
  "react-dom/client": "react-dom/cjs/react-dom-client.development.js", scheduler: "scheduler/cjs/scheduler.development.js",
};
const SVELTE = `<script>
  import { presence } from "pilotlight/svelte";
  let { client, userId, onrender } = $props();
  const who = presence(client, userId);
</script><li>{onrender(userId, $who?.state)}{$who?.state ?? "?"} {$who?.statusMsg}</li>`;

/** What the package's README has to copy, by language. */
const readme = Object.fromEntries(
  [...readFileSync(join(root, "pkg/README.md"), "utf8").matchAll(/^```(\w+)\n(.*?)^```/gms)].map(([, language, code]) => [language, code]),
);

/** The components of it, as modules. */
const components = {
  "/readme/react.js": ts.transpileModule(readme.jsx, { compilerOptions: { jsx: ts.JsxEmit.ReactJSX, module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 } }).outputText,
  "/readme/vue.js": compileScript(parse(readme.vue).descriptor, { id: "dot", inlineTemplate: true }).content,
  "/readme/svelte.js": compile(readme.svelte, { generate: "client", dev: false }).js.code,
};

async function serve() {
  const imports = {
    pilotlight: "/node_modules/pilotlight/index.js", "pilotlight/react": "/node_modules/pilotlight/react.js",
    "pilotlight/vue": "/node_modules/pilotlight/vue.js", "pilotlight/svelte": "/node_modules/pilotlight/svelte.js",
    vue: "/node_modules/vue/dist/vue.esm-browser.js", row: "/row.js",
    svelte: "/node_modules/svelte/src/index-client.js", "#client/constants": "/node_modules/svelte/src/internal/client/constants.js", "svelte/internal/client": "/node_modules/svelte/src/internal/client/index.js",
    "svelte/internal/disclose-version": "/node_modules/svelte/src/internal/disclose-version.js",
    "svelte/internal/flags/legacy": "/node_modules/svelte/src/internal/flags/legacy.js",
    "svelte/store": "/node_modules/svelte/src/store/index-client.js", "svelte/reactivity": "/node_modules/svelte/src/reactivity/index-client.js",
    clsx: "/node_modules/clsx/dist/clsx.mjs", "esm-env": "/esm-env.js",
    ...Object.fromEntries(Object.keys(COMMON).map((name) => [name, `/common/${name}`])),
  };
  const modules = Object.entries(COMMON).map(([name, file]) => `${JSON.stringify(name)}: function (module, exports, require, process) {${readFileSync(join(tools, file), "utf8")}}`);
  const files = {
    ...components,
    "/": `<!doctype html><link rel="icon" href="data:,"><script type="importmap">${JSON.stringify({ imports })}</script><script src="/common.js"></script><div id="app"></div>`,
    "/common.js": `(() => { const files = {${modules}}, made = {};
      globalThis.common = (name) => { if (!made[name]) { const module = made[name] = { exports: {} };
        files[name](module, module.exports, common, { env: { NODE_ENV: "development" } }); } return made[name].exports; }; })()`,
    "/row.js": compile(SVELTE, { generate: "client", dev: false }).js.code,
    "/esm-env.js": "export const BROWSER = true, DEV = false, NODE = false;",
  };
  for (const name of Object.keys(COMMON)) {
    files[`/common/${name}`] = `const it = common(${JSON.stringify(name)}); export default it; export const { ${Object.keys(require(name))} } = it;`;
  }
  web = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://x");
    const type = pathname === "/" ? "text/html" : pathname.endsWith(".wasm") ? "application/wasm" : "text/javascript";
    try {
      response.writeHead(200, { "Content-Type": type }).end(files[pathname] ?? readFileSync(join(dir, pathname)));
    } catch {
      response.writeHead(404).end();
    }
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => web.once("listening", resolve));
  return `http://127.0.0.1:${web.address().port}/`;
}

const sessionOf = (device) => ({ baseUrl: server.baseUrl, userId: device.userId, deviceId: device.deviceId, accessToken: device.token });

/** A page with a client that has heard of everybody, whose subscriptions are counted; `problems` is what it complains of. */
async function open() {
  const page = await browser.newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && problems.push(message.text()));
  await page.goto(base);
  const users = others.map((other) => other.userId);
  await page.evaluate(async ([session, users]) => {
    const { Client } = await import("pilotlight");
    const client = await Client.create(session, { storage: null });
    window.active = 0;
    const subscribe = client.subscribe;
    client.subscribe = (...given) => {
      const off = subscribe.apply(client, given);
      let on = true;
      window.active++;
      return () => {
        window.active -= on ? 1 : 0;
        on = false;
        off();
      };
    };
    window.client = client;
    window.renders = {};
    window.rendered = (name) => void (window.renders[name] = (window.renders[name] ?? 0) + 1);
    /** How many times what was rendered since the last call. */
    window.taken = () => {
      const all = window.renders;
      [window.renders, window.told] = [{}, {}];
      return all;
    };
    window.told = {};
    client.on("presence", (changes) => changes.forEach(({ userId }) => (window.told[userId] = (window.told[userId] ?? 0) + 1)));
    window.rows = [...users, ...Array.from({ length: 1000 - users.length }, (_, n) => `@nobody${n}:localhost`)];
    client.start();
    while (!users.every((userId) => client.presenceOf(userId)?.statusMsg)) await new Promise((resolve) => setTimeout(resolve, 20));
  }, [sessionOf(me), users]);
  return { page, problems };
}

let words = 0;
/** Somebody else says something: what is rendered of that, and of whom the client has told meanwhile. */
async function change(page, who) {
  const said = `words ${++words}`;
  // What is still under way is no part of it.
  await page.waitForTimeout(300);
  await page.evaluate(() => void window.taken());
  await others[who].setPresence("online", said);
  await page.waitForFunction(([userId, said]) => client.presenceOf(userId).statusMsg === said, [others[who].userId, said]);
  await page.waitForFunction((said) => document.body.textContent.includes(said), said);
  return page.evaluate(() => ({ told: window.told, ...window.taken() }));
}

/** One change of one user renders that row, and nothing else of 1,000. */
async function oneRow(page, first) {
  assert.equal(Object.keys(first).length, 1001, "the list and its rows");
  const { app, told, ...rows } = await change(page, 2);
  assert.equal(app, undefined, "not the list");
  assert.ok(told[others[2].userId] > 0);
  assert.ok(Object.keys(told).length <= others.length + 1);
  // The server may have told of somebody else's activity too; oneself is no row.
  delete told[me.userId];
  assert.deepEqual(rows, told, "each who changed, as often");
}

test("React: one user's change renders one row of 1,000", async () => {
  const { page, problems } = await open();
  const first = await page.evaluate(async () => {
    const { createElement } = await import("react");
    const { createRoot } = await import("react-dom/client");
    const { PilotlightProvider, usePresence } = await import("pilotlight/react");
    const Row = ({ userId }) => {
      rendered(userId);
      const who = usePresence(userId);
      return createElement("li", null, `${who?.state ?? "?"} ${who?.statusMsg}`);
    };
    const App = () => {
      rendered("app");
      return rows.map((userId) => createElement(Row, { key: userId, userId }));
    };
    window.root = createRoot(document.getElementById("app"));
    root.render(createElement(PilotlightProvider, { client }, createElement(App)));
    while (document.querySelectorAll("li").length < 1000) await new Promise((resolve) => setTimeout(resolve, 20));
    return taken();
  });
  assert.ok(Object.values(first).every((count) => count === 1), "each once");
  await oneRow(page, first);
  assert.equal(await page.evaluate(() => active), 1000);
  await page.evaluate(() => root.unmount());
  assert.equal(await page.evaluate(() => active), 0);
  assert.deepEqual(problems, []);
  await page.close();
});

test("React: every hook follows what it reads; StrictMode leaves no subscription; a client that was freed is as none", async () => {
  const { page, problems } = await open();
  const seen = () => page.evaluate(() => window.seen);
  await page.evaluate(async (roomId) => {
    const { StrictMode, createElement } = await import("react");
    const { createRoot } = await import("react-dom/client");
    const hooks = await import("pilotlight/react");
    window.roomId = roomId;
    const Everything = ({ userId, own }) => {
      const room = [roomId, own];
      const user = [userId, own];
      window.seen = {
        me: hooks.useMe(own), connection: hooks.useConnection(own), idle: hooks.useIdle(own), presences: hooks.usePresences(own), contacts: hooks.useContacts(own),
        rooms: hooks.useRooms(own), calls: hooks.useCalls(own), notifySettings: hooks.useNotifySettings(own), presence: hooks.usePresence(...user),
        contact: hooks.useContact(...user), room: hooks.useRoom(...room), timeline: hooks.useTimeline(...room), past: hooks.usePast(...room),
        members: hooks.useMembers(...room), snapshot: hooks.useSnapshot({ room: roomId }, own), client: hooks.usePilotlight() !== undefined,
      };
      return null;
    };
    window.root = createRoot(document.getElementById("app"));
    window.show = (props, provided) => root.render(createElement(StrictMode, null, createElement(hooks.PilotlightProvider, { client: provided }, createElement(Everything, props))));
    show({ userId: rows[0] });
  }, roomId);
  await page.waitForFunction(() => window.seen);
  const nothing = {
    me: undefined, connection: "stopped", idle: false, presences: [], contacts: [], rooms: [], calls: [], notifySettings: undefined, presence: undefined,
    contact: undefined, room: undefined, timeline: [], past: [], members: [], snapshot: undefined, client: false,
  };
  assert.deepEqual({ ...nothing, ...(await seen()) }, nothing, "without a client");

  await page.evaluate(() => show({ userId: rows[0] }, client));
  await page.waitForFunction(() => seen.client && seen.members.length === 6);
  assert.equal(await page.evaluate(() => active), 15, "one for each hook, in StrictMode too");
  const current = () =>
    page.evaluate(() => {
      const as = { presence: { presence: rows[0] }, contact: { contact: rows[0] }, snapshot: { room: roomId } };
      for (const kind of ["room", "timeline", "past", "members"]) as[kind] = { [kind]: roomId };
      return Object.keys(seen).filter((kind) => kind !== "client" && seen[kind] !== client.read(as[kind] ?? kind));
    });
  const follows = (what) => until(what, async () => (await current()).length === 0);
  await follows("at first");
  const steps = {
    "a message": () => client.sendText(roomId, "hello"),
    "my state": () => client.setPresence("busy", "x"),
    "settings": () => client.setNotifySettings({ mutedIn: [], groups: {} }),
    "a contact": () => client.addContact(rows[0]),
  };
  for (const [what, step] of Object.entries(steps)) {
    const before = await page.evaluate(() => JSON.stringify(seen));
    await page.evaluate(`(${step})()`);
    await until(what, () => page.evaluate((before) => JSON.stringify(seen) !== before, before));
    await follows(what);
  }
  await page.evaluate(() => show({ userId: rows[1] }, client));
  await page.waitForFunction(() => seen.presence?.userId === rows[1]);
  await page.evaluate(() => show({ userId: undefined }, client));
  await page.waitForFunction(() => seen.presence === undefined && seen.members.length === 6);
  await page.evaluate(() => show({ userId: rows[0], own: client }));
  await page.waitForFunction(() => !seen.client && seen.members.length === 6);

  await page.evaluate(() => client.free());
  await page.evaluate(() => show({ userId: rows[1] }, client));
  await page.waitForFunction(() => seen.client && seen.members.length === 0);
  assert.deepEqual({ ...nothing, ...(await seen()), client: false }, nothing, "freed");
  await page.evaluate(() => root.unmount());
  assert.equal(await page.evaluate(() => active), 0);
  assert.deepEqual(problems, []);
  await page.close();
});

const SSR = `
  import { createElement } from "react";
  import { PilotlightProvider, useConnection, usePresence, useRooms } from "pilotlight/react";
  const App = ({ userId }) => createElement("p", null, useConnection(), " ", usePresence(userId)?.state ?? "?", " ", useRooms().length);
  export const app = (client, userId) => createElement(PilotlightProvider, { client }, createElement(App, { userId }));
`;

test("React: what a server renders is taken over in the page, and then says what the client knows", async () => {
  writeFileSync(join(dir, "app.js"), SSR);
  const program = `import { renderToString } from "react-dom/server"; import { app } from "./app.js"; console.log(renderToString(app(undefined, "@x:y")));`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], { cwd: dir, encoding: "utf8" });
  assert.equal(stderr, "");
  const html = stdout.trim();
  assert.equal(html, "<p>stopped<!-- --> <!-- -->?<!-- --> <!-- -->0</p>");
  const { page, problems } = await open();
  const kept = await page.evaluate(async ([html, userId]) => {
    const { hydrateRoot } = await import("react-dom/client");
    const { app } = await import("/app.js");
    const element = document.getElementById("app");
    element.innerHTML = html;
    const paragraph = element.firstChild;
    hydrateRoot(element, app(client, userId));
    while (!element.textContent.startsWith("online")) await new Promise((resolve) => setTimeout(resolve, 20));
    return [element.firstChild === paragraph, element.textContent];
  }, [html, others[0].userId]);
  assert.deepEqual(kept, [true, "online online 1"]);
  assert.deepEqual(problems, []);
  await page.close();
});

test("Vue: one user's change renders one row of 1,000, and refs follow what they are given", async () => {
  const { page, problems } = await open();
  const first = await page.evaluate(async (roomId) => {
    const { createApp, effectScope, h, nextTick, shallowRef } = await import("vue");
    const entry = await import("pilotlight/vue");
    const Row = {
      props: ["userId"],
      setup(props) {
        const who = entry.usePresence(() => props.userId);
        return () => {
          rendered(props.userId);
          return h("li", `${who.value?.state ?? "?"} ${who.value?.statusMsg}`);
        };
      },
    };
    const App = () => {
      rendered("app");
      return rows.map((userId) => h(Row, { key: userId, userId }));
    };
    window.app = createApp(App).use(entry.pilotlight(client));
    app.mount("#app");
    await nextTick();
    const scope = effectScope();
    const [userId, source] = [shallowRef(), shallowRef()];
    scope.run(() => {
      window.refs = { me: entry.useMe(source), presence: entry.usePresence(userId, source), members: entry.useMembers(roomId, source), rooms: entry.useRooms(source) };
    });
    Object.assign(window, { scope, userId, source });
    return taken();
  }, roomId);
  assert.ok(Object.values(first).every((count) => count === 1), "each once");
  await oneRow(page, first);
  assert.equal(await page.evaluate(() => active), 1000);
  const said = await page.evaluate(() => {
    const values = () => [refs.me.value === client.me, refs.presence.value === client.presenceOf(rows[0]), refs.presence.value === undefined, active];
    const before = [refs.me.value, refs.presence.value, refs.members.value];
    source.value = client;
    const [without, a] = [values(), (userId.value = rows[0])];
    const given = values();
    userId.value = rows[1];
    const moved = [refs.presence.value === client.presenceOf(rows[1]), active];
    return { before, without, given, moved, a: a === rows[0] };
  });
  assert.deepEqual(said.without, [true, false, true, 1003]);
  assert.deepEqual(said.given, [true, true, false, 1004]);
  assert.deepEqual(said.moved, [true, 1004]);
  await page.waitForFunction(() => refs.members.value.length === 6);
  await page.evaluate(() => client.setPresence("busy"));
  await page.waitForFunction(() => refs.me.value.state === "busy" && refs.me.value === client.me);
  await page.evaluate(() => [scope.stop(), app.unmount()] && 0);
  assert.equal(await page.evaluate(() => active), 0);
  assert.deepEqual(problems.filter((problem) => !problem.startsWith("You are running a development build of Vue")), []);
  await page.close();
});

test("Svelte: one user's change renders one row of 1,000, and stores are what Svelte takes for stores", async () => {
  const { page, problems } = await open();
  const first = await page.evaluate(async (roomId) => {
    const { mount, unmount, flushSync } = await import("svelte");
    const { default: Row } = await import("row");
    const { derived, get } = await import("svelte/store");
    const entry = await import("pilotlight/svelte");
    const target = document.getElementById("app");
    rendered("app");
    const onrender = (userId) => {
      rendered(userId);
      return "";
    };
    const mounted = rows.map((userId) => mount(Row, { target, props: { client, userId, onrender } }));
    flushSync();
    window.unmountAll = () => Promise.all(mounted.map((row) => unmount(row)));
    window.count = derived(entry.members(client, roomId), (members) => members.length);
    window.got = () => [get(entry.me(client)) === client.me, get(entry.room(client, roomId)) === client.room(roomId), get(entry.rooms(undefined))];
    return taken();
  }, roomId);
  await oneRow(page, first);
  assert.equal(await page.evaluate(() => active), 1000);
  assert.deepEqual(await page.evaluate(() => got()), [true, true, undefined]);
  await page.evaluate(() => new Promise((resolve) => window.offCount = count.subscribe((members) => members === 6 && setTimeout(resolve))));
  await page.evaluate(() => [offCount(), unmountAll()][1]);
  assert.equal(await page.evaluate(() => active), 0);
  assert.deepEqual(problems, []);
  await page.close();
});

test("what the README has to copy runs: a component of each, and the rest", async () => {
  const { page, problems } = await open();
  const texts = () => page.evaluate(() => [...document.querySelectorAll("#app span")].map((span) => `${span.textContent} ${span.title}`));
  await page.evaluate(async (userId) => {
    const place = () => document.getElementById("app").appendChild(document.createElement("div"));
    const [{ createElement }, { createRoot }, { App }] = await Promise.all([import("react"), import("react-dom/client"), import("/readme/react.js")]);
    createRoot(place()).render(createElement(App, { client, userId }));
    const [{ createApp }, { pilotlight }, { default: Vue }] = await Promise.all([import("vue"), import("pilotlight/vue"), import("/readme/vue.js")]);
    createApp(Vue, { userId }).use(pilotlight(client)).mount(place());
    const [{ mount }, { default: Svelte }] = await Promise.all([import("svelte"), import("/readme/svelte.js")]);
    mount(Svelte, { target: place(), props: { client, userId } });
  }, others[1].userId);
  for (const words of ["one", "two"]) {
    await others[1].setPresence("busy", words);
    await until(words, async () => (await texts()).join() === Array(3).fill(`busy ${words}`).join());
  }
  assert.deepEqual(problems.filter((problem) => !problem.startsWith("You are running a development build of Vue")), []);
  await page.close();

  const device = await Device.login(server.baseUrl, me.userId.slice(1).split(":")[0]);
  const client = await pilotlight.Client.create(sessionOf(device));
  client.start();
  await until("heard", () => client.presenceOf(others[1].userId)?.state === "busy");
  const said = [];
  const control = new AbortController();
  const run = new (async () => {}).constructor("client", "userId", "signal", "console", readme.js.replace("for await", "queueMicrotask(() => client.stop()); for await"));
  await run(client, others[1].userId, control.signal, { log: (...words) => said.push(words) });
  assert.deepEqual(said[0], [true]);
  assert.ok(said.some(([word]) => word === "unknown") && said.some(([word]) => Array.isArray(word)));
  assert.equal(said.at(-1)[0].reasons[0].code, "stopped");
  client.free();
});

test("their types hold under tsc --strict, and refuse what is wrong", () => {
  writeFileSync(join(dir, "consumer.ts"), `
    import type { Client, Me, Presence, Room, TimelineItem } from "pilotlight";
    import { createElement } from "react";
    import { PilotlightProvider, useMe, usePresence, useRooms, useSnapshot, useTimeline } from "pilotlight/react";
    import { fromStore } from "svelte/store";
    import * as stores from "pilotlight/svelte";
    import { createApp, ref, type ShallowRef } from "vue";
    import * as refs from "pilotlight/vue";
    declare const client: Client, maybe: Client | undefined;
    createElement(PilotlightProvider, { client: maybe }, createElement("p"));
    const me: Me | undefined = useMe(), presence: Presence | undefined = usePresence("@a:b", client), rooms: readonly Room[] = useRooms();
    const items: readonly TimelineItem[] = useTimeline(undefined), words: string | undefined = useSnapshot({ presence: "@a:b" })?.statusMsg;
    // @ts-expect-error there may be no client
    useSnapshot("me").state;
    // @ts-expect-error of whom
    usePresence();
    // @ts-expect-error no such thing
    useSnapshot({ presens: "@a:b" });
    createApp({}).use(refs.pilotlight(client)).use(refs.pilotlight(ref<Client>()));
    const mine: Readonly<ShallowRef<Me | undefined>> = refs.useMe(), theirs: Presence | undefined = refs.usePresence(() => "@a:b").value;
    // @ts-expect-error read only
    refs.useMe().value = undefined;
    const state: string = fromStore(stores.me(client)).current.state, none: undefined = fromStore(stores.rooms(undefined)).current;
    // @ts-expect-error of whom
    stores.presence(client);
    export { items, me, mine, none, presence, rooms, state, theirs, words };
  `);
  const compilerOptions = {
    noEmit: true, strict: true, target: "ES2022", module: "ESNext", moduleResolution: "bundler", types: [], lib: ["ES2022", "DOM"], skipLibCheck: true, preserveSymlinks: true,
  };
  writeFileSync(join(dir, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["consumer.ts"] }));
  const checked = spawnSync(join(tools, ".bin/tsc"), { cwd: dir, encoding: "utf8" });
  assert.equal(checked.stdout, "");
});

test("the entries of Vue and Svelte are small enough to be read in one go", () => {
  for (const entry of ["vue", "svelte"]) {
    const lines = readFileSync(join(root, `pkg/${entry}.js`), "utf8").trim().split("\n").length;
    assert.ok(lines < 40, `${entry}: ${lines} lines`);
  }
});
