// The package in one piece: the wasm travels inside the JavaScript, compressed, for places where no second file can.
import { init } from "./index.js";
import bytes from "./wasm/bytes.js";

const packed = new Blob([Uint8Array.from(atob(bytes), (char) => char.charCodeAt(0))]);
const unpacked = packed.stream().pipeThrough(new DecompressionStream("gzip"));
init(new Response(unpacked, { headers: { "Content-Type": "application/wasm" } }));

export * from "./index.js";
