// Where a message is written. Enter sends, Shift+Enter starts a line; what is unfinished waits per room.

import { draftOf, keepDraft } from "../lib/drafts.js";
import { el, fill, icon, iconButton } from "../lib/dom.js";
import { errorText } from "../lib/errors.js";

const TYPING_RENEWED_MS = 8_000;
const TYPING_ENDS_MS = 5_000;
const keyboardIsCheap = matchMedia("(hover: hover) and (pointer: fine)");

/** Why a message stays in the field. @type {Record<string, string>} */
const WORDS = {
  TOO_LARGE: "This is too long for one message, and stays here. Send it in parts.",
  QUEUE_FULL: "Too many messages wait to be sent. This one stays here until some of them have gone.",
  NOT_IN_ROOM: "You are not in this room any more. What you wrote stays here.",
};
const ENCRYPTED = "This room is encrypted, and this client writes plain text only: nothing can be sent from here.";

/**
 * @param {import("./shell.js").Context} context
 * @param {string} roomId
 * @param {{ onSent: () => void }} options
 */
export function createComposer({ client, rooms }, roomId, { onSent }) {
  const { userId } = client.session;
  const input = el("textarea", {
    testid: "composer", rows: "1", dir: "auto", placeholder: "Write a message", "aria-label": "Message", autocomplete: "off", enterkeyhint: "send",
    value: draftOf(userId, roomId),
  });
  const submit = iconButton("send", "Send", { type: "submit", testid: "send" });
  const problem = el("p.problem", { role: "alert", testid: "composer-problem", hidden: true });
  const node = el("form.composer", {}, problem, el("div.composer-box", {}, input, submit));
  let encrypted = false;
  const typing = createTypingNotice((on) => client.setTyping(roomId, on));

  const changed = () => {
    const empty = input.value.trim() === "";
    submit.disabled = empty || encrypted;
    keepDraft(userId, roomId, input.value);
    input.style.height = "auto";
    input.style.height = `${input.scrollHeight}px`;
    return empty;
  };

  /** @param {string} [words] none hides it */
  const say = (words) => {
    problem.hidden = words === undefined;
    if (words !== undefined) fill(problem, icon(encrypted ? "lock" : "alert"), words);
  };

  const update = () => {
    if (encrypted || !rooms.get(roomId)?.encrypted) return;
    encrypted = true;
    input.readOnly = true;
    input.placeholder = "Nothing can be written here";
    say(ENCRYPTED);
    changed();
  };

  input.addEventListener("input", () => {
    say();
    if (changed()) typing.end();
    else typing.renew();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    node.requestSubmit();
  });
  node.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (text === "" || encrypted) return;
    try {
      if (text.startsWith("/me ")) client.send(roomId, "m.room.message", { msgtype: "m.emote", body: text.slice(4) });
      else client.sendText(roomId, text);
    } catch (error) {
      say(errorText(error, WORDS));
      return;
    }
    input.value = "";
    say();
    changed();
    typing.end();
    onSent();
    input.focus();
  });
  requestAnimationFrame(changed);
  const stop = client.on("rooms", update);
  update();

  return {
    node,
    /** Focuses the field, but not where that would push a keyboard onto the screen. */
    focusWhereKeyboardIsCheap() {
      if (keyboardIsCheap.matches && !document.querySelector("dialog[open]")) requestAnimationFrame(() => input.focus());
    },
    dispose() {
      stop();
      typing.end();
    },
  };
}

/** Tells that I type: once, again while it lasts, and when it ends. @param {(on: boolean) => void} tell */
function createTypingNotice(tell) {
  let told = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const end = () => {
    clearTimeout(timer);
    if (told === 0) return;
    told = 0;
    tell(false);
  };
  const renew = () => {
    clearTimeout(timer);
    timer = setTimeout(end, TYPING_ENDS_MS);
    if (Date.now() - told < TYPING_RENEWED_MS) return;
    told = Date.now();
    tell(true);
  };
  return { renew, end };
}
