// Roving tabindex: a list is one stop of the Tab key, and the arrow keys move inside it.

/**
 * Makes the elements matching `selector` inside `container`, which begin with `tabindex="-1"`, one Tab stop: the one
 * that had the focus last, else the current one, else the first or last.
 * Call the returned function after items came or went.
 * @param {HTMLElement} container
 * @param {string} selector
 * @param {"first" | "last"} [start]
 * @returns {() => void}
 */
export function roving(container, selector, start = "first") {
  /** The one item that Tab stops at. @type {HTMLElement | null} */
  let stop = null;
  const items = () => /** @type {HTMLElement[]} */ ([...container.querySelectorAll(selector)]).filter(isVisible);

  /** @param {HTMLElement | null} chosen */
  const choose = (chosen) => {
    if (stop === chosen) return;
    if (stop) stop.tabIndex = -1;
    if (chosen) chosen.tabIndex = 0;
    stop = chosen;
  };

  const fallback = () => {
    if (start === "first") return container.querySelector(selector);
    return container.lastElementChild?.querySelector(selector) ?? [...container.querySelectorAll(selector)].at(-1) ?? null;
  };

  container.addEventListener("focusin", (event) => {
    const item = /** @type {HTMLElement} */ (event.target).closest?.(selector);
    if (item) choose(/** @type {HTMLElement} */ (item));
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
    if (stop && container.contains(stop) && stop === document.activeElement) return;
    const current = container.querySelector(`${selector}:is([aria-current], [aria-checked="true"])`);
    const kept = stop && container.contains(stop) ? stop : undefined;
    choose(/** @type {HTMLElement | null} */ (current ?? kept ?? fallback()));
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
