// Files of this room that are on their way: how far each is, and what can be done about it.

import { el, fill, icon, setText } from "../lib/dom.js";
import { sizeText } from "../lib/attachments.js";
import { shownAs } from "../lib/media.js";
import { fileName, fileNameNode, shortFileName } from "../lib/names.js";

/** @typedef {import("../lib/outbox.js").Upload} Upload */

/** A small picture of a file at hand, or its sign. @param {File} file */
export function thumbOf(file) {
  if (shownAs(file.type) !== "image") return el("span.thumb", {}, icon("file"));
  const url = URL.createObjectURL(file);
  const forget = () => URL.revokeObjectURL(url);
  const fail = () => {
    forget();
    fill(node, icon("image"));
  };
  const node = el("span.thumb", {}, el("img", { src: url, alt: "", onload: forget, onerror: fail }));
  return node;
}

/**
 * @param {import("./shell.js").Context} context @param {string} roomId
 * @param {{ onReturn: (note: import("../lib/outbox.js").Note) => void }} options told what was said with files of which none is sent
 */
export function createUploads({ outbox }, roomId, { onReturn }) {
  const node = el("ul.uploads", { testid: "uploads", "aria-label": "Files on their way", hidden: true });
  const live = el("p.visually-hidden", { role: "status" });
  /** @type {Map<number, ReturnType<typeof createUpload>>} */
  const rows = new Map();
  const cancel = (/** @type {number} */ id) => {
    const note = outbox.cancel(id);
    if (note) onReturn(note);
  };
  const update = () => {
    const uploads = outbox.of(roomId);
    const ids = new Set(uploads.map(({ id }) => id));
    for (const [id, row] of rows) {
      if (ids.has(id)) continue;
      row.node.remove();
      rows.delete(id);
    }
    for (const one of uploads) {
      let row = rows.get(one.id);
      if (!row) {
        row = createUpload(one, () => cancel(one.id), () => outbox.retry(one.id));
        rows.set(one.id, row);
        node.append(row.node);
      }
      row.update(one);
    }
    node.hidden = uploads.length === 0;
    const failed = uploads.find(({ state }) => state === "failed");
    setText(live, failed ? `${shortFileName(failed.file.name)} was not sent. ${failed.problem}` : "");
  };
  const stop = outbox.subscribe(update);
  update();
  return { nodes: [node, live], dispose: stop };
}

/** @param {Upload} upload @param {() => void} cancel @param {() => void} retry */
function createUpload({ file }, cancel, retry) {
  const words = el("span.upload-words.muted");
  const bar = el("progress", { max: "1", "aria-label": `Sending ${fileName(file.name)}` });
  const again = el("button.link", { type: "button", testid: "upload-retry", hidden: true, onclick: retry }, "Try again");
  const away = el("button.link", { type: "button", testid: "upload-cancel", onclick: cancel }, "Cancel");
  const node = el("li.upload", { testid: "upload" }, thumbOf(file), el("span.upload-text", {}, fileNameNode(file.name), words, bar), again, away);
  return {
    node,
    /** @param {Upload} one */
    update({ state, sent, problem }) {
      node.dataset.state = state;
      const isFailed = state === "failed";
      bar.hidden = isFailed;
      if (state === "waiting") bar.removeAttribute("value");
      else bar.value = file.size === 0 ? 1 : Math.min(1, sent / file.size);
      again.hidden = !isFailed;
      setText(away, isFailed ? "Discard" : "Cancel");
      if (isFailed) fill(words, icon("alert"), problem ?? "Not sent.");
      else setText(words, state === "waiting" ? `${sizeText(file.size)} · waiting` : `${sizeText(Math.min(sent, file.size))} of ${sizeText(file.size)}`);
    },
  };
}
