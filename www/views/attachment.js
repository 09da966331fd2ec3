// A file in a message: a picture where it is, sound and film when they are asked for, and everything else to be saved.

import { attachmentOf, sizeText } from "../lib/attachments.js";
import { el, fill, icon } from "../lib/dom.js";
import { errorText } from "../lib/errors.js";
import { media, NOT_SHOWN } from "../lib/media.js";
import { fileNameNode } from "../lib/names.js";
import { orToast } from "../lib/toast.js";
import { openPicture } from "./picture.js";

/** @typedef {import("../lib/attachments.js").Attachment} Attachment */

/** How large a picture is in the conversation, at most. */
const WIDTH = 360;
const HEIGHT = 300;
/** The least, and how many times as wide as high, or as high as wide. */
const LEAST = 64;
const MOST_FORM = 4;
/** Of what is said to have no size. */
const USUAL = { width: 240, height: 180 };
const SIZE = /** @type {const} */ ({ width: 800, height: 600, method: "scale" });
/** What moves is shown whole, if it is no larger than this, and so is what is hardly larger than its thumbnail. */
const SMALL = 200 << 10;
const MOVING = 4 << 20;

/** @type {Record<string, string>} */
const WORDS = { M_NOT_FOUND: "The file is not there any more.", NETWORK: "No connection." };

const inSight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    inSight.unobserve(target);
    target.dispatchEvent(new Event("sight"));
  }
}, { rootMargin: "400px" });

/** What is shown of the file in a message; nothing where there is none. @param {any} content */
export function createAttachment(content) {
  const attachment = attachmentOf(content);
  if (!attachment) return undefined;
  const { kind, uri } = attachment;
  if (uri === undefined) return el("p.attachment-gone", {}, icon("lock"), " A file that this client cannot read");
  if (kind === "image") return createPicture(attachment, uri);
  return createCard(attachment, uri);
}

/** As large as it will be before it is there: nothing jumps. What is said to be a line has some space around it. @param {HTMLElement} node @param {Attachment} attachment */
function reserve(node, { width = USUAL.width, height = USUAL.height }) {
  const form = Math.min(MOST_FORM, Math.max(1 / MOST_FORM, width / height));
  const shown = Math.max(LEAST, Math.min(WIDTH, width, HEIGHT * form));
  node.style.width = `${Math.round(shown)}px`;
  node.style.aspectRatio = String(Math.round(form * 1000) / 1000);
}

/** @param {Attachment} attachment @param {string} uri */
function createPicture(attachment, uri) {
  const { name, type, size = Infinity } = attachment;
  const open = () => button.dataset.state === "shown" && openPicture(attachment, uri);
  const button = el("button.picture", { type: "button", testid: "picture", "data-state": "loading", "aria-label": `Picture: ${name}`, title: name, onclick: open });
  reserve(button, attachment);
  const isWhole = size <= SMALL || (type === "image/gif" && size <= MOVING);

  const load = async () => {
    try {
      const url = await files().show(uri, "image", isWhole ? undefined : SIZE).catch((error) => {
        // Of kinds that the server knows nothing of it makes no thumbnail.
        if (isWhole || !["M_UNKNOWN", "M_TOO_LARGE"].includes(error.code)) throw error;
        return files().show(uri, "image");
      });
      const image = el("img", { alt: name, draggable: "false", src: url });
      await image.decode();
      button.dataset.state = "shown";
      fill(button, image);
    } catch (error) {
      const again = () => {
        failed.replaceWith(button);
        void load();
      };
      const failed = createFailed(attachment, uri, error, again);
      button.replaceWith(failed);
    }
  };
  button.addEventListener("sight", load, { once: true });
  inSight.observe(button);
  return button;
}

/** What stands where a picture would: it can be saved all the same. @param {Attachment} attachment @param {string} uri @param {any} error @param {() => void} again */
function createFailed(attachment, uri, error, again) {
  const isFinal = error instanceof DOMException || error.code === NOT_SHOWN;
  const words = error instanceof DOMException ? "This picture cannot be shown." : errorText(error, WORDS);
  const retry = el("button.quiet.small", { type: "button", testid: "picture-retry", onclick: again }, icon("retry"), "Try again");
  return el("div.file", { testid: "picture", "data-state": "failed" }, headOf(attachment, "image", words), el("div.file-actions", {}, !isFinal && retry, saveButton(attachment, uri)));
}

/** @param {Attachment} attachment @param {string} uri */
function createCard(attachment, uri) {
  const { name, kind, size } = attachment;
  const facts = [kind === "file" ? undefined : kind === "video" ? "Video" : "Audio", size === undefined ? undefined : sizeText(size)];
  const play = el("button.quiet.small", { type: "button", testid: "play", "aria-label": `Play ${name}`, onclick: () => busy(play, start) }, icon("play"), "Play");
  const node = el(
    "div.file", { testid: "file", "data-kind": kind },
    headOf(attachment, kind === "file" ? "file" : "play", facts.filter(Boolean).join(" · ")),
    el("div.file-actions", {}, kind !== "file" && play, saveButton(attachment, uri)),
  );
  const start = async () => {
    if (kind !== "video" && kind !== "audio") return;
    const url = await files().show(uri, kind);
    const fail = () => player.replaceWith(el("p.muted", { role: "status", testid: "player-failed" }, `This ${kind === "video" ? "film" : "recording"} cannot be played here.`));
    const player = el(kind, { controls: true, src: url, testid: "player", "aria-label": name, onerror: fail });
    if (kind === "video") reserve(player, attachment);
    play.replaceWith();
    node.prepend(player);
    await player.play().catch(() => {});
  };
  return node;
}

/** @param {Attachment} attachment @param {string} glyph @param {string} facts */
function headOf({ name }, glyph, facts) {
  return el("div.file-head", {}, el("span.thumb", {}, icon(glyph)), el("span.upload-text", {}, fileNameNode(name), el("span.muted", {}, facts)));
}

/** @param {Attachment} attachment @param {string} uri */
function saveButton({ name }, uri) {
  const save = el("button.quiet.small", { type: "button", testid: "download", "aria-label": `Download ${name}`, onclick: () => busy(save, () => files().save(uri, name)) }, icon("download"), "Download");
  return save;
}

function files() {
  return /** @type {import("../lib/media.js").Media} */ (media());
}

/** @param {HTMLButtonElement} button @param {() => Promise<unknown>} act */
async function busy(button, act) {
  button.disabled = true;
  await orToast(act, WORDS);
  button.disabled = false;
}
