// The package in one piece: the wasm travels inside the JavaScript, for places where no second file can.
import { initSync } from "./wasm/pilotlight.js";
import bytes from "./wasm/bytes.js";

initSync({ module: Uint8Array.from(atob(bytes), (char) => char.charCodeAt(0)) });

export * from "./index.js";
