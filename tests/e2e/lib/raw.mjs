// What the wasm says itself, before the package puts anything around it: import this before the package.
import { Client } from "../../../pkg/wasm/pilotlight.js";

const own = Object.getOwnPropertyDescriptors(Client.prototype);

/** The events that each client has asked the wasm for, in order: `presence` when it begins to, `-presence` when it ends. */
export const asked = new WeakMap();

Client.prototype.on = function (event, listener) {
  const log = asked.get(this) ?? [];
  asked.set(this, log);
  log.push(event);
  const off = own.on.value.call(this, event, listener);
  return () => {
    log.push(`-${event}`);
    off();
  };
};

/** What the wasm answers to a reader, or has for a getter. */
export const raw = (client, name, ...given) => (own[name].get ?? own[name].value).apply(client, given);
