// The package in Node: the wasm is read from the disk.
import { readFileSync } from "node:fs";
import { initSync } from "./wasm/pilotlight.js";

initSync({ module: readFileSync(new URL("./wasm/pilotlight_bg.wasm", import.meta.url)) });

export * from "./index.js";
