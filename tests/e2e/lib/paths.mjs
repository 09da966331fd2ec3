// Where the tests stand, and what the server under test is called.
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository. */
export const root = join(dirname(fileURLToPath(import.meta.url)), "../../..");

/** The homeserver's name in user and room identifiers. */
export const serverName = "localhost";
