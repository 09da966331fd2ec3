// matrix-js-sdk in a page: its files as they are installed, each a module of the browser's, without a bundler. What is of Node's
// kind of module is wrapped.
import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const modules = realpathSync(join(dirname(fileURLToPath(import.meta.url)), "../node_modules"));
const ENTRY = join(modules, "matrix-js-sdk/lib/index.js");
const IDENTIFIER = /^[A-Za-z_$][\w$]*$/;

/** Serves a page in which `window.sdk` becomes the SDK; `{ url, close }`. */
export async function serveSdk() {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    try {
      const [type, text] = pathname === "/" ? ["text/html", page()] : ["text/javascript", asModule(decodeURIComponent(pathname))];
      response.writeHead(200, { "content-type": type }).end(text);
    } catch (error) {
      response.writeHead(404).end(String(error));
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}

function page() {
  return `<!doctype html><script>globalThis.global = globalThis; globalThis.process = { env: {} };</script>
    <script type="module">import * as sdk from ${JSON.stringify(ENTRY)}; window.sdk = sdk;</script>`;
}

/** Where a module finds another, as a path on this disk: what a bundler for browsers would take. */
function resolved(name, from) {
  if (name.startsWith(".")) return onDisk(join(dirname(from), name));
  if (name.startsWith("/")) return name;
  const [, of, rest] = /^((?:@[^/]+\/)?[^/]+)(.*)$/.exec(name);
  const nested = join(dirname(from), "node_modules", of);
  const folder = existsSync(nested) ? nested : join(modules, of);
  const { exports = {}, module, main = "index.js" } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const entry = rest === "" ? (exports["."] ?? (exports.import ? exports : undefined)) : exports[`.${rest}`];
  return onDisk(join(folder, chosen(entry) ?? (rest === "" ? module ?? main : `.${rest}`)));
}

/** Of the conditions of a package's entry those of browsers and of modules. */
function chosen(entry) {
  if (entry === undefined || typeof entry === "string") return entry;
  if (Array.isArray(entry)) return chosen(entry[0]);
  return chosen(entry.browser ?? entry.import ?? entry.default);
}

function onDisk(path) {
  const found = [path, `${path}.js`, join(path, "index.js")].find((one) => statSync(one, { throwIfNoEntry: false })?.isFile());
  if (!found) throw new Error(`${path} is not there`);
  return found;
}

function asModule(file) {
  if (!file.startsWith(modules)) throw new Error("no such module");
  const text = readFileSync(file, "utf8");
  if (file.endsWith(".json")) return `export default ${text};`;
  if (/^(?:import\b|export\b)/m.test(text)) {
    return text.replace(/(\bfrom\s*|^import\s*|\bimport\()(["'])([^"'\s]+)\2/gm, (_, before, quote, name) => `${before}${quote}${target(name, file)}${quote}`);
  }
  const names = Object.keys(createRequire(file)(file)).filter((name) => IDENTIFIER.test(name) && name !== "default");
  return `const { made, makes } = (globalThis.wrapped ??= { made: {}, makes: {} });
    const load = (file) => {
      if (!made[file]) makes[file]((made[file] = { exports: {} }), made[file].exports, (name) => load(makes[file].needs[name]));
      return made[file].exports;
    };
    ${[...wrapped(file)].map(([one, { needs, text }]) => `makes[${JSON.stringify(one)}] ??= Object.assign(function (module, exports, require) {${text}
    }, { needs: ${JSON.stringify(needs)} });`).join("\n")}
    const all = load(${JSON.stringify(file)});
    export default all;
    ${names.map((name, n) => `const name${n} = all[${JSON.stringify(name)}]; export { name${n} as ${name} };`).join("\n")}`;
}

/** A module of Node's kind with all that it needs, which may need each other in a circle. */
function wrapped(file, found = new Map()) {
  if (found.has(file)) return found;
  const text = readFileSync(file, "utf8");
  const isData = file.endsWith(".json");
  const named = isData ? [] : [...text.matchAll(/\brequire\(["']([^"']+)["']\)/g)].map(([, name]) => name);
  const needs = Object.fromEntries(named.map((name) => [name, target(name, file)]));
  found.set(file, { needs, text: isData ? `module.exports = ${text}` : text });
  for (const need of Object.values(needs)) if (need.startsWith("/")) wrapped(need, found);
  return found;
}

function target(name, file) {
  try {
    return resolved(name, file);
  } catch {
    return name; // said in a comment, or never loaded
  }
}
