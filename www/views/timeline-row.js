// One row of the timeline: a message with its way to its place, or a line about what happened.

import { avatar, pictureAvatar, renameAvatar } from "../lib/avatar.js";
import { liveTime } from "../lib/clock.js";
import { comingsLine, isMessage, oneLine, stateLine } from "../lib/describe.js";
import { el, fill, icon, iconButton, setText } from "../lib/dom.js";
import { failureText } from "../lib/errors.js";
import { clockTime, fullTime, hueOf, initials, nameList } from "../lib/format.js";
import { formatted } from "../lib/formatted.js";
import { bodyOf, isOnlyEmoji, richText } from "../lib/rich-text.js";
import { routeHref } from "../lib/router.js";
import { attachmentOf } from "../lib/attachments.js";
import { createAttachment } from "./attachment.js";
import { confirm } from "./dialog.js";
import { openPerson } from "./person-dialog.js";

/** @typedef {import("/pkg/index.js").TimelineItem} TimelineItem */
/** @typedef {import("/pkg/index.js").EchoState} EchoState */

/** How many of those who have read up to a message have their picture there. */
const MOST_READERS = 3;
/** How many kinds of reaction are shown at a message. */
const MOST_REACTIONS = 20;

/** @type {Record<EchoState, string>} */
const ECHO = {
  queued: "Waiting to be sent",
  sending: "Sending",
  sent: "Sent",
  placed: "Sent",
  failed: "Not sent",
};

/** One tick: the server has it; two: somebody has read it. @type {Record<EchoState, string>} */
const MARKS = { queued: "echo-queued", sending: "echo-sending", sent: "echo-sent", placed: "echo-sent", failed: "echo-failed" };

export class TimelineRow {
  /** @param {import("./talk.js").Talk} talk @param {TimelineItem} item */
  constructor(talk, item) {
    this.talk = talk;
    this.item = item;
    this.isMessage = isMessage(item);
    this.own = item.sender === talk.me;
    /** Others who have read up to here. @type {Set<string>} */
    this.readers = new Set();
    /** @type {HTMLElement | undefined} */
    this.day = undefined;
    /** Whether a run of comings and goings is shown in full, as the person wished at one of its rows. */
    this.open = false;
    /** @type {HTMLElement | undefined} */
    this.fold = undefined;
    this.node = el("li.row", {
      class: `${this.isMessage ? "message" : "event"} ${this.own ? "own" : "other"}`, testid: "timeline-item", "data-key": item.key,
      "data-sender": item.sender, "data-type": item.type,
    });
    if (this.isMessage) this.#buildMessage();
    else this.node.append((this.text = el("p.event-line", { dir: "auto" })));
    this.#show(undefined);
  }

  /** @param {TimelineItem} item */
  update(item) {
    const before = this.item;
    this.item = item;
    this.#show(before);
  }

  /** What became of a call is known by later events. */
  retell() {
    this.#show(this.item);
  }

  /** Shows the sender's name as it is. */
  rename() {
    if (!this.isMessage) return;
    const name = this.#senderName();
    setText(/** @type {Element} */ (this.name), name);
    if (!this.picture) return;
    renameAvatar(this.picture, name);
    pictureAvatar(this.picture, this.talk.context.people.picture(this.item.sender, this.talk.member(this.item.sender)));
  }

  /** @param {{ newDay: boolean, starts: boolean, ends: boolean }} place */
  arrange({ newDay, starts, ends }) {
    this.node.classList.toggle("starts", starts);
    this.node.classList.toggle("ends", ends);
    if (newDay && !this.day) {
      this.day = el("div.day", { role: "separator" }, liveTime("day", this.item.ts));
      this.node.prepend(this.day);
    } else if (!newDay) {
      this.day?.remove();
      this.day = undefined;
    }
  }

