// No circle of imports among the files of src/core, nor among those of src/server: a file names its neighbours by
// file, never its own folder's mod.rs, and a mod.rs defines nothing that its files need.
//
//   node scripts/check-imports.mjs [--only src/core]   prints a shortest circle of each knot, and fails
//   node scripts/check-imports.mjs --edges FILE        what FILE imports, and who imports FILE
//   node scripts/check-imports.mjs --self-test         plants circles and expects each to be named
//
// What counts as an import: rust-imports.mjs.
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Crate } from "./rust-imports.mjs";

const TREES = ["src/core", "src/server"];
/** Where nobody inside a folder may name its mod.rs at all, not even one that names nobody back. */
const STRICT = ["src/core", "src/server"];

/** The files from `start` back to itself by the fewest imports, or nothing. */
function shortest(edges, start) {
  const cameFrom = new Map();
  for (const queue = [start]; queue.length > 0; ) {
    const file = queue.shift();
    for (const next of edges.get(file).keys()) {
      if (next === start) {
        const chain = [file];
        while (chain[0] !== start) chain.unshift(cameFrom.get(chain[0]));
        return chain;
      }
      if (!cameFrom.has(next)) {
        cameFrom.set(next, file);
        queue.push(next);
      }
    }
  }
  return undefined;
}

const within = (tree) => (file) => file.startsWith(`${tree}/`) || file === `${tree}.rs`;

/** Files that reach each other, each group with one shortest circle in it. */
function circles(imports, tree) {
  const inside = within(tree);
  const edges = new Map();
  for (const [file, to] of imports) if (inside(file)) edges.set(file, new Map([...to].filter(([other]) => inside(other))));
  const reach = (start) => {
    const seen = new Set();
    for (const stack = [start]; stack.length > 0; ) {
      for (const next of edges.get(stack.pop()).keys()) {
        if (!seen.has(next)) {
          seen.add(next);
          stack.push(next);
        }
      }
    }
    return seen;
  };
  const reached = new Map([...edges.keys()].map((file) => [file, reach(file)]));
  const done = new Set();
  const found = [];
  for (const file of edges.keys()) {
    if (done.has(file) || !reached.get(file).has(file)) continue;
    const group = [...reached.get(file)].filter((other) => reached.get(other).has(file)).sort();
    for (const other of group) done.add(other);
    const chains = group.map((start) => shortest(edges, start)).sort((a, b) => a.length - b.length);
    found.push({ group, chain: chains[0] });
  }
  return found;
}

/** Imports of a file that the importing one lies in, as `file:line: …`. */
function upward(crate, imports, tree) {
  const inside = within(tree);
  return [...imports].flatMap(([file, to]) =>
    inside(file) ? [...crate.around(file)].filter((around) => inside(around) && to.has(around)).map((around) => crate.quote(file, to.get(around))) : [],
  );
}

/** What is wrong in these trees: with a circle, its chain of files. */
function complaints(root, trees, strict = STRICT) {
  const crate = new Crate(root);
  const imports = crate.imports();
  for (const tree of trees) if (![...imports.keys()].some(within(tree))) throw new Error(`${tree} has no modules`);
  const ups = trees.filter((tree) => strict.includes(tree)).flatMap((tree) => upward(crate, imports, tree));
  const named = ups.map((line) => ({ chain: [], text: `named from inside its own folder:\n    ${line}` }));
  const knots = trees.flatMap((tree) =>
    circles(imports, tree).map(({ group, chain }) => {
      const steps = chain.map((file, at) => `    ${crate.quote(file, imports.get(file).get(chain[(at + 1) % chain.length]))}`);
      const title = `${tree}: ${group.length} files import each other, the shortest circle is ${chain.length} long:`;
      return { chain, text: [title, ...steps, `    → ${chain[0]}`, ...group.map((file) => `  in it: ${file}`)].join("\n") };
    }),
  );
  return [...knots, ...named];
}

function edges(root, file) {
  const crate = new Crate(root);
  const imports = crate.imports();
  if (!imports.has(file)) throw new Error(`${file} is no module of the crate outside tests`);
  console.log(`${file} imports`);
  for (const [to, line] of [...imports.get(file)].sort()) console.log(`  ${to}\n      ${crate.quote(file, line)}`);
  console.log(`${file} is imported by`);
  for (const [from, to] of [...imports].sort()) if (to.has(file)) console.log(`  ${crate.quote(from, to.get(file))}`);
}

