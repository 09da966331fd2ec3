// Unfinished messages by room, forgotten at signing out. Their text is kept over a reload where the browser keeps anything;
// the files that go with it, whom it mentions and what it answers live as long as the page.

/** @typedef {import("./markdown.js").Mention} Mention */
/** @typedef {{ files: File[], mentions: Mention[], replyTo?: import("/pkg/index.js").TimelineItem }} Beside what is not text */

const PREFIX = "pilotlight.draft/";
/** What the browser does not keep lives as long as the page. @type {Map<string, string>} */
const drafts = new Map();
/** By room, those that were looked at. @type {Map<string, Beside>} */
const besides = new Map();

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

/** What belongs to the draft beside its text: whoever writes it changes it in place. @param {string} userId @param {string} roomId @returns {Beside} */
export function besideDraft(userId, roomId) {
  const key = keyOf(userId, roomId);
  let beside = besides.get(key);
  if (!beside) besides.set(key, (beside = { files: [], mentions: [] }));
  return beside;
}

/** @param {string} userId */
export function forgetDrafts(userId) {
  drafts.clear();
  besides.clear();
  const prefix = keyOf(userId, "");
  for (const key of Object.keys(localStorage)) if (key.startsWith(prefix)) localStorage.removeItem(key);
}
