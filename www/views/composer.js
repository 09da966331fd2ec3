// Where a message is written, answered or edited. Enter sends, Shift+Enter starts a line, Escape leaves an answer or an
// edit, and the up arrow in the empty field edits what I said last; what is unfinished waits per room.

import { besideDraft, draftOf, keepDraft } from "../lib/drafts.js";
import { el, fill, icon, iconButton } from "../lib/dom.js";
import { errorText } from "../lib/errors.js";
import { oneLine } from "../lib/describe.js";
import { compose } from "../lib/markdown.js";
import { bodyOf } from "../lib/rich-text.js";
import { createCompletion } from "./completion.js";
import { createStaged } from "./staged.js";

/** @typedef {import("/pkg/index.js").TimelineItem} TimelineItem */
/** @typedef {import("../lib/markdown.js").Mention} Mention */

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
 * @param {import("./talk.js").Talk} talk
 * @param {{ onSent: () => void, lastOwn: () => TimelineItem | undefined }} options
 */
export function createComposer(talk, { onSent, lastOwn }) {
  const { roomId, context: { client, rooms, outbox } } = talk;
  const { userId } = client.session;
  const input = el("textarea", {
    testid: "composer", rows: "1", dir: "auto", placeholder: "Write a message", "aria-label": "Message", autocomplete: "off", enterkeyhint: "send",
    value: draftOf(userId, roomId),
  });
  const submit = iconButton("send", "Send", { type: "submit", testid: "send" });
  const problem = el("p.problem", { role: "alert", testid: "composer-problem", hidden: true });
  const beside = besideDraft(userId, roomId);
  /** Those who were chosen by `@`; whose name is not in the text any more is not told. @type {Mention[]} */
  let mentions = beside.mentions;
  /** @type {{ kind: "reply" | "edit", item: TimelineItem } | undefined} */
  let about;
  /** What was being written when an edit began. */
  let draft = "";
  const subject = el("div.composer-about", { testid: "composer-about", hidden: true });
  const completion = createCompletion(talk, input, (chosen) => chosen !== "room" && mentions.push(chosen));
  const picker = el("input", { type: "file", multiple: true, hidden: true, testid: "attach-input", onchange: () => (attach(picker.files ?? []), (picker.value = "")) });
  const clip = iconButton("clip", "Add files", { testid: "attach", class: "attach", onclick: () => picker.click() });
  const staged = createStaged(talk.context, beside.files, { onChange: () => changed(), onProblem: (words) => say(words) });
  const node = el("form.composer", {}, problem, completion.node, subject, staged.node, el("div.composer-box", {}, clip, picker, input, submit));
  let encrypted = false;
  const typing = createTypingNotice((on) => client.setTyping(roomId, on));

  /** How many files go with what is written: none with an edit. */
  const filesWithIt = () => (about?.kind === "edit" ? 0 : staged.count);

  const changed = () => {
    const empty = input.value.trim() === "";
    submit.disabled = (empty && filesWithIt() === 0) || encrypted;
    clip.disabled = encrypted || about?.kind === "edit";
    keepDraft(userId, roomId, about?.kind === "edit" ? draft : input.value);
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

  /** @param {typeof about} next */
  const showAbout = (next) => {
    if (about?.kind === "edit") {
      input.value = draft;
      mentions = beside.mentions;
    }
    if (next?.kind === "edit") {
      draft = input.value;
      input.value = next.item.content?.msgtype === "m.emote" ? `/me ${bodyOf(next.item.content)}` : bodyOf(next.item.content);
      mentions = mentionsOf(talk, next.item);
    }
    about = next;
    if (about?.kind !== "edit") beside.replyTo = about?.item;
    subject.hidden = about === undefined;
    submit.title = about?.kind === "edit" ? "Save" : "Send";
    submit.setAttribute("aria-label", submit.title);
    if (about) {
      const { kind, item } = about;
      fill(
        subject,
        icon(kind === "edit" ? "pencil" : "reply"),
        el("span.composer-about-text", {}, el("strong", {}, kind === "edit" ? "Edit message" : el("bdi", {}, `Reply to ${talk.nameOf(item.sender)}`)), el("bdi.muted", {}, oneLine(item))),
        iconButton("close", kind === "edit" ? "Leave the message as it was" : "Do not reply", { testid: "composer-about-close", onclick: () => leave() }),
      );
    }
    changed();
  };
  /** @param {typeof about} next */
  const setAbout = (next) => {
    showAbout(next);
    if (!about) return;
    input.focus();
    input.setSelectionRange(input.value.length, input.value.length);
  };
  const leave = () => {
    setAbout(undefined);
    input.focus();
  };
  talk.onReply = (item) => setAbout({ kind: "reply", item });
  talk.onEdit = (item) => setAbout({ kind: "edit", item });

  /** Adds files to what is being written. @param {Iterable<File>} files */
  const attach = (files) => {
    if (encrypted || about?.kind === "edit") return;
    say();
    void staged.add([...files]);
    if (keyboardIsCheap.matches) input.focus();
  };

  /** @param {string} text */
  const send = (text) => {
    const mayTellAll = talk.powerOf(talk.me) >= (talk.room?.mentionRoomLevel ?? 50);
    const content = text === "" ? undefined : compose(text, { mentions, room: mayTellAll });
    if (filesWithIt() > 0) {
      const replyTo = about?.kind === "reply" ? about.item : undefined;
      outbox.add(roomId, staged.take(), content || replyTo ? { text, mentions: [...mentions], content, replyTo } : undefined);
      return;
    }
    if (!content) return;
    if (about?.kind === "edit") client.edit(roomId, about.item, content);
    else if (about) client.reply(roomId, about.item, content);
    else client.send(roomId, "m.room.message", content);
  };

  input.addEventListener("blur", () => completion.close());
  input.addEventListener("click", () => completion.update());
  input.addEventListener("input", () => {
    say();
    completion.update();
    if (changed()) typing.end();
    else typing.renew();
  });
  input.addEventListener("paste", (event) => {
    const data = /** @type {ClipboardEvent} */ (event).clipboardData;
    // What comes from a table or a text is a picture, too; the text is meant.
    if (!data || data.files.length === 0 || data.types.includes("text/plain")) return;
    event.preventDefault();
    attach(data.files);
  });
  input.addEventListener("keydown", (event) => {
    if (completion.handleKey(event)) return;
    if (event.key === "Escape" && about) {
      event.preventDefault();
      leave();
    }
    if (event.key === "ArrowUp" && input.value === "" && !about && !event.shiftKey) {
      const own = lastOwn();
      if (own) {
        event.preventDefault();
        setAbout({ kind: "edit", item: own });
      }
    }
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    node.requestSubmit();
  });
  node.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if ((text === "" && filesWithIt() === 0) || encrypted) return;
    try {
      send(text);
    } catch (error) {
      say(errorText(error, WORDS));
      return;
    }
    const edited = about?.kind === "edit";
    if (!edited) {
      input.value = "";
      mentions.length = 0;
    }
    say();
    setAbout(undefined);
    typing.end();
    if (!edited) onSent();
    input.focus();
  });
  requestAnimationFrame(changed);
  const stop = client.on("rooms", update);
  if (beside.replyTo) showAbout({ kind: "reply", item: beside.replyTo });
  update();

  return {
    node,
    attach,
    /** Puts what was said with files, of which none is sent, before what has been written since. @param {import("../lib/outbox.js").Note} note */
    takeBack({ text, mentions: mentioned, replyTo }) {
      beside.mentions.push(...mentioned);
      const joined = (/** @type {string} */ since) => [text, since].filter((words) => words.trim() !== "").join("\n");
      if (about?.kind === "edit") draft = joined(draft);
      else input.value = joined(input.value);
      if (!about && replyTo) showAbout({ kind: "reply", item: replyTo });
      changed();
    },
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

/** Whom a message mentions, by the name that its text has. @param {import("./talk.js").Talk} talk @param {TimelineItem} item @returns {Mention[]} */
function mentionsOf(talk, { content }) {
  const ids = content?.["m.mentions"]?.user_ids;
  return (Array.isArray(ids) ? ids : []).filter((id) => typeof id === "string").map((userId) => ({ userId, name: talk.nameOf(userId) }));
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
