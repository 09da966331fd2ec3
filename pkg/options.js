// What is wrong with what an application gives to the scripts of the package, in the words that the wasm has for what it is given.

export function badArgument(message) {
  return Object.assign(new TypeError(message), { code: "BAD_ARGUMENT" });
}

const KINDS = {
  flag: ["true or false", (value) => typeof value === "boolean"],
  text: ["a string", (value) => typeof value === "string"],
  act: ["a function", (value) => typeof value === "function"],
  list: ["an array", Array.isArray],
  signal: ["an AbortSignal", (value) => typeof value?.throwIfAborted === "function" && typeof value.addEventListener === "function"],
};

/** Refuses what is not of a kind. */
export function checkKind(value, kind, name) {
  const [words, fits] = KINDS[kind];
  if (!fits(value)) throw badArgument(`${name} must be ${words}`);
}

/** What was given, if it is an object that has no field but those, which are of their kinds: `any` is left to who reads it. */
export function checkFields(given, owner, kinds) {
  if (typeof given !== "object" || given === null) throw badArgument(`${owner} must be an object`);
  for (const [field, value] of Object.entries(given)) {
    if (value === undefined) continue;
    if (!Object.hasOwn(kinds, field)) throw badArgument(unknownField(owner, field, Object.keys(kinds)));
    if (kinds[field] !== "any") checkKind(value, kinds[field], `${owner}.${field}`);
  }
  return given;
}

function unknownField(owner, field, known) {
  const [[far, name]] = known.map((one) => [distance(field, one), one]).sort(([a], [b]) => a - b);
  if (far <= Math.max(2, field.length / 3) || field.startsWith(name) || name.startsWith(field)) return `${owner} has no field "${field}": did you mean "${name}"?`;
  return `${owner} has no field "${field}"; it may have ${known.join(", ")}`;
}

/** How many letters are to be changed, added or left out. */
function distance(one, other) {
  let row = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (const [i, a] of [...one.toLowerCase()].entries()) {
    const next = [i + 1];
    for (const [j, b] of [...other.toLowerCase()].entries()) next.push(Math.min(row[j] + (a === b ? 0 : 1), row[j + 1] + 1, next[j] + 1));
    row = next;
  }
  return row[other.length];
}