  /**
   * Shows the row in a run of comings and goings: not while that is folded, but for its head, which says what
   * happened and opens it.
   * @param {{ hidden: boolean, head: TimelineRow[] | undefined, open: boolean }} place
   */
  showInRun({ hidden, head, open }) {
    this.node.hidden = hidden && head === undefined;
    /** @type {HTMLElement} */ (this.text).hidden = hidden;
    this.fold?.remove();
    this.fold = undefined;
    if (head === undefined) return;
    const toggle = () => {
      for (const row of head) row.open = !open;
      for (const row of head) row.showInRun({ hidden: open, head: row === this ? head : undefined, open: !open });
    };
    const words = open ? "" : comingsLine(head.map((row) => row.item), (userId) => this.talk.nameOf(userId));
    const button = el("button.link", { type: "button", testid: "fold", "aria-expanded": String(open), onclick: toggle }, open ? "Show less" : `Show all ${head.length}`);
    this.fold = el("p.event-line.fold", {}, el("bdi", {}, words), " ", button);
    this.node.append(this.fold);
  }

  #buildMessage() {
    const { sender } = this.item;
    const open = () => openPerson(this.talk.context, sender, this.talk.roomId);
    this.name = el("button.sender", { type: "button", class: `hue-${hueOf(sender)}`, dir: "auto", onclick: open, tabindex: "-1" });
    this.picture = this.own ? undefined : avatar(sender, this.#senderName(), "round");
    this.text = el("div.body", { dir: "auto" });
    this.attached = el("div.attached", { hidden: true });
    this.time = el("time.stamp");
    this.echo = el("span.echo");
    this.quote = el("div.quote-place");
    this.edited = el("span.edited");
    this.tools = el("div.tools");
    this.reactions = el("ul.reactions", { "aria-label": "Reactions", hidden: true });
    this.readersPlace = el("div.readers", { testid: "readers", hidden: true });
    this.failure = el("p.failure", { hidden: true });
    this.node.append(
      el(
        "article.line",
        { tabindex: "-1" },
        this.picture ?? "",
        el("div.stack", {}, this.name, el("div.bubble", {}, this.quote, this.attached, this.text, el("span.meta", {}, this.edited, this.time, this.echo), this.tools), el("div.under", {}, this.reactions, this.readersPlace), this.failure),
      ),
    );
    this.rename();
  }

