// Files that are dragged onto a conversation and dropped there.

import { el, icon } from "../lib/dom.js";

/** @param {HTMLElement} zone @param {(files: Iterable<File>) => void} take */
export function acceptDrops(zone, take) {
  const veil = el("div.drop-veil", { hidden: true, testid: "drop-veil", "aria-hidden": "true" }, icon("clip"), "Drop files to add them to the message");
  zone.append(veil);
  /** How many elements deep the pointer is. */
  let depth = 0;
  const isFiles = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") ?? false;
  const end = () => {
    depth = 0;
    veil.hidden = true;
  };
  zone.addEventListener("dragenter", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    depth += 1;
    veil.hidden = false;
  });
  zone.addEventListener("dragover", (event) => isFiles(event) && event.preventDefault());
  zone.addEventListener("dragleave", (event) => {
    if (!isFiles(event)) return;
    depth -= 1;
    if (depth <= 0) end();
  });
  zone.addEventListener("drop", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    end();
    take(event.dataTransfer?.files ?? []);
  });
}
