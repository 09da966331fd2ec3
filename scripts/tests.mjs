// Every test of the project, read from its sources: where it is, whether it runs, and whether it asserts.
//
// A test asserts when its body does, or a helper in the same file that it calls, directly or through others
// there. What a shared fixture asserts (that a request was answered at all) proves nothing about the subject,
// and neither do `expect` and `unwrap`; the few shared helpers that say what is expected are named below.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

function files(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (["node_modules", "bench", "__pycache__"].includes(entry.name)) return [];
    const path = join(folder, entry.name);
    return entry.isDirectory() ? files(path) : [path];
  });
}

/** The sources in which there can be tests: path → text. */
export function sources() {
  const paths = ["src", "tests"].flatMap(files).filter((path) => /\.rs$|\.test\.mjs$|\/test_\w+\.py$/.test(path));
  return new Map(paths.sort().map((path) => [path, readFileSync(path, "utf8")]));
}

/** The tests in one source: `{ file, name, asserts, skipped }`; in a title that is put together, `*` stands for the rest. */
export function testsIn(file, text) {
  const language = { rs: rust, mjs: javascript, py: python }[file.split(".").at(-1)];
  const functions = language.functions(text);
  const asserting = new Set(functions.filter((one) => language.asserts.test(one.body)));
  // Until nothing is added any more: who calls an asserting function asserts.
  for (let before = -1; before !== asserting.size; ) {
    before = asserting.size;
    const names = new Set([...asserting].filter((one) => !one.isTest).map((one) => one.name));
    const calls = (body) => [...body.matchAll(/\b(\w+)(?:::<[^()]*>)?\(/g)].some(([, name]) => names.has(name));
    for (const one of functions) if (calls(one.body)) asserting.add(one);
  }
  return functions.filter((one) => one.isTest)
    .map((one) => ({ file, name: one.name, skipped: one.skipped, asserts: asserting.has(one) }));
}

const rust = {
  asserts: /\b(?:prop_)?assert(?:_\w+)?!(?!\(true[,)])|\bpanic!|\.(?:refused|sees)\(|\buntil(?:_state)?\(/,
  functions(text) {
    const code = blanked(text);
    return [...code.matchAll(/\bfn\s+(\w+)/g)].map((found) => {
      const attributes = code.slice(Math.max(...[..."{};"].map((mark) => code.lastIndexOf(mark, found.index))) + 1, found.index);
      return {
        name: found[1],
        body: rustBody(code, found.index + found[0].length),
        isTest: /#\[\s*(?:\w+::)*(?:wasm_bindgen_)?test\s*[\](]/.test(attributes),
        skipped: /\bignore\b/.test(attributes),
      };
    });
  },
};

/** Rust without its comments and what stands in its strings, at the same length. */
function blanked(text) {
  const inert = /\/\/[^\n]*|\/\*[^]*?\*\/|\bb?r(#*)"[^]*?"\1|"(?:\\[^]|[^"\\])*"|'(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\\n])'/g;
  return text.replace(inert, (what) => what.replace(/[^\n]/g, " "));
}

/** What stands between the braces of the function whose parameters begin after `start`. */
function rustBody(code, start) {
  let depth = 0;
  let open = -1;
  for (let i = start; i < code.length; i++) {
    const mark = code[i];
    if (open < 0 && depth === 0 && mark === ";") return "";
    if (open < 0 && depth === 0 && mark === "{") open = i;
    if ("([{".includes(mark)) depth++;
    if (")]}".includes(mark)) depth--;
    if (open >= 0 && depth === 0) return code.slice(open, i);
  }
  return "";
}

/** From a line to the first one after it that is not indented further; with that, if it closes a bracket. */
function block(lines, start) {
  const indent = (line) => line.search(/\S/);
  let end = start + 1;
  while (end < lines.length && (lines[end].trim() === "" || indent(lines[end]) > indent(lines[start]))) end++;
  if (/^\s*[)}\]]/.test(lines[end] ?? "")) end++;
  return lines.slice(start, end).join("\n");
}

const javascript = {
  // These wait for what is named, and throw when it does not come.
  asserts: /\bassert(?:\.\w+)?\((?!true[,)])|\b(?:until|sees|findsContact|looksFor|waitFor)\(/,
  functions(text) {
    const lines = text.replace(/\/\*[^]*?\*\//g, (what) => what.replace(/[^\n]/g, " ")).replace(/(^|\s)\/\/.*$/gm, "$1").split("\n");
    const constants = new Map([...text.matchAll(/\bconst (\w+) = (.*?);?$/gm)].map(([, name, value]) => [name, value]));
    return lines.flatMap((line, i) => {
      const test = /^\s*(?:test|it)(\.\w+)?\((?:"((?:\\.|[^"\\])*)"|`([^`]*)`|(\w+)),\s*(.*)$/.exec(line);
      if (test) {
        const [, mode, plain, template, variable, rest] = test;
        const title = plain ?? template?.replace(/\$\{[^}]*\}/g, "*") ?? `*${variable}*`;
        const skip = /\{[^}]*\b(?:skip|todo)(?::\s*([^,}]*))?/.exec(rest);
        const value = skip && (skip[1]?.trim() ?? constants.get("skip") ?? "");
        // What depends on the server under test is no more than a condition; a word or `true` is for ever.
        const skipped = mode === ".skip" || mode === ".todo" || (skip && !/&&|\?|^\w*stock/.test(value));
        return [{ name: title, body: block(lines, i), isTest: true, skipped: Boolean(skipped) }];
      }
      const helper = /^\s*(?:export )?(?:async )?function\*? (\w+)|^\s*const (\w+) = (?:async )?(?:\([^)]*\)|\w+) =>|^  (?:static )?(?:async )?(#?\w+)\([^)]*\) \{$/.exec(line);
      return helper ? [{ name: (helper[1] ?? helper[2] ?? helper[3]).replace("#", ""), body: block(lines, i).replace(/^.*?\(/, ""), isTest: false }] : [];
    });
  },
};

const python = {
  asserts: /\bself\.assert\w+\(|^\s*assert /m,
  functions(text) {
    const lines = text.replace(/(^|\s)#.*$/gm, "$1").split("\n");
    return lines.flatMap((line, i) => {
      const found = /^\s*(?:async )?def (\w+)\(/.exec(line);
      if (!found) return [];
      const body = block(lines, i).replace(/^.*?\(/, "");
      const decorators = /(?:\n\s*@[^\n]*)*$/.exec(lines.slice(0, i).join("\n"))[0];
      return [{ name: found[1], body, isTest: found[1].startsWith("test_"), skipped: /skip/i.test(decorators) || /\.skipTest\(/.test(body) }];
    });
  },
};
