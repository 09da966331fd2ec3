// The floors of src/server: a file names only floors below its own, and rooms of one floor do not name each other.
//
//   node scripts/check-floors.mjs               prints every import that looks upwards or sideways, and fails
//   node scripts/check-floors.mjs --self-test   plants one such import for each floor and expects to be stopped
//
// What counts as an import: rust-imports.mjs. The core stands beside all floors: anybody may name it.
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Crate } from "./rust-imports.mjs";

/** From the roof to the ground. Rooms in one list stand side by side; `open`: they may name each other all the same. */
const FLOORS = [
  { rooms: ["serve", "cli", "simulate", "fuzzed"], open: true },
  { rooms: ["router", "web"], open: true },
  { rooms: ["api/client", "api/federation", "api/control"] },
  { rooms: ["api"] },
  { rooms: ["app"] },
  { rooms: ["app_service", "push"] },
  { rooms: ["stream"] },
  { rooms: ["sight"] },
  { rooms: ["presence", "rooms", "contacts", "accounts", "devices", "media", "federation"] },
  { rooms: ["store"] },
  { rooms: ["change"] },
  { rooms: ["event", "session", "profile", "registration", "limits", "answers", "json", "keys", "clock", "config", "metrics", "http", "outgoing", "log", "finish", "private_file", "list", "change/bell", "change/position"], open: true },
];

/** Hands the rooms on; they are declared there. */
const HOUSE = ["src/lib.rs", "src/server/mod.rs", "src/server.rs"];

/** What leads past the imports that are read: a second name for the crate, another file's text. */
const BY_THE_WINDOW = /\bextern\s+crate\s+self\b|\binclude!/;

/** Modules of the API that only declare: they name the rooms in front of them. */
const DOORS = ["src/server/api/mod.rs"];

function placeOf(file) {
  const path = file.replace(/^src\/server\//, "").replace(/\.rs$/, "");
  let best;
  FLOORS.forEach(({ rooms }, floor) => {
    for (const room of rooms) {
      if ((path === room || path.startsWith(`${room}/`)) && (!best || room.length > best.room.length)) best = { floor, room };
    }
  });
  return best;
}

function complaints(root) {
  const crate = new Crate(root);
  const found = [];
  for (const [file, imports] of crate.imports()) {
    if (!file.startsWith("src/server/") || HOUSE.includes(file)) continue;
    readFileSync(join(root, file), "utf8").split("\n").forEach((text, line) => {
      if (BY_THE_WINDOW.test(text)) found.push(`${crate.quote(file, line + 1)}\n    ^ a way past this lint`);
    });
    const from = placeOf(file);
    if (!from) {
      found.push(`${file} stands on no floor`);
      continue;
    }
    for (const [to, line] of imports) {
      if (HOUSE.includes(to)) {
        found.push(`${crate.quote(file, line)}\n    ^ names the house, not a room`);
        continue;
      }
      if (!to.startsWith("src/server/")) continue;
      const there = placeOf(to);
      if (!there || (DOORS.includes(file) && there.floor === from.floor - 1)) continue;
      if (there.floor < from.floor) found.push(`${crate.quote(file, line)}\n    ^ ${from.room} looks up to ${there.room}`);
      if (there.floor === from.floor && there.room !== from.room && !FLOORS[from.floor].open) {
        found.push(`${crate.quote(file, line)}\n    ^ ${from.room} and ${there.room} stand side by side`);
      }
    }
  }
  return found;
}

function selfTest() {
  const copy = mkdtempSync(join(tmpdir(), "floors-"));
  const known = complaints(".").length;
  const afresh = () => {
    rmSync(join(copy, "src"), { recursive: true, force: true });
    cpSync("src", join(copy, "src"), { recursive: true });
  };
  const plant = (room, named) => {
    afresh();
    const folder = join(copy, "src/server", room);
    const module = `pub mod planted {\n    pub use crate::server::${named.replaceAll("/", "::")} as seen;\n}\n`;
    // A room is a folder with a mod.rs, or a file; what stands in a door may name the rooms in front of it.
    const file = [join(folder, "error.rs"), join(folder, "mod.rs"), `${folder}.rs`].find((path) => existsSync(path));
    writeFileSync(file, module, { flag: "a" });
    if (complaints(copy).length <= known) throw new Error(`the floors lint does not see \`${named}\` named in ${room}`);
  };
  try {
    for (let floor = 1; floor < FLOORS.length; floor++) plant(FLOORS[floor].rooms[0], FLOORS[floor - 1].rooms[0]);
    for (const { rooms, open } of FLOORS) if (!open && rooms.length > 1) plant(rooms[0], rooms[1]);
    plant(FLOORS.at(-1).rooms[0], FLOORS[0].rooms[0]);
    for (const line of ["pub use crate::server::stream::Token as T;", "pub mod hand { pub use crate::server::stream::*; }"]) {
      afresh();
      writeFileSync(join(copy, "src/lib.rs"), `${line}\n`, { flag: "a" });
      const by = line.includes("hand") ? "hand::Token" : "T";
      writeFileSync(join(copy, "src/server/store/rooms.rs"), `use crate::${by} as _T;\n`, { flag: "a" });
      if (complaints(copy).length <= known) throw new Error(`the floors lint does not see what src/lib.rs hands on: ${line}`);
    }
    for (const line of ["extern crate self as again;", 'include!("../stream/token.rs");']) {
      afresh();
      writeFileSync(join(copy, "src/server/store/rooms.rs"), `${line}\n`, { flag: "a" });
      if (complaints(copy).length <= known) throw new Error(`the floors lint does not see ${line}`);
    }
    afresh();
    writeFileSync(join(copy, "src/server/mod.rs"), "pub mod homeless;\n", { flag: "a" });
    writeFileSync(join(copy, "src/server/homeless.rs"), "//! Nowhere.\n");
    if (complaints(copy).length <= known) throw new Error("the floors lint does not see a file that stands on no floor");
  } finally {
    rmSync(copy, { recursive: true });
  }
}

if (process.argv[2] === "--self-test") selfTest();
else {
  const found = complaints(".");
  for (const line of found) console.error(line);
  process.exit(found.length > 0 ? 1 : 0);
}
