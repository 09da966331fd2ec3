// docs/features.md names every requirement, modules that exist, and tests that run and assert; and docs/proofs.txt
// spells out the tests behind each name, so that none is renamed, added or lost unseen.
//
//   node scripts/check-features.mjs               prints what is wrong, and fails
//   node scripts/check-features.mjs --write       writes docs/proofs.txt anew first
//   node scripts/check-features.mjs --self-test   also expects a table that is wrong in each way to be refused, and one
//                                                 whose tests were changed behind its back
//
// In the last column, between backticks:
//   core::list                 all tests of a module, a file or a folder
//   presence::p7_…             the one test there whose name begins so; without a module, the one anywhere
//   `l1_*` (4)                 these four tests: another number is refused
//   e2e/federation: states …   the one test in tests/e2e/federation.test.mjs whose title begins so
//   nio::test_presence_…       the same in Python; a file alone stands for all its tests, as above
// `{a,b}` stands for each of them.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { targets } from "./rust-tests.mjs";
import { sources, testsOf as testsIn } from "./tests.mjs";

const PROOFS = "docs/proofs.txt";

const REQUIREMENTS = { P: 14, L: 8, F: 11, M: 18, W: 7, O: 8 };

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

/** How the table calls what a file holds: `core::presence::merge`, `integration::cli`, `e2e/crash`, `nio`. */
function placeOf(file) {
  const place = file.replace(/(\/mod)?\.rs$|\.test\.mjs$/, "");
  if (place.startsWith("tests/e2e/")) return place.slice("tests/".length);
  if (place.startsWith("tests/nio/")) return "nio";
  return place.replace(/^(src|tests)\//, "").replaceAll("/", "::");
}

/** The tests that a proof names: all of a place, or those in it whose names match. */
function named(proof, tests) {
  const at = (place) => tests.filter((test) => test.place === place || test.place.startsWith(`${place}::`));
  const places = (name) => [name, `integration::${name}`].map(at).find((found) => found.length > 0) ?? [];
  const matching = (pattern, among) => {
    const wanted = new RegExp(`^${pattern.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/\\\*|…/g, ".*")}$`, "s");
    return among.filter((test) => wanted.test(test.name));
  };
  const [, file, title] = /^(e2e\/\w+)(?:: (.*))?$/.exec(proof) ?? [];
  if (file) return title ? matching(title, at(file)) : at(file);
  const all = places(proof);
  if (all.length > 0) return all;
  const parts = proof.split("::");
  return matching(parts.pop(), parts.length > 0 ? places(parts.join("::")) : tests.filter((test) => test.file.endsWith(".rs")));
}

/** Something else than a test. */
const isDocument = (proof) => proof.startsWith("docs/") || proof.endsWith(".md");

/** The names of the tests behind a proof, in order; one that is there in two places is there twice. */
const behind = (proof, tests) => [...new Set(alternatives(proof).flatMap((one) => named(one, tests)))].map((test) => test.name).sort();

/** What has changed behind a proof since `known` was written. */
function changes(proof, known, tests) {
  if (!known) return [`\`${proof}\` is not in ${PROOFS}`];
  const now = behind(proof, tests);
  const without = (names, others) => names.filter((name, i) => names.slice(0, i + 1).filter((one) => one === name).length > others.filter((one) => one === name).length);
  return [
    ...without(known, now).map((name) => `\`${proof}\` no longer has the test \`${name}\``),
    ...without(now, known).map((name) => `\`${proof}\` has a test that ${PROOFS} does not have: \`${name}\``),
  ];
}

/** What is wrong with one proof; `count` is the number in brackets behind it. */
function objections(proof, count, tests) {
  if (isDocument(proof)) return existsSync(proof) ? [] : [`there is no \`${proof}\``];
  const wrong = [];
  const found = new Set();
  for (const one of alternatives(proof)) {
    const these = named(one, tests);
    if (these.length === 0) wrong.push(`there is no test \`${one}\``);
    const whole = new Set(these.map((test) => test.place)).size > 1 || these.length > 1;
    if (one.includes("…") && whole) wrong.push(`\`${one}\` stands for ${these.length} tests`);
    if (!/[…*]/.test(one) && whole && these.every((test) => test.name === one.split("::").at(-1))) {
      wrong.push(`\`${one}\` stands for ${these.length} tests`);
    }
    these.forEach((test) => found.add(test));
  }
  if (proof.includes("*") && found.size > 0 && found.size !== count) {
    wrong.push(`\`${proof}\` stands for ${found.size} tests, the row says ${count ?? "no number"}`);
  }
  for (const { file, name, asserts, skipped } of found) {
    if (skipped) wrong.push(`\`${name}\` in ${file} does not run (ignored, skipped, under a \`cfg\`, or no \`mod\` leads to it)`);
    else if (!asserts) wrong.push(`\`${name}\` in ${file} asserts nothing`);
  }
  return wrong;
}

const quoted = (cell) => [...cell.matchAll(/`([^`]+)`(?: \((\d+)\))?/g)].map(([, name, count]) => [name, count && Number(count)]);

/** The cells of each row. */
function rows(markdown) {
  const lines = markdown.split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| ID"));
  return lines.map((line) => line.split(" |").map((cell) => cell.replace(/^\|? ?/, "").trim()));
}

/** proof → the names of the tests behind it, for every proof of a table */
function proofsOf(markdown, tests) {
  const all = rows(markdown).flatMap(([, , , proofs]) => quoted(proofs)).map(([proof]) => proof);
  return new Map([...new Set(all)].filter((proof) => !isDocument(proof)).sort().map((proof) => [proof, behind(proof, tests)]));
}

const HEADING = `# The tests behind each name in the last column of features.md, from \`node scripts/check-features.mjs --write\`.
# A change here changes what a row rests on: look at the row first.
`;

const written = (proofs) => HEADING + [...proofs].map(([proof, names]) => `\n${[proof, ...names.map((name) => `  ${name}`)].join("\n")}\n`).join("");

/** The reverse of `written`. */
function read(text) {
  const proofs = new Map();
  for (const line of text.split("\n").filter((line) => line !== "" && !line.startsWith("#"))) {
    if (line.startsWith("  ")) [...proofs.values()].at(-1).push(line.slice(2));
    else proofs.set(line, []);
  }
  return proofs;
}

/** What is wrong with a features table; `known` are the tests behind its proofs when somebody last looked. */
function complaints(markdown, tests, known) {
  const found = new Set();
  const wrong = [];
  for (const [first, state, modules, proofs] of rows(markdown)) {
    const id = /^([A-Z]\d+)\b/.exec(first)?.[1];
    if (id) found.add(id);
    if (!/^(done|part|open)\b/.test(state)) wrong.push(`${first}: neither done, part nor open`);
    if (/^done/.test(state) && quoted(proofs).length === 0 && !/\]\(/.test(proofs)) wrong.push(`${first}: done, and nothing proves it`);
    for (const name of quoted(modules).flatMap(([module]) => alternatives(module))) {
      if (name !== "main" && !moduleExists(name)) wrong.push(`${first}: there is no module \`${name}\``);
    }
    for (const [proof, count] of quoted(proofs)) {
      const news = isDocument(proof) ? [] : changes(proof, known.get(proof), tests);
      wrong.push(...[...objections(proof, count, tests), ...news].map((what) => `${first}: ${what}`));
    }
  }
  const now = proofsOf(markdown, tests);
  for (const proof of known.keys()) if (!now.has(proof)) wrong.push(`no row names \`${proof}\`, which is in ${PROOFS}`);
  for (const [letter, count] of Object.entries(REQUIREMENTS)) {
    for (let n = 1; n <= count; n++) if (!found.has(`${letter}${n}`)) wrong.push(`${letter}${n} is missing`);
  }
  return wrong;
}

