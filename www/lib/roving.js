// Roving tabindex: a list is one stop of the Tab key, and the arrow keys move inside it.

/**
 * Makes the elements matching `selector` inside `container` one Tab stop.
 * Call the returned function after items came or went.
 * @param {HTMLElement} container
 * @param {string} selector
 * @returns {() => void}
 */
export function roving(container, selector) {
  const items = () => /** @type {HTMLElement[]} */ ([...container.querySelectorAll(selector)]).filter(isVisible);

  /** @param {HTMLElement} chosen @param {HTMLElement[]} all */
  const choose = (chosen, all) => {
    for (const item of all) item.tabIndex = item === chosen ? 0 : -1;
  };

  container.addEventListener("focusin", (event) => {
    const item = /** @type {HTMLElement} */ (event.target).closest?.(selector);
    if (item) choose(/** @type {HTMLElement} */ (item), items());
  });

  container.addEventListener("keydown", (event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.altKey || event.ctrlKey || event.metaKey || !target.matches(selector)) return;
    const all = items();
    const next = all[step(event.key, all.indexOf(target), all.length)];
    if (!next || next === target) return;
    event.preventDefault();
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  });

  return () => {
    const all = items();
    const current = all.find((item) => item.tabIndex === 0) ?? all.find((item) => item.ariaCurrent) ?? all[0];
    if (current) choose(current, all);
  };
}

/** @param {string} key @param {number} at @param {number} length */
function step(key, at, length) {
  switch (key) {
    case "ArrowDown":
    case "ArrowRight":
      return Math.min(at + 1, length - 1);
    case "ArrowUp":
    case "ArrowLeft":
      return Math.max(at - 1, 0);
    case "Home":
      return 0;
    case "End":
      return length - 1;
    default:
      return at;
  }
}

/** @param {HTMLElement} node */
function isVisible(node) {
  return node.offsetParent !== null || node.getClientRects().length > 0;
}
