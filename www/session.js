// The remembered session, and finding a homeserver's address.

/** @typedef {import("/pkg/index.js").Session} Session */

const SESSION = "pilotlight.session";
const SERVER = "pilotlight.server";

/** @returns {Session | undefined} */
export function loadSession() {
  try {
    const session = JSON.parse(localStorage.getItem(SESSION) ?? "null");
    const fields = [session?.baseUrl, session?.userId, session?.deviceId, session?.accessToken];
    return fields.every((field) => typeof field === "string") ? session : undefined;
  } catch {
    return undefined;
  }
}

/** @param {Session} session */
export function saveSession(session) {
  const { baseUrl, userId, deviceId, accessToken } = session;
  localStorage.setItem(SESSION, JSON.stringify({ baseUrl, userId, deviceId, accessToken }));
  localStorage.setItem(SERVER, baseUrl);
}

/** Whether this very session is the one that is kept: another tab may have ended it, or begun another. @param {Session} session */
export function isRemembered(session) {
  return loadSession()?.accessToken === session.accessToken;
}

/** Does not touch a later one. @param {Session} session */
export function forgetSession(session) {
  if (isRemembered(session)) localStorage.removeItem(SESSION);
}

/** The server to offer: the last one used, else the one this page came from. */
export function suggestedServer() {
  return localStorage.getItem(SERVER) ?? location.origin;
}

/**
 * Makes an address of what a person types (`example.org`, `localhost:8008`, `https://…`).
 * @param {string} typed
 * @returns {URL}
 * @throws {Error} with a message for the person
 */
export function parseServer(typed) {
  const text = typed.trim().replace(/\/+$/, "");
  // Browsers disagree about a space in a host's name.
  const isOneWord = !/[\s%]/.test(text);
  const local = /^(localhost|127\.|\[::1\])/.test(text);
  const url = URL.parse(/^https?:\/\//.test(text) ? text : `${local ? "http" : "https"}://${text}`);
  if (!url || !isOneWord || url.hostname === "") throw new Error(`“${typed}” is not a server address.`);
  return url;
}

/**
 * The base URL of the homeserver behind an address, following `/.well-known/matrix/client` where there is one.
 * @param {string} typed
 */
export async function discoverServer(typed) {
  const url = parseServer(typed);
  const given = url.origin + url.pathname.replace(/\/+$/, "");
  if (url.origin === location.origin) return given;
  try {
    const answer = await fetch(`${url.origin}/.well-known/matrix/client`, { signal: AbortSignal.timeout(5000) });
    const base = answer.ok ? (await answer.json())?.["m.homeserver"]?.base_url : undefined;
    const found = typeof base === "string" ? URL.parse(base) : null;
    if (found && /^https?:$/.test(found.protocol)) return found.href.replace(/\/+$/, "");
  } catch {
    // No such document is the usual case: the address itself is the server then.
  }
  return given;
}
