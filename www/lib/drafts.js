// Unfinished messages by room, kept over a reload where the browser keeps anything; forgotten at signing out.

const PREFIX = "pilotlight.draft/";
/** What the browser does not keep lives as long as the page. @type {Map<string, string>} */
const drafts = new Map();

/** @param {string} userId @param {string} roomId */
const keyOf = (userId, roomId) => `${PREFIX}${userId}/${roomId}`;

/** @param {string} userId @param {string} roomId */
export function draftOf(userId, roomId) {
  const key = keyOf(userId, roomId);
  return drafts.get(key) ?? localStorage.getItem(key) ?? "";
}

/** @param {string} userId @param {string} roomId @param {string} text */
export function keepDraft(userId, roomId, text) {
  const key = keyOf(userId, roomId);
  drafts.set(key, text);
  try {
    if (text === "") localStorage.removeItem(key);
    else localStorage.setItem(key, text);
  } catch {
    // The storage is full: what an earlier reload would bring back is older than this.
    localStorage.removeItem(key);
  }
}

/** @param {string} userId */
export function forgetDrafts(userId) {
  drafts.clear();
  const prefix = keyOf(userId, "");
  for (const key of Object.keys(localStorage)) if (key.startsWith(prefix)) localStorage.removeItem(key);
}
