// A client in Vue: composables that give shallow refs, each of which changes when what it reads does, and only then.
import { inject, shallowReadonly, shallowRef, toValue, watch } from "vue";

const KEY = Symbol.for("pilotlight");

/** A plugin: the client of all composables of an app. */
export const pilotlight = (client) => ({ install: (app) => app.provide(KEY, client) });

export function useSnapshot(selector, client = inject(KEY, undefined)) {
  const value = shallowRef();
  const follow = ([from, kind, name], _, onCleanup) => {
    const chosen = name === "" ? kind : { [kind]: name };
    value.value = from && kind && name !== undefined ? from.read(chosen) : undefined;
    if (from && kind && name !== undefined) onCleanup(from.subscribe(chosen, (next) => (value.value = next)));
  };
  const sources = () => {
    const chosen = toValue(selector);
    return [toValue(client), ...(typeof chosen === "object" && chosen !== null ? Object.entries(chosen)[0] : [chosen, ""])];
  };
  watch([() => sources()[0], () => sources()[1], () => toValue(sources()[2])], follow, { immediate: true, flush: "sync" });
  return shallowReadonly(value);
}

const plain = (kind) => (client) => useSnapshot(kind, client);
const named = (kind) => (name, client) => useSnapshot(() => ({ [kind]: toValue(name) }), client);

export const [useMe, useConnection, useIdle, usePresences] = ["me", "connection", "idle", "presences"].map(plain);
export const [useContacts, useRooms, useCalls, useNotifySettings] = ["contacts", "rooms", "calls", "notifySettings"].map(plain);
export const [usePresence, useContact, useRoom] = ["presence", "contact", "room"].map(named);
export const [useTimeline, usePast, useMembers] = ["timeline", "past", "members"].map(named);
