// Rewrites a JavaScript module without its comments and indentation: the glue's are half of its size.
import { readFileSync, writeFileSync } from "node:fs";
import ts from "../tests/e2e/node_modules/typescript/lib/typescript.js";

const [, , file] = process.argv;
const compilerOptions = { removeComments: true, target: ts.ScriptTarget.ESNext, module: ts.ModuleKind.ESNext };
const { outputText } = ts.transpileModule(readFileSync(file, "utf8"), { compilerOptions });
const spansLines = (line) => (line.split("`").length - 1) % 2 === 1;
if (outputText.split("\n").some(spansLines)) throw new Error(`${file}: indentation may be part of a template`);
writeFileSync(file, outputText.replace(/^ +/gm, ""));
