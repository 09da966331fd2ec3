// Calls in words: why one is over, what the browser refused, and what became of one in a room's history.

/** @typedef {import("/pkg/index.js").TimelineItem} TimelineItem */
/** @typedef {{ answeredAt?: number, endedAt?: number, rejected?: boolean, reason?: string }} Outcome what became of a call */

/** @param {string | undefined} reason @param {string} name @returns {string | undefined} nothing where the person knows */
export function endText(reason, name) {
  switch (reason) {
    case "other_hung_up":
      return `${name} hung up.`;
    case "rejected":
      return `${name} declined.`;
    case "busy":
      return `${name} is busy.`;
    case "no_answer":
      return `${name} did not answer.`;
    case "missed":
      return `You missed a call from ${name}.`;
    case "answered_elsewhere":
      return "You answered on another device or in another tab.";
    case "other_no_media":
      return `${name}’s microphone could not be used.`;
    case "no_path":
      return `No connection to ${name} came about: a firewall may be in the way, and the server may know no way around it (a TURN server).`;
    case "path_lost":
      return `The connection to ${name} was lost.`;
    case "not_sent":
      return "The server did not pass the call on.";
    case "left":
      return `${name} is no longer in the room.`;
    case "failed":
      return "The call failed.";
    default:
      return undefined;
  }
}

/** Why there is no microphone or no camera. @param {Error} error @param {string} [what] */
export function mediaText(error, what = "microphone") {
  switch (error.name) {
    case "NotAllowedError":
    case "SecurityError":
      return `The browser does not let this page use the ${what}: its settings for this site decide.`;
    case "NotFoundError":
    case "OverconstrainedError":
      return `No ${what} was found.`;
    case "NotReadableError":
    case "AbortError":
      return `The ${what} could not be used; another program may be using it.`;
    default:
      return error.message || "The call failed.";
  }
}

/** `0:07`, `12:30`, `1:02:09`. @param {number} ms */
export function duration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/**
 * What became of each call that was placed in a room, by what was said of it.
 * @param {TimelineItem[]} items oldest first
 * @returns {Map<string, Outcome>}
 */
export function outcomes(items) {
  /** @type {Map<string, Outcome>} */
  const calls = new Map();
  for (const { type, content, ts } of items) {
    if (!type.startsWith("m.call.") || typeof content?.call_id !== "string") continue;
    const call = calls.get(content.call_id) ?? {};
    if (type === "m.call.answer") call.answeredAt ??= ts;
    if (type === "m.call.hangup" || type === "m.call.reject") call.endedAt ??= ts;
    if (type === "m.call.hangup") call.reason ??= content.reason;
    if (type === "m.call.reject") call.rejected = true;
    calls.set(content.call_id, call);
  }
  return calls;
}

/** The line of a call in a room's history. @param {TimelineItem} item its invitation @param {string} name the caller's @param {boolean} mine @param {Outcome} [call] */
export function callLine(item, name, mine, call = {}) {
  const kind = hasVideo(item) ? "video call" : "call";
  const who = mine ? "You called" : `${name} called`;
  if (call.answeredAt !== undefined) return call.endedAt === undefined ? who : `${who} · ${duration(call.endedAt - call.answeredAt)}`;
  if (call.rejected) return mine ? `${who} · declined` : `Declined ${kind} from ${name}`;
  const lifetime = Number(item.content?.lifetime) || 0;
  const isOver = call.endedAt !== undefined || Date.now() > item.ts + lifetime;
  if (!isOver) return mine ? "You are calling" : `${name} is calling`;
  return mine ? `${who} · no answer` : `Missed ${kind} from ${name}`;
}

/** @param {TimelineItem} item */
function hasVideo(item) {
  return /^m=video/m.test(String(item.content?.offer?.sdp));
}
