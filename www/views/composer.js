// Where a message is written. Enter sends, Shift+Enter starts a line; what is unfinished waits per room.

import { el, iconButton } from "../lib/dom.js";

const TYPING_RENEWED_MS = 8_000;
const TYPING_ENDS_MS = 5_000;
const keyboardIsCheap = matchMedia("(hover: hover) and (pointer: fine)");

/** Unfinished messages by room, for as long as the page lives. @type {Map<string, string>} */
const drafts = new Map();

/**
 * @param {import("./shell.js").Context} context
 * @param {string} roomId
 * @param {{ onSent: () => void }} options
 */
export function createComposer({ client }, roomId, { onSent }) {
  const input = el("textarea", {
    testid: "composer", rows: "1", placeholder: "Write a message", "aria-label": "Message", autocomplete: "off", enterkeyhint: "send",
    value: drafts.get(roomId) ?? "",
  });
  const submit = iconButton("send", "Send", { type: "submit", testid: "send" });
  const node = el("form.composer", {}, el("div.composer-box", {}, input, submit));
  const typing = createTypingNotice((on) => client.setTyping(roomId, on));

  const changed = () => {
    const empty = input.value.trim() === "";
    submit.disabled = empty;
    if (input.value === "") drafts.delete(roomId);
    else drafts.set(roomId, input.value);
    input.style.height = "auto";
    input.style.height = `${input.scrollHeight}px`;
    return empty;
  };

  input.addEventListener("input", () => {
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
    if (text === "") return;
    input.value = "";
    changed();
    typing.end();
    if (text.startsWith("/me ")) client.send(roomId, "m.room.message", { msgtype: "m.emote", body: text.slice(4) });
    else client.sendText(roomId, text);
    onSent();
    input.focus();
  });
  requestAnimationFrame(changed);

  return {
    node,
    /** Focuses the field, but not where that would push a keyboard onto the screen. */
    focusWhereKeyboardIsCheap() {
      if (keyboardIsCheap.matches && !document.querySelector("dialog[open]")) requestAnimationFrame(() => input.focus());
    },
    dispose: typing.end,
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
