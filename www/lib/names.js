// What people, rooms and files are called, as it is shown. A name may not change the order in which it, or what stands
// around it, is read; and how a file ends, which is what it is, can always be seen.

import { el } from "./dom.js";

/** Marks, embeddings, overrides and isolates of the bidirectional algorithm: they show letters in another order than they have. */
const ORDERING = /[\u061C\u200E\u200F\u202A-\u202E\u2066-\u2069]/g;
const UNPRINTABLE = /[\p{Cc}\u2028\u2029]/gu;
const FROM_THE_RIGHT = /[\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Nko}\p{Script=Syriac}\p{Script=Thaana}]/u;
/** What says what a file is. */
const ENDING = /\.[^.\s]{1,15}$/;

/** A name, a status or the like in the order of its letters. @param {string} name */
export function plainName(name) {
  return name.replace(ORDERING, "");
}

/** The same within a sentence, whose words stay in their order. @param {string} name */
export function inSentence(name) {
  const plain = plainName(name);
  return FROM_THE_RIGHT.test(plain) ? `\u2068${plain}\u2069` : plain;
}

/** A file's name, as it is shown and as it is saved. @param {string} name */
export function fileName(name) {
  return plainName(name).replace(UNPRINTABLE, " ").trim() || "file";
}

/** What of a file's name can be cut, and what cannot. @param {string} name @returns {[stem: string, ending: string]} */
function parted(name) {
  const ending = ENDING.exec(name)?.[0] ?? "";
  return [name.slice(0, name.length - ending.length), ending];
}

/** A file's name within a sentence, cut in the middle where it is long. @param {string} name @param {number} [most] characters */
export function shortFileName(name, most = 48) {
  const [stem, ending] = parted(fileName(name));
  const letters = [...stem];
  const room = most - [...ending].length;
  return inSentence(letters.length > room ? `${letters.slice(0, room - 1).join("")}…${ending}` : stem + ending);
}

/** A file's name that is cut where space is short, but for its ending, which is the last thing from the left. @param {string} name */
export function fileNameNode(name) {
  const whole = fileName(name);
  const [stem, ending] = parted(whole);
  return el("bdi.file-name", { dir: "ltr", title: whole }, el("bdi.file-stem", {}, stem), el("bdi.file-ending", {}, ending));
}