/** Circles that are to be named, and what looks like one; each a few files in a folder of their own. */
const planted = {
  "two siblings": {
    files: { "mod.rs": "mod a;\nmod b;", "a.rs": "use super::b::B;\npub struct A;", "b.rs": "pub struct B(super::a::A);\nuse super::{\n  a::{self, A as C},\n};" },
    circle: ["a.rs", "b.rs"],
  },
  "a file and its folder's mod.rs": {
    files: { "mod.rs": "mod a;\nuse a::A;\npub struct Top;", "a.rs": "use super::Top;\npub struct A;" },
    circle: ["a.rs", "mod.rs"],
  },
  "a file and the mod.rs that hands its sibling on": {
    files: { "mod.rs": "mod a;\nmod b;\npub use a::A;\npub use b::b;", "a.rs": "pub struct A;\nfn f() { super::b() }", "b.rs": "pub fn b() {}" },
    circle: ["a.rs", "mod.rs"],
  },
  "a path in a mod.rs for its own child": {
    files: { "mod.rs": "mod a;\nfn f() -> u8 { 1 + a::g() }", "a.rs": "use super::*;\npub fn g() -> u8 { 2 }" },
    circle: ["a.rs", "mod.rs"],
  },
  "paths in code": {
    files: {
      "mod.rs": "mod a;\nmod b;",
      "a.rs": "fn f<'a>(c: char) -> bool { c == '\"' && crate::core::planted::b::g(c) }",
      "b.rs": 'pub fn g(_: char) -> bool { r#""//"#.is_empty() /* " /* */ */ || super::a::h() }\n',
    },
    circle: ["a.rs", "b.rs"],
  },
  "a path in an attribute": {
    files: { "mod.rs": "mod a;\nmod b;", "a.rs": '#[serde(with = "super::b::c")]\nstruct A;', "b.rs": "use super::a::A;" },
    circle: ["a.rs", "b.rs"],
  },
  "three files of different folders": {
    files: {
      "mod.rs": "pub(crate) mod one;\nmod two;\nmod three;",
      "one/mod.rs": "pub mod a;",
      "one/a.rs": "use crate::core::planted::two::b;\nfn f() { b::g() }",
      "two/mod.rs": "pub mod b;",
      "two/b.rs": "use super::super::three;\npub fn g() { three::c::h() }",
      "three/mod.rs": "pub mod c;",
      "three/c.rs": "pub use crate::core::planted::one::a::*;",
    },
    circle: ["one/a.rs", "three/c.rs", "two/b.rs"],
  },
  "a file that names its folder's mod.rs": {
    files: { "mod.rs": "mod a;\npub struct Top;", "a.rs": "use std::fmt;\nuse super::Top;" },
    upward: "a.rs",
  },
  "what only tests name": {
    files: {
      "mod.rs": "mod a;\nuse a::A;\n#[cfg(test)]\nmod tests;",
      "a.rs": "#[cfg(test)]\nuse super::Top;\npub struct A { #[cfg(test)] top: Map<u8, super::Top> }\n#[cfg(all(test, not(unix)))]\nmod tests { use super::super::Top; }",
      "tests.rs": "use super::a::A;",
    },
  },
  "what comments and strings name": {
    files: { "mod.rs": "mod a;\nuse a::A;", "a.rs": '//! `super::Top`\n/* use super::Top; /* */ use super::Top; */\npub struct A;\nconst B: &str = "super::Top";\npub(in super::super) fn f() {}' },
  },
};

function selfTest() {
  const copy = mkdtempSync(join(tmpdir(), "imports-"));
  try {
    for (const [what, { files, circle, upward }] of Object.entries(planted)) {
      rmSync(join(copy, "src"), { recursive: true, force: true });
      cpSync("src", join(copy, "src"), { recursive: true });
      writeFileSync(join(copy, "src/core/mod.rs"), "\nmod planted;\n", { flag: "a" });
      for (const [name, text] of Object.entries(files)) {
        const path = join(copy, "src/core/planted", name);
        mkdirSync(dirname(path), { recursive: true });
        writeFileSync(path, `${text}\n`);
      }
      const place = (name) => `src/core/planted/${name}`;
      const found = complaints(copy, ["src/core"], upward ? ["src/core"] : []);
      const said = found.filter(({ text }) => text.includes("/planted/"));
      const expected = [...(circle ? [circle.map(place).sort().join()] : []), ...(upward ? [place(upward)] : [])];
      const named = said.map(({ chain, text }) => (chain.length > 0 ? chain.toSorted().join() : /\S+\.rs/.exec(text)[0]));
      if (named.join(" ") !== expected.join(" ")) throw new Error(`planted ${what}: expected ${expected}, found ${named}`);
    }
  } finally {
    rmSync(copy, { recursive: true });
  }
}

const [mode, argument] = process.argv.slice(2);
if (mode === "--self-test") selfTest();
else if (mode === "--edges") edges(".", argument);
else {
  const found = complaints(".", mode === "--only" ? [argument] : TREES);
  for (const { text } of found) console.error(text);
  process.exit(found.length > 0 ? 1 : 0);
}
