// Dragging people between the groups of my list. The keyboard's way is the person's dialog.

import { orToast } from "../lib/toast.js";

const TYPE = "application/x-pilotlight-contact";

/** @param {HTMLElement | undefined} node @param {string} userId */
export function markDraggable(node, userId) {
  if (!node || node.draggable) return;
  node.draggable = true;
  node.addEventListener("dragstart", (event) => {
    const from = /** @type {HTMLElement | null} */ (node.closest("[data-group]"))?.dataset.group ?? "";
    event.dataTransfer?.setData(TYPE, JSON.stringify({ userId, from }));
  });
}

/**
 * Takes dragged people into a group, out of the one they came from.
 * @param {import("./shell.js").Context} context
 * @param {HTMLElement} node
 * @param {string | undefined} group none: dropping takes out of the group only
 */
export function createDropTarget({ contacts }, node, group) {
  node.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes(TYPE)) return;
    event.preventDefault();
    node.classList.add("drop");
  });
  node.addEventListener("dragleave", (event) => {
    if (!node.contains(/** @type {Node | null} */ (event.relatedTarget))) node.classList.remove("drop");
  });
  node.addEventListener("drop", (event) => {
    node.classList.remove("drop");
    const data = event.dataTransfer?.getData(TYPE);
    if (!data) return;
    event.preventDefault();
    const { userId, from } = JSON.parse(data);
    if (from === (group ?? "")) return;
    void orToast(() => contacts.move(userId, from || undefined, group));
  });
}
