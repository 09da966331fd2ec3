// Errors in words for the person in front of the screen.

/** @type {Record<string, string>} */
const WORDS = {
  NETWORK: "The server cannot be reached. Check the address and your connection.",
  M_FORBIDDEN: "The server did not allow that.",
  M_UNKNOWN_TOKEN: "You were signed out.",
  M_USER_IN_USE: "That name is taken.",
  M_INVALID_USERNAME: "That name cannot be used: small letters, digits and . _ = - / + are fine, and with the server's name 255 characters.",
  M_WEAK_PASSWORD: "That password is too weak.",
  M_USER_DEACTIVATED: "That account was closed.",
  M_NOT_FOUND: "That could not be found.",
  M_ROOM_IN_USE: "That address is taken by another room.",
  M_TOO_LARGE: "That is too long to be sent.",
  M_UNRECOGNIZED: "The server does not offer that.",
  BAD_ANSWER: "The server's answer is not understood.",
  TIMEOUT: "The server did not answer in time.",
  STOPPED: "That was interrupted.",
  UNSUPPORTED: "This server does not offer that.",
  ENCRYPTED_ROOM: "The room is encrypted, and this client writes plain text only.",
  M_DUPLICATE_ANNOTATION: "You have reacted so already.",
  BAD_USER_ID: "That is not a user ID; they look like @name:server.",
  BAD_ROOM: "That is no room’s address; they look like #name:server.",
};

/** How this server says that another one did not answer. */
const NO_ANSWER = /^([^\s:]+|\[[\d:a-f.]+\])(:\d+)?(?: cannot be reached|: no answer): (.*)/is;
const NO_POWER = "You do not have the right to do that in this room.";
/** How servers speak of power levels. */
const OF_POWER = /\bpower\b|user_level|send_level/i;

/**
 * @param {unknown} error
 * @param {Record<string, string>} [words] better words for a place's own codes
 */
export function errorText(error, words = {}) {
  if (!(error instanceof Error)) return String(error);
  const { code, retryAfterMs } = /** @type {Partial<import("/pkg/index.js").PilotlightError>} */ (error);
  if (code === undefined) return error.message;
  if (code === "M_LIMIT_EXCEEDED") {
    const wait = retryAfterMs ? ` in ${Math.ceil(retryAfterMs / 1000)} s` : " in a moment";
    return `Too many attempts. Try again${wait}.`;
  }
  const [silent, host, port = "", why] = NO_ANSWER.exec(error.message) ?? [];
  if (silent) return /timed out/.test(why) ? `The server ${host}${port} did not answer in time.` : `The server ${host}${port} cannot be reached.`;
  if (code === "M_FORBIDDEN" && !Object.hasOwn(words, code) && OF_POWER.test(error.message)) return NO_POWER;
  const isExplained = code === "M_FORBIDDEN" || code === "M_WEAK_PASSWORD";
  if (isExplained && !Object.hasOwn(words, code) && error.message) return `${WORDS[code]} (${error.message})`;
  return words[code] ?? (Object.hasOwn(WORDS, code) ? WORDS[code] : error.message || code);
}

/** Why an action failed, in words: the code stands before them. @param {string | undefined} error */
export function failureText(error) {
  const [, code, words] = /^([A-Z_]+): (.*)$/s.exec(error ?? "") ?? [];
  return code === undefined ? error || "Not sent." : errorText(Object.assign(new Error(words), { code }));
}

/** What went wrong with one of several people, who is named. @param {string} userId @param {unknown} error */
export function aboutUser(userId, error) {
  const isNobody = error instanceof Error && "code" in error && error.code === "M_NOT_FOUND";
  return new Error(isNobody ? `There is nobody called ${userId}.` : `${userId}: ${errorText(error)}`);
}
