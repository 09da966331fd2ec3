// docs/features.md names every requirement, modules that exist, and tests that run and assert. With --self-test, a
// table that is wrong in each way is refused, and so is a table whose tests were changed behind its back.
//
// In the last column, between backticks:
//   core::list                 all tests of a module, a file or a folder
//   presence::p7_…             the one test there whose name begins so; without a module, the one anywhere
//   `l1_*` (4)                 these four tests: another number is refused, so that a renamed one is missed
//   e2e/federation: states …   the one test in tests/e2e/federation.test.mjs whose title begins so
//   nio::test_presence_…       the same in Python; a file alone stands for all its tests, as above
// `{a,b}` stands for each of them.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { sources, testsIn } from "./tests.mjs";

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

/** What is wrong with one proof; `count` is the number in brackets behind it. */
function objections(proof, count, tests) {
  if (proof.startsWith("docs/") || proof.endsWith(".md")) return existsSync(proof) ? [] : [`there is no \`${proof}\``];
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
    if (skipped) wrong.push(`\`${name}\` in ${file} does not run`);
    if (!asserts) wrong.push(`\`${name}\` in ${file} asserts nothing`);
  }
  return wrong;
}

const quoted = (cell) => [...cell.matchAll(/`([^`]+)`(?: \((\d+)\))?/g)].map(([, name, count]) => [name, count && Number(count)]);

/** What is wrong with a features table. */
function complaints(markdown, tests) {
  const found = new Set();
  const wrong = [];
  for (const line of markdown.split("\n")) {
    if (!line.startsWith("| ") || line.startsWith("| ID")) continue;
    const [first, state, modules, proofs] = line.split(" |").map((cell) => cell.replace(/^\|? ?/, "").trim());
    const id = /^([A-Z]\d+)\b/.exec(first)?.[1];
    if (id) found.add(id);
    if (!/^(done|part|open)\b/.test(state)) wrong.push(`${first}: neither done, part nor open`);
    if (/^done/.test(state) && quoted(proofs).length === 0 && !/\]\(/.test(proofs)) wrong.push(`${first}: done, and nothing proves it`);
    for (const name of quoted(modules).flatMap(([module]) => alternatives(module))) {
      if (name !== "main" && !moduleExists(name)) wrong.push(`${first}: there is no module \`${name}\``);
    }
    for (const [proof, count] of quoted(proofs)) wrong.push(...objections(proof, count, tests).map((what) => `${first}: ${what}`));
  }
  for (const [letter, count] of Object.entries(REQUIREMENTS)) {
    for (let n = 1; n <= count; n++) if (!found.has(`${letter}${n}`)) wrong.push(`${letter}${n} is missing`);
  }
  return wrong;
}

const testsOf = (texts) => [...texts].flatMap(([file, text]) => testsIn(file, text)).map((test) => ({ ...test, place: placeOf(test.file) }));

/** Tables and sources that are wrong, each in one way, and are not refused; and a right one that is. */
function unseen(markdown, tests) {
  const missed = [];
  const before = complaints(markdown, tests);
  const news = (text, all) => complaints(text, all).filter((what) => !before.includes(what));
  const table = (what, text) => news(text, tests).length > 0 || missed.push(`the check does not see ${what}`);
  const row = (cells) => `${markdown}\n| ${cells.join(" | ")} |\n`;
  table("a missing requirement", markdown.replace(/^\| P1 .*$/m, ""));
  table("a state of its own", row(["X", "almost", "", ""]));
  table("nothing that proves it", row(["X", "done", "`core::presence`", ""]));
  table("a module that is not there", row(["X", "part", "`core::nowhere`", ""]));
  table("a test that is not there", row(["X", "part", "", "`no_such_test`"]));
  table("a test that is not in the file", row(["X", "part", "", "`integration::cli::no_such_test`"]));
  table("an end-to-end test that is not there", row(["X", "part", "", "`e2e/nowhere`"]));
  table("a module without a test", row(["X", "part", "", "`browser`"]));

  // The same table, over sources in which a test has changed.
  const planted = {
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
  assert.equal(1, 1);
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
        self.assertEqual(1, 1)

    def test_planted(self):
        self.holds()`,
  };
  const proofs = ["`planted::what_is_planted_…`", "`x1_*` (2)", "`integration::planted`", "`e2e/planted: what is planted …`",
    "`e2e/planted: what comes is waited for`", "`e2e/planted`", "`nio::test_planted`"];
  const over = (change) => {
    const texts = Object.entries(planted).map(([file, text]) => [file, change(text)]);
    const all = [...tests, ...testsOf(texts)];
    return proofs.filter((proof) => news(row(["X", "done", "", proof]), all).some((what) => what.startsWith("X: ")));
  };
  /** The proofs that `change` takes away, by their place in `proofs`. */
  const source = (what, change, ...refused) => {
    const seen = over(change).join(" ");
    const wanted = refused.map((i) => proofs[i]).join(" ");
    if (seen !== wanted) missed.push(`${what}: refused is [${seen}], and ought to be [${wanted}]`);
  };
  source("nothing changed", (text) => text);
  source("a renamed test", (text) => text.replace("fn what_is", "fn that_is"), 0);
  source("a renamed one of several", (text) => text.replace("x1_two", "x_two"), 1);
  source("one more of several", (text) => text.replace("fn that", "").replace("#[tokio", "#[test] fn x1_3() { held(1) }\n#[tokio"), 1);
  source("a renamed test of JavaScript", (text) => text.replace("is planted is", "was planted is"), 3);
  source("a renamed test of Python", (text) => text.replace("test_planted(", "test_sown("), 6);
  source("a helper that is no test", (text) => text.replace("#[test]\n      fn what", "fn what"), 0);
  source("a test that was ignored", (text) => text.replace("fn what", '#[ignore = "slow"]\n fn what'), 0, 2);
  source("an ignored property", (text) => text.replace("fn x1_two", "#[ignore] fn x1_two"), 1, 2);
  source("a skipped test of JavaScript", (text) => text.replace('test("what is', 'test.skip("what is'), 3, 5);
  source("one that is skipped for ever", (text) => text.replace('stock && "not there"', '"not there"'), 4, 5);
  source("a skipped test of Python", (text) => text.replace("    def test", '    @unittest.skip("slow")\n    def test'), 6);
  source("a helper that no longer asserts", (text) => text.replace("assert_eq!(n, 1);", ""), 0, 2);
  source("an assertion in a comment", (text) => text.replace("prop_assert!", "// prop_assert!").replace("assert.equal", "// assert.equal"), 1, 2, 3, 5);
  source("an assertion in a string", (text) => text.replace('assert!(shown() == "}");', 'text("assert!(x)");'), 1, 2);
  source("an assertion of nothing", (text) => text.replace('assert!(shown() == "}")', "assert!(true)"), 1, 2);
  source("no more waiting", (text) => text.replace("await until", "await maybe"), 4, 5);
  source("no more assertion in Python", (text) => text.replace("self.assertEqual(1, 1)", "pass"), 6);
  return missed;
}

const markdown = readFileSync("docs/features.md", "utf8");
const tests = testsOf(sources());
const wrong = process.argv[2] === "--self-test" ? unseen(markdown, tests) : [];
wrong.push(...complaints(markdown, tests).map((what) => `docs/features.md: ${what}`));
for (const line of wrong) console.error(line);
process.exit(wrong.length > 0 ? 1 : 0);