  /** @param {TimelineItem | undefined} before */
  #show(before) {
    const { item, node } = this;
    node.dataset.echo = item.echo;
    node.dataset.read = String(item.read === true);
    if (item.eventId) node.dataset.eventId = item.eventId;
    if (!this.isMessage) {
      setText(/** @type {Element} */ (this.text), stateLine(item, (userId) => this.talk.nameOf(userId), this.talk) ?? "");
      /** @type {HTMLElement} */ (this.text).title = fullTime(item.ts);
      return;
    }
    if (before?.ts !== item.ts) this.#showTime();
    if (!before || before.content !== item.content || before.redacted !== item.redacted || isLeaving(before) !== isLeaving(item)) this.#showBody();
    if (before?.replyTo !== item.replyTo) this.showQuote();
    if (!before || before.reactions !== item.reactions) this.#showReactions();
    this.#showEdited();
    this.#showEcho();
    if (before?.eventId !== item.eventId || before?.redacted !== item.redacted || !before) this.#showTools();
  }

  #showTime() {
    const time = /** @type {HTMLTimeElement} */ (this.time);
    setText(time, clockTime(this.item.ts));
    time.dateTime = new Date(this.item.ts).toISOString();
    time.title = fullTime(this.item.ts);
  }

  #showBody() {
    const { item, node, talk } = this;
    const text = /** @type {HTMLElement} */ (this.text);
    const body = bodyOf(item.content);
    const leaving = isLeaving(item);
    node.classList.toggle("redacted", item.redacted === true || leaving);
    node.classList.toggle("emote", item.content?.msgtype === "m.emote");
    node.classList.toggle("notice", item.content?.msgtype === "m.notice");
    node.classList.toggle("only-emoji", !item.redacted && !leaving && isOnlyEmoji(body));
    node.classList.toggle("names-me", talk.namesMe(item));
    const said = () => formatted(item.content, (target, words) => this.#pill(target, words)) ?? el("span", {}, ...richText(body));
    this.#showAttached(item.redacted || leaving ? undefined : item.content);
    if (item.redacted) fill(text, "Message deleted");
    else if (leaving) fill(text, "Deleting this message…");
    else if (item.type === "m.room.encrypted") fill(text, icon("lock"), "Encrypted message, which this client cannot read");
    else if (item.content?.msgtype === "m.emote") fill(text, `${this.#senderName()} `, said());
    else if (attachmentOf(item.content)?.hasCaption === false) fill(text);
    else fill(text, said());
  }

  /** Shows the file of a message: once, for what is said of it beside can change. @param {any} content */
  #showAttached(content) {
    const attached = /** @type {HTMLElement} */ (this.attached);
    const about = JSON.stringify([content?.msgtype, content?.url, content?.filename]);
    if (attached.dataset.about === about) return;
    attached.dataset.about = about;
    const shown = createAttachment(content);
    attached.hidden = shown === undefined;
    this.node.classList.toggle("with-file", shown !== undefined);
    fill(attached, shown);
  }

  /** @param {import("../lib/links.js").MatrixLink} target @param {string} words */
  #pill({ id, eventId }, words) {
    const { talk } = this;
    if (id.startsWith("@")) {
      const open = () => openPerson(talk.context, id, talk.roomId);
      return el("button.pill-name", { type: "button", class: id === talk.me ? "names-you" : "", dir: "auto", title: id, tabindex: "-1", onclick: open }, talk.nameOf(id));
    }
    if (!talk.context.rooms.isJoined(id)) return undefined;
    return el("a", { href: routeHref({ pane: "room", roomId: id, eventId }), dir: "auto" }, words);
  }

  /** Shows what is answered. */
  showQuote() {
    const { talk, quote } = this;
    const { replyTo } = this.item;
    if (!quote) return;
    if (replyTo === undefined) {
      quote.replaceChildren();
      return;
    }
    const name = el("bdi.quote-name");
    const words = el("bdi.quote-words", {}, "…");
    fill(quote, el("button.quote", { type: "button", testid: "quote", tabindex: "-1", title: "Go to the message", onclick: () => talk.onJump(replyTo) }, name, words));
    const show = (/** @type {TimelineItem | undefined} */ item) => {
      setText(name, item ? talk.nameOf(item.sender) : "");
      name.className = item ? `quote-name hue-${hueOf(item.sender)}` : "quote-name";
      setText(words, !item ? "A message that is not available" : item.redacted ? "Message deleted" : quoteOf(item));
    };
    const known = talk.find(replyTo);
    if (known) show(known);
    else void talk.quoted(replyTo).then((item) => this.item.replyTo === replyTo && show(item));
  }

  #showReactions() {
    const { item, talk } = this;
    const list = /** @type {HTMLElement} */ (this.reactions);
    const focused = /** @type {HTMLElement | null} */ (list.contains(document.activeElement) ? document.activeElement : null)?.dataset.key;
    const reactions = item.reactions ?? [];
    list.hidden = reactions.length === 0;
    const buttons = reactions.slice(0, MOST_REACTIONS).map(({ key, count, senders, mine }) => {
      const names = senders.map((userId) => (userId === talk.me ? "you" : talk.nameOf(userId)));
      const who = count > senders.length ? `${nameList(names.slice(0, 3))} and more` : nameList(names);
      const active = mine !== undefined && !mine.removing;
      return el("li", {}, el(
        "button.reaction",
        {
          type: "button", testid: "reaction", "data-key": key, "data-echo": mine?.echo ?? "placed", tabindex: "-1", class: mine?.removing ? "removing" : "",
          "aria-pressed": String(active), title: who, "aria-label": `${key}, ${count}: ${who}`, disabled: !talk.canAnswer(item), onclick: () => talk.toggleReaction(item, key),
        },
        el("span.reaction-key", { dir: "auto" }, key.length > 12 ? `${key.slice(0, 12)}…` : key), " ", el("span.reaction-count", {}, count),
      ));
    });
    fill(list, ...buttons, reactions.length > MOST_REACTIONS && el("li.muted", {}, `+${reactions.length - MOST_REACTIONS}`));
    if (focused !== undefined) buttons.find((one) => one.querySelector("button")?.dataset.key === focused)?.querySelector("button")?.focus();
  }

  /** Shows who has read up to here. */
  showReaders() {
    const place = this.readersPlace;
    if (!place) return;
    place.hidden = this.readers.size === 0;
    const ids = [...this.readers];
    const names = ids.map((userId) => this.talk.nameOf(userId));
    const pictures = ids.slice(0, MOST_READERS).map((userId, at) => el("span.reader", { class: `hue-${hueOf(userId)}`, "aria-hidden": "true" }, initials(names[at]).slice(0, 1)));
    const more = ids.length - MOST_READERS;
    fill(place, el("span", { role: "img", "aria-label": `Read by ${nameList(names.slice(0, 12))}`, title: `Read by ${nameList(names.slice(0, 12))}` }, ...pictures, more > 0 && el("span.more-readers", {}, `+${more}`)));
  }

  #showEdited() {
    const { item, edited } = this;
    if (!edited) return;
    setText(edited, item.edited !== undefined && !item.redacted ? "edited" : "");
    edited.title = item.edited === undefined ? "" : fullTime(item.edited);
  }

  #showEcho() {
    const { item, talk } = this;
    const change = item.pending;
    const state = change?.echo ?? item.echo;
    const isPlaced = state === "placed";
    const [mark, words] = item.read && isPlaced ? ["echo-read", "Read"] : [MARKS[state], ECHO[state]];
    this.node.dataset.echo = state;
    // Of what is deleted nobody asks; who has read what was said long ago is not known of everybody.
    const isMarked = this.own && !item.redacted && !(isPlaced && !item.read && talk.inPast);
    const echo = /** @type {Element} */ (this.echo);
    if (!isMarked) echo.replaceChildren();
    else if (echo.querySelector("svg")?.getAttribute("aria-label") !== words) fill(echo, icon(mark, words));
    const reactions = item.reactions?.flatMap(({ key, mine }) => (mine ? [{ ...mine, what: mine.removing ? `Taking ${key} back` : key }] : [])) ?? [];
    const own = { ...item, what: "" };
    const all = [own, change && { ...change, what: change.type === "edit" ? "The edit" : "The deletion" }, ...reactions];
    const failed = all.filter((one) => one !== undefined && one.echo === "failed" && one.actionId !== undefined);
    const failure = /** @type {HTMLElement} */ (this.failure);
    failure.hidden = failed.length === 0;
    if (failed.length === 0 && failure.childElementCount === 0) return;
    const { client } = talk.context;
    fill(failure, ...failed.flatMap((one) => {
      const { actionId = 0, error, what = "" } = one ?? {};
      return [
        el("span", {}, what && `${what}: `, failureText(error)),
        el("button.link", { type: "button", testid: "retry", onclick: () => client.retry(actionId) }, "Try again"),
        el("button.link", { type: "button", testid: "cancel", onclick: () => (what ? client.cancel(actionId) : this.#discard(actionId)) }, "Discard"),
      ];
    }));
  }

  #showTools() {
    const { item, talk } = this;
    const tools = /** @type {Element} */ (this.tools);
    if (item.eventId === undefined || item.redacted) {
      tools.replaceChildren();
      return;
    }
    const menu = (/** @type {Event} */ event) => talk.onMenu(this.item, /** @type {HTMLElement} */ (event.currentTarget));
    fill(
      tools,
      talk.canAnswer(item) && iconButton("reply", "Reply", { testid: "quick-reply", onclick: () => talk.onReply(this.item) }),
      talk.canDelete(item) && this.own && iconButton("trash", "Delete message", { testid: "delete", onclick: () => talk.delete(this.item) }),
      iconButton("more", "React and more", { testid: "message-more", "aria-haspopup": "true", "aria-expanded": "false", onclick: menu }),
    );
  }

  /** @param {number} actionId */
  #discard(actionId) {
    confirm({
      title: "Discard this message?", testid: "discard", submitLabel: "Discard", text: bodyOf(this.item.content),
      act: async () => this.talk.context.client.cancel(actionId),
    });
  }

  #senderName() {
    return this.talk.nameOf(this.item.sender);
  }
}

/** Whether a message is about to be deleted. @param {TimelineItem} item */
function isLeaving({ pending }) {
  return pending?.type === "redaction" && pending.echo !== "failed";
}

/** A message as a quotation of it begins. @param {TimelineItem} item */
function quoteOf(item) {
  return (isMessage(item) && oneLine(item)) || "…";
}