const testsOf = (texts, roots) => testsIn(texts, roots).map((test) => ({ ...test, place: placeOf(test.file) }));

/** Tables and sources that are wrong, each in one way, and are not refused; and a right one that is. */
function unseen(markdown, tests) {
  const missed = [];
  const before = complaints(markdown, tests, proofsOf(markdown, tests));
  const news = (text, all, known) => complaints(text, all, known).filter((what) => !before.includes(what));
  const table = (what, text, known = proofsOf(text, tests)) => news(text, tests, known).length > 0 || missed.push(`the check does not see ${what}`);
  const row = (cells) => `${markdown}\n| ${cells.join(" | ")} |\n`;
  table("a missing requirement", markdown.replace(/^\| P1 .*$/m, ""));
  table("a state of its own", row(["X", "almost", "", ""]));
  table("nothing that proves it", row(["X", "done", "`core::presence`", ""]));
  table("a module that is not there", row(["X", "part", "`core::nowhere`", ""]));
  table("a test that is not there", row(["X", "part", "", "`no_such_test`"]));
  table("a test that is not in the file", row(["X", "part", "", "`integration::cli::no_such_test`"]));
  table("an end-to-end test that is not there", row(["X", "part", "", "`e2e/nowhere`"]));
  table("a module without a test", row(["X", "part", "", "`core::client::output`"]));

  const known = proofsOf(markdown, tests);
  table("a row that is not in the list of proofs", row(["X", "part", "", "`core::pres{ence::merge,ence::state}`"]), known);
  table("a proof that no row names", markdown, new Map([...known, ["core::nowhere", []]]));
  if (written(read(written(known))) !== written(known)) missed.push("the list of proofs is not read as it was written");

  // What cargo runs tests of.
  const cargo = readFileSync("Cargo.toml", "utf8");
  const roots = (text) => targets(text).map(({ file }) => file).join(" ");
  const rooted = (what, text, wanted) => roots(text) === wanted || missed.push(`${what}: the roots are [${roots(text)}], and ought to be [${wanted}]`);
  rooted("Cargo.toml as it is", cargo, "src/lib.rs tests/integration/main.rs");
  rooted("no more integration tests", cargo.replace("[[test]]", "[[example]]"), "src/lib.rs");
  rooted("a library without tests", cargo.replace("[lib]", "[lib]\ntest = false"), "tests/integration/main.rs");
  rooted("a feature that is off", cargo.replace('default = ["server"]', "default = []"), "src/lib.rs");

  // The same table, over sources in which a test has changed.
  const planted = {
    "tests/integration/main.rs": `
      //! Declares what is planted: mod planted;
      #[cfg(all(unix, feature = "server", not(target_arch = "wasm32")))]
      mod planted;`,
    "tests/integration/planted.rs": `
      fn held(n: u8) { assert_eq!(n, 1); }
      fn shown() -> &'static str { "}" }
      #[test]
      fn what_is_planted_holds() { held(1) }
      #[tokio::test(start_paused = true)]
      async fn x1_one() { assert!(shown() == "}"); }
      proptest! { #[test] fn x1_two(n in 0..3) { prop_assert!(n < 3); } }`,
    "tests/e2e/planted.test.mjs": `
test("what is planted is seen, and more", async () => {
  assert.equal(one(), 1);
});
test("what comes is waited for", { skip: stock && "not there" },
  async () => {
    await shows("it");
  });
async function shows(what) {
  await until(what, () => true);
}`,
    "tests/nio/test_planted.py": `
class Planted(unittest.TestCase):
    def holds(self):
        self.assertEqual(one(), 1)

    def test_planted(self):
        self.holds()`,
  };
  const proofs = ["`planted::what_is_planted_…`", "`x1_*` (2)", "`integration::planted`", "`e2e/planted: what is planted …`",
    "`e2e/planted: what comes is waited for`", "`e2e/planted`", "`nio::test_planted`"];
  const over = (change) => {
    const texts = (change) => new Map(Object.entries(planted).map(([file, text]) => [file, change(text)]));
    const found = (change) => [...tests, ...testsOf(texts(change), targets(cargo))];
    const [before, after] = [found((text) => text), found(change)];
    return proofs.filter((proof) => {
      const text = `| X | done | | ${proof} |`;
      return complaints(text, after, proofsOf(text, before)).some((what) => what.startsWith("X: "));
    });
  };
  /** The proofs that `change` takes away, by their place in `proofs`. */
  const source = (what, change, ...refused) => {
    const seen = over(change).join(" ");
    const wanted = refused.map((i) => proofs[i]).join(" ");
    if (seen !== wanted) missed.push(`${what}: refused is [${seen}], and ought to be [${wanted}]`);
  };
  source("nothing changed", (text) => text);
  source("a renamed test", (text) => text.replace("fn what_is", "fn that_is"), 0, 2);
  source("a test renamed behind the dots", (text) => text.replace("_holds()", "_stays()"), 0, 2);
  source("one renamed within its pattern", (text) => text.replace("x1_two", "x1_2"), 1, 2);
  source("a test more", (text) => text.replace("#[tokio", "#[test] fn more() { held(1) }\n#[tokio"), 2);
  source("a renamed one of several", (text) => text.replace("x1_two", "x_two"), 1, 2);
  source("one more of several", (text) => text.replace("#[tokio", "#[test] fn x1_3() { held(1) }\n#[tokio"), 1, 2);
  source("a renamed test of JavaScript", (text) => text.replace("is planted is", "was planted is"), 3, 5);
  source("a renamed test of Python", (text) => text.replace("test_planted(", "test_sown("), 6);
  source("a helper that is no test", (text) => text.replace("#[test]\n      fn what", "fn what"), 0, 2);
  source("a file that is no longer declared", (text) => text.replace(/mod planted;$/, ""), 0, 1, 2);
  source("a file declared in a comment", (text) => text.replace(/mod planted;$/, "// mod planted;"), 0, 1, 2);
  source("a file declared for nobody", (text) => text.replace(/mod planted;$/, "#[cfg(any())] mod planted;"), 0, 1, 2);
  source("a file for nobody", (text) => text.replace("\n      fn held", "#![cfg(any())]\n fn held"), 0, 1, 2);
  source("a module for nobody", (text) => text.replace("#[tokio", "#[cfg(any())] mod inner {\n#[tokio").replace(/< 3\); \} \}$/, "$& }"), 1, 2);
  source("a test for nobody", (text) => text.replace("fn what", "#[cfg(any())]\n fn what"), 0, 2);
  source("a test for another system", (text) => text.replace("#[test]\n      fn", '#[cfg(target_os = "plan9")]\n#[test]\n fn'), 0, 2);
  source("a test for what no step builds", (text) => text.replace("fn what", '#[cfg(not(feature = "other"))]\n fn what'), 0, 2);
  source("a test that each build leaves out", (text) => text.replace("fn what", '#[cfg(target_arch = "wasm32")]\n fn what'), 0, 2);
  source("a cfg by way of another", (text) => text.replace("fn what", "#[cfg_attr(test, cfg(any()))]\n fn what"), 0, 2);
  source("a test in a macro", (text) => text.replace("#[tokio", "macro_rules! never { () => {\n#[tokio").replace(/< 3\); \} \}$/, "$& } }"), 1, 2);
  source("a test that a step builds", (text) => text.replace("fn what", '#[cfg(any(windows, all(test, feature = "server")))]\n fn what'));
  source("a helper for nobody", (text) => text.replace("fn held", "#[cfg(any())]\n fn held").replace("fn shown() -> &'static str {", "$& assert!(n);"), 0, 2);
  source("an assertion for nobody", (text) => text.replace("assert_eq!(n", "#[cfg(any())]\n assert_eq!(n"), 0, 2);
  source("a test that was ignored", (text) => text.replace("fn what", '#[ignore = "slow"]\n fn what'), 0, 2);
  source("an ignored property", (text) => text.replace("fn x1_two", "#[ignore] fn x1_two"), 1, 2);
  source("a skipped test of JavaScript", (text) => text.replace('test("what is', 'test.skip("what is'), 3, 5);
  source("options on lines of their own", (text) => text.replace("more\", async () => {", "more\", {\n  timeout: 5,\n}, async () => {"));
  source("a skip on a line of its own", (text) => text.replace("more\", async () => {", "more\", {\n  skip: \"slow\",\n}, async () => {"), 3, 5);
  source("a skip by a name for it", (text) => text.replace('stock && "not there"', "slow").replace("test(\"what comes", 'const slow = "too slow";\n$&'), 4, 5);
  source("a condition by a name for it", (text) => text.replace('stock && "not there"', "missing").replace("test(\"what comes", 'const missing = stock && "not there";\n$&'));
  source("a skipped one called it", (text) => text.replace('test("what is', 'it.skip("what is'), 3, 5);
  source("a skipped group", (text) => text.replace('test("what is planted', 'describe.skip("all", () => {\n  test("what is planted').replace("  assert.equal(one(), 1);\n});", "    assert.equal(one(), 1);\n  });\n});"), 3, 5);
  source("a group that is skipped for ever", (text) => text.replace('test("what is planted', 'describe("all", { skip: "slow" }, () => {\n  test("what is planted').replace("  assert.equal(one(), 1);\n});", "    assert.equal(one(), 1);\n  });\n});"), 3, 5);
  source("a group", (text) => text.replace('test("what is planted', 'describe("all", () => {\n  test("what is planted').replace("  assert.equal(one(), 1);\n});", "    assert.equal(one(), 1);\n  });\n});"));
  source("one that skips itself", (text) => text.replace("async () => {\n  assert", 'async (t) => {\n  t.skip("slow");\n  assert'), 3, 5);
  source("one that skips itself at times", (text) => text.replace("async () => {\n  assert", 'async (t) => {\n  if (stock()) return t.skip("there is none");\n  assert'));
  source("one that is skipped for ever", (text) => text.replace('stock && "not there"', '"not there"'), 4, 5);
  source("a skipped test of Python", (text) => text.replace("    def test", '    @unittest.skip("slow")\n    def test'), 6);
  source("a helper that no longer asserts", (text) => text.replace("assert_eq!(n, 1);", ""), 0, 2);
  source("an assertion in a comment", (text) => text.replace("prop_assert!", "// prop_assert!").replace("assert.equal", "// assert.equal"), 1, 2, 3, 5);
  source("an assertion in a string", (text) => text.replace('assert!(shown() == "}");', 'text("assert!(x)");'), 1, 2);
  source("an assertion of nothing", (text) => text.replace('assert!(shown() == "}")', "assert!(true)"), 1, 2);
  source("an assertion about literals", (text) => text.replace("assert_eq!(n, 1)", 'assert_eq!(1, 1, "{n}")'), 0, 2);
  source("one about the same words", (text) => text.replace("assert_eq!(n, 1)", 'assert_eq!(Some("a"), Some("a"))'), 0, 2);
  source("one that compares by itself", (text) => text.replace("assert_eq!(n, 1)", "assert!((1 + 1) == 2)"), 0, 2);
  source("one about a name and literals", (text) => text.replace("assert_eq!(n, 1)", "assert!((1 + 1) == n)"));
  source("one about literals in JavaScript", (text) => text.replace("assert.equal(one(), 1)", 'assert.equal("a, b", "a, b", one())'), 3, 5);
  source("a truth in JavaScript", (text) => text.replace("assert.equal(one(), 1)", "assert.ok(1 === 1)"), 3, 5);
  source("one about literals in Python", (text) => text.replace("assertEqual(one(), 1)", "assertEqual(1, 1)"), 6);
  source("a truth in Python", (text) => text.replace("self.assertEqual(one(), 1)", "assert True"), 6);
  source("one that something is itself", (text) => text.replace("assert_eq!(n, 1)", 'assert_eq!(n, n, "{n}")'), 0, 2);
  source("one that something equals itself", (text) => text.replace("assert_eq!(n, 1)", "assert!(n.len() == n.len())"), 0, 2);
  source("one that something does the same twice", (text) => text.replace("assert_eq!(n, 1)", "assert_eq!(run(n), run(n))"));
  source("one about two parts", (text) => text.replace("assert_eq!(n, 1)", 'assert_eq!(n["a"], n["b"])'));
  source("one that something is itself in JavaScript", (text) => text.replace("assert.equal(one(), 1)", "assert.deepEqual(seen.all, seen.all)"), 3, 5);
  source("one about two parts in JavaScript", (text) => text.replace("assert.equal(one(), 1)", 'assert.equal(seen["a, b"], seen["b"])'));
  source("one that something is itself in Python", (text) => text.replace("assertEqual(one(), 1)", "assertEqual(self.x, self.x)"), 6);
  source("one that is never reached", (text) => text.replace("assert_eq!(n, 1);", "if false { assert_eq!(n, 1); }"), 0, 2);
  source("one that never holds", (text) => text.replace("assert_eq!(n, 1);", "while 1 > 2 { if n > 1 { } assert_eq!(n, 1); }"), 0, 2);
  source("a return that is always taken", (text) => text.replace("assert_eq!(n, 1);", "if true { return; } assert_eq!(n, 1);"), 0, 2);
  source("one on a condition", (text) => text.replace("assert_eq!(n, 1);", "if n > 0 { assert_eq!(n, 1); }"));
  source("one that is never reached in JavaScript", (text) => text.replace("assert.equal(one(), 1);", "if (false) { assert.equal(one(), 1); }"), 3, 5);
  source("one on a condition in JavaScript", (text) => text.replace("assert.equal(one(), 1);", "if (one()) { assert.equal(one(), 1); }"));
  source("a return that is always taken in JavaScript", (text) => text.replace("  assert.equal", "  if (true) { return; }\n  assert.equal"), 3, 5);
  source("one that is never reached in Python", (text) => text.replace("        self.assertEqual", "        if False:\n            self.assertEqual"), 6);
  source("a return at once", (text) => text.replace("{ held(1)", "{ return; held(1)"), 0, 2);
  source("a return before what asserts", (text) => text.replace("{ assert_eq!(n", "{ let m = n; return drop(m); assert_eq!(n"), 0, 2);
  source("a return on a condition", (text) => text.replace("{ assert_eq!(n", "{ if n > 9 { return; } assert_eq!(n"));
  source("a return of what asserts", (text) => text.replace("{ held(1)", "{ return held(1);"));
  source("a return at once in JavaScript", (text) => text.replace("  assert.equal", "  return;\n  assert.equal"), 3, 5);
  source("a return at once, further in", (text) => text.replace("    await shows", "    return;\n    await shows"), 4, 5);
  source("a return at once in Python", (text) => text.replace("        self.holds()", "        return\n        self.holds()"), 6);
  source("no more waiting", (text) => text.replace("await until", "await maybe"), 4, 5);
  source("no more assertion in Python", (text) => text.replace("self.assertEqual(one(), 1)", "pass"), 6);
  return missed;
}

const markdown = readFileSync("docs/features.md", "utf8");
const tests = testsOf(sources());
const [option] = process.argv.slice(2);
if (option === "--write") writeFileSync(PROOFS, written(proofsOf(markdown, tests)));
const known = existsSync(PROOFS) ? read(readFileSync(PROOFS, "utf8")) : new Map();
const wrong = option === "--self-test" ? unseen(markdown, tests) : [];
const found = complaints(markdown, tests, known);
wrong.push(...found.map((what) => `docs/features.md: ${what}`));
if (found.some((what) => what.includes(PROOFS) || what.includes("no longer has"))) {
  wrong.push(`Look at these rows: do the tests still prove them? Then \`node scripts/check-features.mjs --write\` renews ${PROOFS}.`);
}
for (const line of wrong) console.error(line);
process.exit(wrong.length > 0 ? 1 : 0);
