// Every test of the project, read from its sources: where it is, whether it runs, and whether it asserts.
//
// A test in Rust runs when a chain of `mod` leads to it and no `cfg` takes it out (`rust-tests.mjs`); in any language
// it must not be ignored or skipped.
//
// A test asserts when its body does, or a helper in the same file that it calls, directly or through others
// there. What a shared fixture asserts (that a request was answered at all) proves nothing about the subject,
// and neither do `expect` and `unwrap`; the few shared helpers that say what is expected are named below. An assertion about
// literals alone is none, nor is one that something equals itself, one behind an unconditional `return`, or one under a
// condition of literals alone (`if false`).
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { compiled, targets } from "./rust-tests.mjs";

function files(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (["node_modules", "bench", "fuzz", "__pycache__"].includes(entry.name)) return [];
    const path = join(folder, entry.name);
    return entry.isDirectory() ? files(path) : [path];
  });
}

/** The sources in which there can be tests: path → text. */
export function sources() {
  const paths = ["src", "tests"].flatMap(files).filter((path) => /\.rs$|\.test\.mjs$|\/test_\w+\.py$/.test(path));
  return new Map(paths.sort().map((path) => [path, readFileSync(path, "utf8")]));
}

/** The tests in sources (path → text), of which cargo compiles what `roots` lead to. */
export function testsOf(texts, roots = targets(readFileSync("Cargo.toml", "utf8"))) {
  const reached = compiled(roots, (file) => texts.get(file));
  return [...texts].flatMap(([file, text]) => testsIn(file, text, reached.get(file)));
}

/**
 * The tests in one source: `{ file, name, asserts, skipped }`; in a title that is put together, `*` stands for the
 * rest. `leftOut` is what is not compiled of a file in Rust, as pairs of offsets; without it, nothing is.
 */
function testsIn(file, text, leftOut = [[0, text.length]]) {
  const language = { rs: rust, mjs: javascript, py: python }[file.split(".").at(-1)];
  const functions = language.functions(text, leftOut);
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

/** A pattern for what is put together from literals alone, and would never be anything else. */
function literals(...words) {
  const string = /"(?:\\[^]|[^"\\])*"|'(?:\\[^]|[^'\\])*'|`(?:\\[^]|[^`\\$])*`/.source;
  const one = `${string}|\\b(?:${words.join("|")})\\b|\\b\\d[\\w.]*|[\\s+*/%=!<>&|[\\]-]`;
  return `(?:${one}|\\((?:${one}|,)*\\))*`;
}

const blank = (code, from, to) => code.slice(0, from) + code.slice(from, to).replace(/[^\n]/g, " ") + code.slice(to);

/** Where the bracket that opens at `at` closes, in code without strings; the end where it does not. */
function closes(code, at) {
  for (let depth = 0, i = at; i < code.length; i++) {
    if ("([{".includes(code[i])) depth++;
    if (")]}".includes(code[i]) && --depth === 0) return i;
  }
  return code.length;
}

/**
 * Code without the blocks that never run: those under a condition that literals alone make false. One that they make
 * true and that returns is no more than that `return`. At the same length; braces are looked for in `bare`, where
 * nothing is quoted.
 */
function withoutDeadBlocks(code, bare, same) {
  for (const { 0: head, 1: condition, index } of bare.matchAll(new RegExp(`\\b(?:if|while)\\b(${same})\\{`, "g"))) {
    const open = index + head.length - 1;
    const end = closes(bare, open) + 1;
    let never = true;
    try {
      never = !Function(`return ${condition.trim()}`)();
    } catch {
      // Not what JavaScript understands: nobody writes that into a test that is meant.
    }
    const returns = /\breturn\b[^;}]*/.exec(bare.slice(open, end));
    if (never) code = blank(code, index, end);
    else if (returns) code = code.slice(0, index) + "return;".padEnd(end - index) + code.slice(end);
  }
  return code;
}

