// Files that go with the message being written, until it is sent.

import { el, fill, iconButton } from "../lib/dom.js";
import { sizeText } from "../lib/attachments.js";
import { counted } from "../lib/format.js";
import { fileName, fileNameNode, shortFileName } from "../lib/names.js";
import { MOST_UPLOADS } from "../lib/outbox.js";
import { thumbOf } from "./uploads.js";

/** How many files that are not taken are told by their names. */
const MOST_NAMED = 6;

/**
 * @param {import("./shell.js").Context} context @param {File[]} files those of the draft
 * @param {{ onChange: () => void, onProblem: (words: string) => void }} options
 */
export function createStaged({ outbox }, files, { onChange, onProblem }) {
  const node = el("ul.staged", { testid: "staged", "aria-label": "Files to be sent" });

  const show = () => {
    node.hidden = files.length === 0;
    fill(node, ...files.map((file) => el(
      "li.staged-file", { testid: "staged-file" },
      thumbOf(file),
      el("span.upload-text", {}, fileNameNode(file.name), el("span.muted", {}, sizeText(file.size))),
      iconButton("close", `Do not send ${fileName(file.name)}`, { testid: "staged-remove", onclick: () => remove(file) }),
    )));
  };

  /** @param {File} file */
  const remove = (file) => {
    files.splice(files.indexOf(file), 1);
    show();
    onChange();
  };
  show();

  return {
    node,
    get count() {
      return files.length;
    },
    /** @param {Iterable<File>} added */
    async add(added) {
      const all = [...added];
      const limit = await outbox.limit();
      const large = limit === undefined ? [] : all.filter((file) => file.size > limit);
      const fitting = all.filter((file) => !large.includes(file));
      const taken = fitting.slice(0, Math.max(0, MOST_UPLOADS - files.length));
      files.push(...taken);
      const tooMany = fitting.length - taken.length;
      const problems = [
        limit !== undefined && large.length > 0 && tooLarge(large, limit),
        tooMany > 0 && `${counted(tooMany, "file was", "files were")} not added: send these first, ${MOST_UPLOADS} at once are the most.`,
      ].filter((words) => words !== false);
      if (problems.length > 0) onProblem(problems.join(" "));
      show();
      onChange();
    },
    /** Gives them up to be sent. */
    take() {
      const taken = files.splice(0);
      show();
      onChange();
      return taken;
    },
  };
}

/** @param {File[]} files @param {number} limit */
function tooLarge(files, limit) {
  const most = `this server takes files of ${sizeText(limit)} at most.`;
  if (files.length === 1) return `${shortFileName(files[0].name)} has ${sizeText(files[0].size)}; ${most}`;
  const named = files.slice(0, MOST_NAMED).map((file) => `${shortFileName(file.name)} (${sizeText(file.size)})`);
  const others = files.length - named.length;
  const last = others > 0 ? counted(others, "other", "others") : /** @type {string} */ (named.pop());
  return `${named.join(", ")} and ${last} are too large: ${most}`;
}
