// Which Rust is compiled when the steps of `make test` run tests: the files that a chain of `mod` leads to from the
// targets in Cargo.toml, without what a `cfg` takes out.
import { dirname, join } from "node:path";
import { closing, fileOf, is, itemEnd, tokens } from "./rust-imports.mjs";

/**
 * What a `cfg` may ask, and the answer in each of the builds whose tests are run: the steps `native`, and `wasm-node`
 * and `wasm-chromium`. What is not listed counts as not built, and so does its `not(…)`.
 */
const NATIVE = { test: true, unix: true, 'target_os = "linux"': true, 'target_arch = "wasm32"': false };
const WASM = { test: true, unix: false, 'target_os = "linux"': false, 'target_arch = "wasm32"': true, 'feature = "dom"': true };

/** The roots of the targets whose tests cargo runs by default, with the builds they are in. */
export function targets(cargo) {
  const sections = cargo.split(/^(?=\[)/m);
  const list = (section, key) => [...(new RegExp(`^${key} = \\[([^\\]]*)\\]`, "m").exec(section)?.[1] ?? "").matchAll(/"([^"]+)"/g)].map(([, one]) => one);
  const features = sections.find((one) => one.startsWith("[features]")) ?? "";
  const on = new Set(["default"]);
  for (const one of on) list(features, one).forEach((other) => on.add(other));
  const built = (build) => ({ ...build, ...Object.fromEntries([...on].map((one) => [`feature = "${one}"`, true])) });
  return sections.flatMap((section) => {
    const kind = /^\[+(lib|bin|test)\]/.exec(section)?.[1];
    const file = /^path = "(.*)"/m.exec(section)?.[1] ?? (kind === "lib" ? "src/lib.rs" : undefined);
    if (!kind || !file || /^(test|harness) = false/m.test(section)) return [];
    if (!list(section, "required-features").every((one) => on.has(one))) return [];
    return [{ file, builds: (kind === "lib" ? [NATIVE, WASM] : [NATIVE]).map(built) }];
  });
}

/** What a predicate, from `at` on, is in a build, and the place behind it: true, false, or nothing when unknown. */
function predicate(code, at, build) {
  const name = code[at].value;
  if (is(code[at + 1], "=")) return [build[`${name} = "${code[at + 2].value}"`], at + 3];
  if (!is(code[at + 1], "(")) return [build[name], at + 1];
  const end = closing(code, at + 1);
  const found = [];
  for (at += 2; at < end; ) {
    const [value, next] = predicate(code, at, build);
    found.push(value);
    at = is(code[next], ",") ? next + 1 : next;
  }
  const decides = { all: false, any: true }[name];
  if (name === "not") return [found[0] === undefined ? undefined : !found[0], end + 1];
  if (decides === undefined) return [undefined, end + 1];
  return [found.includes(decides) ? decides : found.includes(undefined) ? undefined : !decides, end + 1];
}

/** The builds that remain behind the attribute whose bracket is at `at`. */
function remaining(code, at, builds) {
  if (is(code[at + 1], "cfg")) return builds.filter((build) => predicate(code, at + 3, build)[0] === true);
  const conditional = is(code[at + 1], "cfg_attr") && code.slice(at + 2, closing(code, at)).some((token) => is(token, "cfg"));
  return conditional ? [] : builds;
}

/** file → what is left out in it, as pairs of offsets. `read` answers a file's text, or nothing. */
export function compiled(roots, read) {
  const files = new Map();

  const load = (file, folder, builds) => {
    const text = read(file);
    if (text === undefined || files.has(file)) return;
    const code = tokens(text);
    const out = [];
    files.set(file, out);
    const leave = (from, to) => out.push([code[from].start, code[to]?.start ?? text.length]);

    const walk = (at, end, folder, builds) => {
      for (let depth = 0; at < end; at++) {
        const inner = is(code[at], "#") && is(code[at + 1], "!") && is(code[at + 2], "[");
        const outer = is(code[at], "#") && is(code[at + 1], "[");
        if (inner || outer) {
          const bracket = at + (inner ? 2 : 1);
          if (is(code[bracket + 1], "path")) throw new Error(`${file}:${code[at].line}: \`#[path]\` is not understood`);
          const left = remaining(code, bracket, builds);
          const behind = closing(code, bracket) + 1;
          const to = left.length === builds.length ? behind : inner ? end : itemEnd(code, at);
          if (left.length === 0) leave(at, to);
          else walk(behind, to, folder, left);
          at = to - 1;
        } else if (is(code[at], "macro_rules") && is(code[at + 1], "!")) {
          // Its pattern may be no Rust, and its code is compiled only where it is called.
          leave(at, closing(code, at + 3) + 1);
          at = closing(code, at + 3);
        } else if (is(code[at], "mod") && depth === 0 && is(code[at + 2], ";")) {
          const child = fileOf(folder, code[at + 1].value, (path) => read(path) !== undefined);
          if (child) load(child, join(folder, code[at + 1].value), builds);
        } else if (is(code[at], "mod") && depth === 0 && is(code[at + 2], "{")) {
          const close = closing(code, at + 2);
          walk(at + 3, close, join(folder, code[at + 1].value), builds);
          at = close;
        } else if (code[at].kind === "mark") {
          if ("([{".includes(code[at].value)) depth++;
          if (")]}".includes(code[at].value)) depth--;
        }
      }
    };
    walk(0, code.length, folder, builds);
  };

  for (const { file, builds } of roots) load(file, dirname(file), builds);
  return files;
}
