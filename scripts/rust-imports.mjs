// Which file of a crate imports which, read from its text.
//
// An import is a path: in a `use`, in code, or in a string of an attribute (`with = "…"`). It leads to the file of
// the deepest module that the path names; what a mod.rs hands on counts as its own. Declaring a module is none, and
// code under `#[cfg(test)]` is not looked at. Not seen: calls of methods, which need no path (only the file with the
// `impl` names the type), macros by textual scope, and what a macro's expansion names.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Comments and blanks fall out; what is left are names, strings, `::` and single characters, each with its line and offset. */
export function tokens(source) {
  const found = [];
  const one =
    /\n|\/\/[^\n]*|\/\*|[bc]?r(#*)"|[bc]?"(?:[^"\\]|\\[^])*"|b?'(?:[^'\\\n]|\\(?:x..|u\{[^}]*\}|.))'|'\w+|(?:r#)?[A-Za-z_]\w*|\d\w*|::|[^\s]/gu;
  let line = 1;
  for (let match; (match = one.exec(source)); ) {
    const [text, hashes] = match;
    const start = line;
    let kind = "mark";
    let value = text;
    if (text === "/*") {
      // Block comments nest.
      const edge = /\/\*|\*\//g;
      edge.lastIndex = one.lastIndex;
      for (let depth = 1; depth > 0; ) depth += (edge.exec(source) ?? ["*/"])[0] === "/*" ? 1 : -1;
      one.lastIndex = edge.lastIndex || source.length;
      kind = "blank";
    } else if (hashes !== undefined) {
      const end = source.indexOf(`"${hashes}`, one.lastIndex);
      value = source.slice(one.lastIndex, end);
      one.lastIndex = end + 1 + hashes.length;
      kind = "string";
    } else if (/^[bc]?"/.test(text)) {
      value = text.slice(text.indexOf('"') + 1, -1);
      kind = "string";
    } else if (/^(\s|\/\/|b?'|\d)/.test(text)) {
      kind = "blank";
    } else if (/^\w/.test(text)) {
      value = text.replace(/^r#/, "");
      kind = "name";
    }
    for (let at = match.index; at < one.lastIndex; at++) if (source[at] === "\n") line++;
    // A literal is kept as a mark of no meaning, so that `1.max` or `'a'::` never looks like a path.
    if (kind !== "blank") found.push({ kind, value, line: start, start: match.index });
    else if (!/^(\s|\/[/*])/.test(text)) found.push({ kind: "mark", value: "0", line: start, start: match.index });
  }
  return found;
}

/** The place of the bracket that closes the one at `at`. */
export function closing(code, at) {
  for (let depth = 0; at < code.length; at++) {
    if (code[at].kind !== "mark") continue;
    if ("([{".includes(code[at].value)) depth++;
    if (")]}".includes(code[at].value) && --depth === 0) return at;
  }
  throw new Error("a bracket is not closed");
}

export const is = (token, value) => token !== undefined && token.kind !== "string" && token.value === value;

/** Whether an attribute `[cfg(…)]`, given from its bracket on, holds in tests only. */
function testOnly(attribute) {
  if (!is(attribute[1], "cfg")) return false;
  if (!is(attribute[3], "all")) return is(attribute[3], "test");
  let depth = 0;
  return attribute.some((token, at) => {
    if (is(token, "(")) depth++;
    if (is(token, ")")) depth--;
    return depth === 2 && is(token, "test") && !is(attribute[at + 1], "=");
  });
}

/** The end (exclusive) of the item, field, arm or statement at `at`. */
export function itemEnd(code, at) {
  while (is(code[at], "#")) at = closing(code, at + 1) + 1;
  const rest = "use const static let type extern".split(" ");
  const all = [...rest, ..."pub mod fn async unsafe struct enum union trait impl macro_rules".split(" ")];
  const item = code[at]?.kind === "name" && all.includes(code[at].value);
  let first = at;
  if (is(code[first], "pub")) first = is(code[first + 1], "(") ? closing(code, first + 1) + 1 : first + 1;
  const toSemicolon = rest.includes(code[first]?.value) && !is(code[first + 1], "fn") && !is(code[first + 2], "fn");
  for (let generic = 0; at < code.length; at++) {
    if (code[at].kind !== "mark") continue;
    // `Map<K, V>`: a bracket behind a type's name, not a comparison.
    if (is(code[at], "<") && /^([A-Z]|::)/.test(code[at - 1]?.value)) generic++;
    else if (is(code[at], ">") && generic > 0 && !is(code[at - 1], "-")) generic--;
    else if ("([{".includes(code[at].value)) {
      const block = is(code[at], "{");
      at = closing(code, at);
      if (block && item && !toSemicolon) return at + 1;
    } else if (is(code[at], ";") || (!item && generic === 0 && is(code[at], ","))) return at + 1;
    else if (")]}".includes(code[at].value)) return at;
  }
  return at;
}

/** The code of a file that is compiled outside tests. */
function withoutTests(code) {
  const kept = [];
  for (let at = 0; at < code.length; at++) {
    const inner = is(code[at], "#") && is(code[at + 1], "!") && is(code[at + 2], "[");
    if (inner && testOnly(code.slice(at + 2, closing(code, at + 2) + 1))) return [];
    if (is(code[at], "#") && is(code[at + 1], "[") && testOnly(code.slice(at + 1, closing(code, at + 1) + 1))) {
      at = itemEnd(code, at) - 1;
    } else kept.push(code[at]);
  }
  return kept;
}

/** The file of `mod name;` in a module whose children lie in `folder`. */
export function fileOf(folder, name, exists) {
  return [join(folder, `${name}.rs`), join(folder, name, "mod.rs")].find(exists);
}

/** Every module of a crate. A module has: file, parent, children, what it binds by `use`, its functions and paths. */
export class Crate {
  constructor(root) {
    this.root = root;
    this.files = new Map();
    this.modules = [];
    this.top = this.module(undefined, "src/lib.rs", "src");
    this.load(this.top);
  }

  module(parent, file, folder) {
    const module = { parent, file, folder, children: new Map(), bound: new Map(), globs: [], functions: new Set(), paths: [] };
    this.modules.push(module);
    return module;
  }

  load(module) {
    const source = readFileSync(join(this.root, module.file), "utf8");
    this.files.set(module.file, source.split("\n"));
    this.read(module, withoutTests(tokens(source)));
  }

  /** `mod name;` */
  child(parent, name) {
    const file = fileOf(parent.folder, name, (path) => existsSync(join(this.root, path)));
    if (!file) throw new Error(`${parent.file}: no file for \`mod ${name};\``);
    const module = this.module(parent, file, join(parent.folder, name));
    parent.children.set(name, module);
    this.load(module);
  }

  read(module, code) {
    let depth = 0;
    for (let at = 0; at < code.length; at++) {
      const token = code[at];
      const next = code[at + 1];
      if (token.kind === "mark" && "([{".includes(token.value)) depth++;
      if (token.kind === "mark" && ")]}".includes(token.value)) depth--;
      if (is(token, "#") && is(next, "[")) {
        if (is(code[at + 2], "path")) throw new Error(`${module.file}:${token.line}: \`#[path]\` is not understood`);
        for (const { kind, value, line } of code.slice(at + 1, closing(code, at + 1))) {
          if (kind === "string" && /^\w+(::\w+)+$/.test(value)) module.paths.push({ path: value.split("::"), line });
        }
      } else if (is(token, "mod") && next?.kind === "name" && is(code[at + 2], ";")) {
        this.child(module, next.value);
        at += 2;
      } else if (is(token, "mod") && next?.kind === "name" && is(code[at + 2], "{")) {
        const end = closing(code, at + 2);
        const inner = this.module(module, module.file, join(module.folder, next.value));
        module.children.set(next.value, inner);
        this.read(inner, code.slice(at + 3, end));
        at = end;
      } else if (is(token, "use") && token.kind === "name" && !is(next, "<")) {
        // `impl Trait + use<'a>` is another word.
        at = this.use(module, code, at + 1, []);
      } else if (is(token, "pub") && is(next, "(") && /^(crate|self|super|in)$/.test(code[at + 2]?.value)) {
        at = closing(code, at + 1);
      } else if (is(token, "fn") && depth === 0 && next?.kind === "name") {
        module.functions.add(next.value);
      } else if (token.kind === "name" && is(next, "::") && !is(code[at - 1], "::") && !is(code[at - 1], ".")) {
        const path = [token.value];
        for (; is(code[at + 1], "::") && code[at + 2]?.kind === "name"; at += 2) path.push(code[at + 2].value);
        module.paths.push({ path, line: token.line });
      }
    }
  }

  /** One tree of a `use`, from behind `use`, `{` or `,`; answers the place behind it. */
  use(module, code, at, prefix) {
    const path = [...prefix];
    if (is(code[at], "::")) {
      // From the root of all crates: none of ours.
      path.push("::");
      at++;
    }
    for (; ; at++) {
      const { kind, value, line } = code[at];
      if (kind === "name" && value !== "as") path.push(value);
      else if (is(code[at], "*")) {
        module.paths.push({ path: [...path], line });
        module.globs.push(path);
        return at + 1;
      } else if (is(code[at], "{")) {
        const end = closing(code, at);
        for (at++; at < end; ) at = is(code[at], ",") ? at + 1 : this.use(module, code, at, path);
        return end + 1;
      } else if (!is(code[at], "::")) {
        const leaf = path.at(-1) === "self" && path.length > 1 ? path.slice(0, -1) : path;
        const alias = is(code[at], "as");
        module.paths.push({ path: leaf, line: code[at - 1].line });
        const name = alias ? code[at + 1].value : leaf.at(-1);
        if (name !== leaf[0] || leaf.length > 1) module.bound.set(name, leaf);
        return alias ? at + 2 : at;
      }
    }
  }

  /** The modules that a path written in `module` leads to: one; two, if its last name is a module and more than that. */
  resolve(module, path, depth = 0) {
    const [first, ...rest] = path;
    let at;
    if (first === "crate") at = this.top;
    else if (first === "self") at = module;
    else if (first === "super") at = module.parent;
    else if (module.children.has(first)) return this.descend(module, path);
    else if (module.bound.has(first) && depth < 8) {
      const bound = module.bound.get(first);
      return bound[0] === first ? [] : this.resolve(module, [...bound, ...rest], depth + 1);
    } else {
      // A name that a glob brings in.
      for (const glob of depth < 8 ? module.globs : []) {
        for (const from of glob[0] === first ? [] : this.resolve(module, glob, depth + 1)) {
          if (from !== module && (from.children.has(first) || from.bound.has(first))) return this.resolve(from, path, depth + 1);
        }
      }
      return [];
    }
    return this.descend(at, rest);
  }

  descend(module, path) {
    for (const [index, name] of path.entries()) {
      if (name === "super") module = module.parent;
      else if (name === "self") continue;
      else if (!module.children.has(name)) return [module];
      else {
        const both = index === path.length - 1 && (module.bound.has(name) || module.functions.has(name));
        if (both) return [module, module.children.get(name)];
        module = module.children.get(name);
      }
    }
    return [module];
  }

  /** The files of the modules that a file lies in: `a/mod.rs` and `mod.rs` for `a/b.rs`. */
  around(file) {
    const found = new Set();
    for (let module = this.modules.find((one) => one.file === file).parent; module; module = module.parent) found.add(module.file);
    return found;
  }

  /** file → file it imports → the first line that does */
  imports() {
    const edges = new Map([...this.files.keys()].map((file) => [file, new Map()]));
    for (const module of this.modules) {
      for (const { path, line } of module.paths) {
        for (const { file } of this.resolve(module, path)) {
          const known = edges.get(module.file);
          if (file !== module.file && !(known.get(file) <= line)) known.set(file, line);
        }
      }
    }
    return edges;
  }

  /** `file:line: what stands there` */
  quote(file, line) {
    return `${file}:${line}: ${this.files.get(file)[line - 1].trim()}`;
  }
}
