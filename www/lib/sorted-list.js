// A list of DOM nodes kept in order by key: a change touches the one node it is about.

/**
 * @template T
 * @typedef {{ key: string, value: T, node: HTMLElement }} Entry
 */

/** @template T */
export class SortedList {
  /**
   * @param {HTMLElement} container
   * @param {{
   *   create: (value: T) => HTMLElement,
   *   update: (node: HTMLElement, value: T) => void,
   *   compare: (a: T, b: T) => number,
   * }} behaviour `create` is followed by `update`
   */
  constructor(container, behaviour) {
    this.container = container;
    this.behaviour = behaviour;
    /** @type {Entry<T>[]} */
    this.entries = [];
    /** @type {Map<string, Entry<T>>} */
    this.byKey = new Map();
  }

  get size() {
    return this.entries.length;
  }

  /** @param {string} key */
  get(key) {
    return this.byKey.get(key)?.value;
  }

  /** @param {string} key */
  nodeOf(key) {
    return this.byKey.get(key)?.node;
  }

  /** @param {string} key @param {T} value */
  upsert(key, value) {
    const known = this.byKey.get(key);
    if (known) {
      known.value = value;
      this.behaviour.update(known.node, value);
      this.#settle(known);
      return;
    }
    const node = this.behaviour.create(value);
    const entry = { key, value, node };
    this.behaviour.update(node, value);
    this.byKey.set(key, entry);
    this.#insert(entry);
  }

  /** Whether there was one. @param {string} key */
  delete(key) {
    const entry = this.byKey.get(key);
    if (!entry) return false;
    this.byKey.delete(key);
    this.entries.splice(this.entries.indexOf(entry), 1);
    entry.node.remove();
    return true;
  }

  clear() {
    this.entries = [];
    this.byKey.clear();
    this.container.replaceChildren();
  }

  /** Moves an entry only when its neighbours are out of order with it. @param {Entry<T>} entry */
  #settle(entry) {
    const { compare } = this.behaviour;
    const at = this.entries.indexOf(entry);
    const before = this.entries[at - 1];
    const after = this.entries[at + 1];
    if ((!before || compare(before.value, entry.value) <= 0) && (!after || compare(entry.value, after.value) <= 0)) return;
    this.entries.splice(at, 1);
    this.#insert(entry);
  }

  /** @param {Entry<T>} entry */
  #insert(entry) {
    let low = 0;
    let high = this.entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.behaviour.compare(this.entries[middle].value, entry.value) <= 0) low = middle + 1;
      else high = middle;
    }
    const next = this.entries[low]?.node ?? null;
    this.entries.splice(low, 0, entry);
    placeBefore(this.container, entry.node, next);
  }
}

/**
 * Puts a node in front of another and gives back the focus that moving it takes away.
 * @param {HTMLElement} container
 * @param {HTMLElement} node
 * @param {HTMLElement | null} next
 */
export function placeBefore(container, node, next) {
  const focused = node.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement) : null;
  container.insertBefore(node, next);
  focused?.focus({ preventScroll: true });
}