/** Code without the assertions that something equals itself; `head` matches up to the bracket of one that compares. */
function withoutTautologies(code, bare, head) {
  for (const { 0: found, index } of bare.matchAll(head)) {
    const open = index + found.length - 1;
    const end = closes(bare, open);
    const parts = [];
    for (let i = open + 1, from = i, depth = 0; i <= end; i++) {
      if ((bare[i] === "," && depth === 0) || i === end) {
        parts.push(code.slice(from, i).replace(/\s+/g, ""));
        from = i + 1;
      }
      if ("([{".includes(bare[i])) depth++;
      if (")]}".includes(bare[i])) depth--;
    }
    const [one, other] = parts.length > 1 ? parts : (parts[0] ?? "").split("==");
    // What is called anew may answer something else; what has no argument is a look at the same thing.
    if (one !== "" && one === other && !/\(/.test(one.replace(/\.\w+\(\)/g, ""))) code = blank(code, index, end);
  }
  return code;
}

const rust = {
  asserts: (() => {
    const same = literals("true", "false", "Some", "None", "Ok", "Err");
    return new RegExp(`\\b(?:prop_)?assert(?:!(?!\\(${same}[,)])|_\\w+!(?!\\(${same},${same}[,)]))|\\bpanic!|\\.(?:refused|sees)\\(|\\buntil(?:_state)?\\(`);
  })(),
  functions(text, leftOut) {
    const code = blanked(text);
    // Compared as they were written, with what is quoted.
    const said = withoutTautologies(text, code, /\b(?:prop_)?assert(?:_eq)?!\(/g);
    const proving = [...code].map((mark, i) => (text[i] !== " " && said[i] === " " ? " " : mark)).join("");
    const living = withoutDeadBlocks(
      leftOut.reduce((code, [from, to]) => blank(code, from, to), proving), code, literals("true", "false"));
    return [...code.matchAll(/\bfn\s+(\w+)/g)].map((found) => {
      const attributes = code.slice(Math.max(...[..."{};"].map((mark) => code.lastIndexOf(mark, found.index))) + 1, found.index);
      const dead = leftOut.some(([from, to]) => from <= found.index && found.index < to);
      return {
        name: found[1],
        body: dead ? "" : rustBody(living, found.index + found[0].length),
        isTest: /#\[\s*(?:\w+::)*(?:wasm_bindgen_)?test\s*[\](]/.test(attributes),
        skipped: /\bignore\b/.test(attributes) || dead,
      };
    });
  },
};

/** Rust without its comments and what stands in its strings, at the same length. */
function blanked(text) {
  const inert = /\/\/[^\n]*|\/\*[^]*?\*\/|\bb?r(#*)"[^]*?"\1|"(?:\\[^]|[^"\\])*"|'(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\\n])'/g;
  return text.replace(inert, (what) => what.replace(/[^\n]/g, " "));
}

/** What stands between the braces of the function whose parameters begin after `start`, as far as it always returns. */
function rustBody(code, start) {
  let depth = 0;
  let open = -1;
  for (let i = start; i < code.length; i++) {
    const mark = code[i];
    if (open < 0 && depth === 0 && mark === ";") return "";
    if (open < 0 && depth === 0 && mark === "{") open = i;
    if ("([{".includes(mark)) depth++;
    if (")]}".includes(mark)) depth--;
    const returns = open >= 0 && depth === 1 && "{;}".includes(mark) && /^\s*return\b[^;}]*/.exec(code.slice(i + 1));
    if (returns) return code.slice(open, i + 1 + returns[0].length);
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

/** A function as far as it always returns: `opening` ends the line before its first statement. */
function untilReturn(text, opening) {
  const lines = text.split("\n");
  const indent = (line) => line.search(/\S/);
  const first = lines.findIndex((line, i) => i > 0 && opening.test(lines[i - 1]) && line.trim() !== "");
  const returns = lines.findIndex((line, i) => first > 0 && i >= first && indent(line) === indent(lines[first]) && /^\s*return\b/.test(line));
  return returns < 0 ? text : [...lines.slice(0, returns), block(lines, returns)].join("\n");
}

const javascript = {
  // The last ones wait for what is named, and throw when it does not come.
  asserts: (() => {
    const same = literals("true", "false", "null", "undefined");
    return new RegExp(`\\bassert(?:(?:\\.ok)?\\((?!${same}[,)])|\\.(?!ok\\b)\\w+\\((?!${same},${same}[,)]))|\\b(?:until|sees|findsContact|looksFor|waitFor)\\(`);
  })(),
  functions(text) {
    const spaces = (what) => what.replace(/[^\n]/g, " ");
    const code = text.replace(/\/\*[^]*?\*\//g, spaces).replace(/(?<=^|\s)\/\/.*$/gm, spaces);
    const bare = code.replace(/"(?:\\[^]|[^"\\\n])*"|'(?:\\[^]|[^'\\\n])*'|`(?:\\[^]|[^`\\])*`/g, spaces);
    const proving = withoutTautologies(code, bare, /\bassert(?:\.\w*[eE]qual|\.ok)?\(/g);
    const lines = withoutDeadBlocks(proving, bare, literals("true", "false", "null", "undefined")).split("\n");
    const indent = (line) => line.search(/\S/);
    /** The line in which the block around a line begins; -1: none does. */
    const around = (i) => {
      for (let at = i - 1; at >= 0; at--) if (lines[at].trim() !== "" && indent(lines[at]) < indent(lines[i])) return at;
      return -1;
    };
    const inSkipped = (i) => {
      for (let at = around(i); at >= 0; at = around(at)) {
        if (/^\s*(?:describe|suite)(?:\.(?:skip|todo)\(|\(.*\{[^}]*\b(?:skip|todo)\b)/.test(lines[at])) return true;
      }
      return false;
    };
    const constants = new Map([...text.matchAll(/\bconst (\w+) = (.*?);?$/gm)].map(([, name, value]) => [name, value]));
    return lines.flatMap((line, i) => {
      const test = /^\s*(?:test|it)(\.\w+)?\((?:"((?:\\.|[^"\\])*)"|`([^`]*)`|(\w+)),\s*(.*)$/.exec(line);
      if (test) {
        const [, mode, plain, template, variable, rest] = test;
        const title = plain ?? template?.replace(/\$\{[^}]*\}/g, "*") ?? `*${variable}*`;
        // Options may take lines of their own, before those of the function.
        const opening = /\{$/.test(rest) && !/=> \{$/.test(rest) ? block(lines, i) : "";
        const skip = /\{[^}]*\b(?:skip|todo)(?::\s*([^,}]*))?/.exec(opening || rest);
        const said = skip?.[1]?.trim();
        const value = skip && (constants.get(said ?? "skip") ?? said ?? "");
        // What depends on the server under test is no more than a condition; a word or `true` is for ever.
        const forEver = mode === ".skip" || mode === ".todo" || (skip && !/&&|\?|^\w*stock/.test(value));
        const at = i + Math.max(opening.split("\n").length - 1, 0);
        const whole = block(lines, at);
        const body = untilReturn(whole, /(?:=>|\)) \{$/);
        const first = whole.split("\n").slice(1).find((line) => line.trim() !== "") ?? "";
        const byItself = new RegExp(`^ {${Math.max(indent(first), 0)}}\\w+\\.(?:skip|todo)\\(`, "m").test(body);
        return [{ name: title, body, isTest: true, skipped: Boolean(forEver || byItself || inSkipped(i)) }];
      }
      const helper = /^\s*(?:export )?(?:async )?function\*? (\w+)|^\s*const (\w+) = (?:async )?(?:\([^)]*\)|\w+) =>|^  (?:static )?(?:async )?(#?\w+)\((?:[^()]|\([^()]*\))*\) \{$/.exec(line);
      return helper ? [{ name: (helper[1] ?? helper[2] ?? helper[3]).replace("#", ""), body: untilReturn(block(lines, i), /(?:=>|\)) \{$/).replace(/^.*?\(/, ""), isTest: false }] : [];
    });
  },
};

const python = {
  asserts: (() => {
    const same = literals("True", "False", "None");
    const one = `self\\.assert(?:True|False|IsNone|IsNotNone)\\((?!${same}[,)])`;
    return new RegExp(`\\b${one}|\\bself\\.assert(?!True|False|IsNo)\\w+\\((?!${same},${same}[,)])|^\\s*assert (?!${same}(?:,|$))`, "m");
  })(),
  functions(text) {
    const spaces = (what) => what.replace(/[^\n]/g, " ");
    const code = text.replace(/(?<=^|\s)#.*$/gm, spaces);
    const bare = code.replace(/"(?:\\[^]|[^"\\\n])*"|'(?:\\[^]|[^'\\\n])*'/g, spaces);
    const lines = withoutTautologies(code, bare, /\bself\.assert\w*Equal\(/g).split("\n");
    lines.forEach((line, i) => {
      if (!/^\s*(?:if|while) (?:False|0|not True):/.test(line)) return;
      block(lines, i).split("\n").forEach((_, n) => { lines[i + n] = ""; });
    });
    return lines.flatMap((line, i) => {
      const found = /^\s*(?:async )?def (\w+)\(/.exec(line);
      if (!found) return [];
      const body = untilReturn(block(lines, i), /:$/).replace(/^.*?\(/, "");
      const decorators = /(?:\n\s*@[^\n]*)*$/.exec(lines.slice(0, i).join("\n"))[0];
      return [{ name: found[1], body, isTest: found[1].startsWith("test_"), skipped: /skip/i.test(decorators) || /\.skipTest\(/.test(body) }];
    });
  },
};
