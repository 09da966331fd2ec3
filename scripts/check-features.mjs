// docs/features.md names every requirement, modules that exist and tests that exist. With --self-test, a
// table that is wrong in each way is refused.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const REQUIREMENTS = { P: 13, L: 8, F: 11, M: 16, W: 7, O: 5 };

function files(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name === "node_modules" || entry.name === "wasm") return [];
    const path = join(folder, entry.name);
    return entry.isDirectory() ? files(path) : [path];
  });
}

const sources = ["src", "tests"].flatMap(files).filter((path) => /\.(rs|mjs|py)$/.test(path));
const text = new Map(sources.map((path) => [path, readFileSync(path, "utf8")]));
const functions = new Set([...text.values()].flatMap((source) => [...source.matchAll(/\bfn (\w+)/g)].map((match) => match[1])));

/** `a::{b,c}::d` → `a::b::d`, `a::c::d` */
function alternatives(path) {
  const braces = /\{([^}]*)\}/.exec(path);
  if (!braces) return [path];
  return braces[1].split(",").flatMap((one) => alternatives(path.replace(braces[0], one.trim())));
}

/** A module or folder of src/, or something in `www/` or `pkg/`. */
function moduleExists(name) {
  if (/^(pkg|www)\//.test(name)) return existsSync(name);
  const path = join("src", ...name.split("::"));
  return [`${path}.rs`, path].some(existsSync);
}

/** Whether there are functions of this name, in which `…` and `*` stand for anything; in one file, if it is named. */
function testExists(pattern, file) {
  const wanted = new RegExp(`^${pattern.replace(/…|\*/g, "\\w*")}$`);
  const known = file ? [...text.get(file).matchAll(/\bfn (\w+)/g)].map((match) => match[1]) : [...functions];
  return known.some((name) => wanted.test(name));
}

function proofExists(name) {
  if (name.startsWith("docs/") || name.endsWith(".md")) return existsSync(name);
  if (name === "nio") return existsSync("tests/nio");
  if (name === "e2e/*") return true;
  if (name.startsWith("e2e/")) return existsSync(`tests/${name}.test.mjs`);
  const parts = name.replace(/^integration::/, "").split("::");
  const file = `tests/integration/${parts[0]}.rs`;
  if (existsSync(file)) return parts.length === 1 || testExists(parts.slice(1).join("::"), file);
  if (parts.length > 1 || moduleExists(name)) {
    const last = parts.at(-1);
    return moduleExists(name) || (moduleExists(parts.slice(0, -1).join("::")) && testExists(last));
  }
  return testExists(name);
}

const quoted = (cell) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1]);

/** What is wrong with a features table. */
function complaints(markdown) {
  const found = new Set();
  const wrong = [];
  for (const line of markdown.split("\n")) {
    if (!line.startsWith("| ") || line.startsWith("| ID")) continue;
    const [first, state, modules, proofs] = line.split(" |").map((cell) => cell.replace(/^\|? ?/, "").trim());
    const id = /^([A-Z]\d+)\b/.exec(first)?.[1];
    if (id) found.add(id);
    if (!/^(done|part|open)\b/.test(state)) wrong.push(`${first}: neither done, part nor open`);
    if (/^done/.test(state) && quoted(proofs).length === 0 && !/\]\(/.test(proofs)) wrong.push(`${first}: done, and nothing proves it`);
    for (const name of quoted(modules).flatMap(alternatives)) {
      if (name !== "main" && !moduleExists(name)) wrong.push(`${first}: there is no module \`${name}\``);
    }
    for (const name of quoted(proofs).flatMap(alternatives)) {
      if (!proofExists(name)) wrong.push(`${first}: there is no test \`${name}\``);
    }
  }
  for (const [letter, count] of Object.entries(REQUIREMENTS)) {
    for (let n = 1; n <= count; n++) if (!found.has(`${letter}${n}`)) wrong.push(`${letter}${n} is missing`);
  }
  return wrong;
}

const markdown = readFileSync("docs/features.md", "utf8");
if (process.argv[2] === "--self-test") {
  const row = (cells) => `${markdown}\n| ${cells.join(" | ")} |\n`;
  const bad = {
    "a missing requirement": markdown.replace(/^\| P1 .*$/m, ""),
    "a state of its own": row(["X", "almost", "", ""]),
    "nothing that proves it": row(["X", "done", "`core::presence`", ""]),
    "a module that is not there": row(["X", "part", "`core::nowhere`", ""]),
    "a test that is not there": row(["X", "part", "", "`no_such_test`"]),
    "a test that is not in the file": row(["X", "part", "", "`integration::cli::no_such_test`"]),
    "an end-to-end test that is not there": row(["X", "part", "", "`e2e/nowhere`"]),
  };
  const unseen = Object.entries(bad).filter(([, table]) => complaints(table).length === complaints(markdown).length);
  for (const [what] of unseen) console.error(`the check does not see ${what}`);
  if (unseen.length > 0) process.exit(1);
}
const wrong = complaints(markdown);
for (const line of wrong) console.error(`docs/features.md: ${line}`);
process.exit(wrong.length > 0 ? 1 : 0);
