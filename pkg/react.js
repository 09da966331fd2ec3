"use client";
// A client in React: hooks that render again when what they read changes, and only then. Without a client, on a server for
// instance, or once it was freed, there is nothing to read: lists are empty.
import { createContext, createElement, useCallback, useContext, useSyncExternalStore } from "react";

const Context = createContext(undefined);
const EMPTY = Object.freeze([]);
const NOTHING = {
  connection: "stopped", idle: false, presences: EMPTY, contacts: EMPTY, rooms: EMPTY, calls: EMPTY, timeline: EMPTY, past: EMPTY, members: EMPTY,
};

/** The client of all hooks below it. */
export function PilotlightProvider({ client, children }) {
  return createElement(Context.Provider, { value: client ?? undefined }, children);
}

export function usePilotlight() {
  return useContext(Context);
}

export function useSnapshot(selector, client) {
  const provided = useContext(Context);
  const source = client ?? provided;
  // A selector that is written anew with every rendering is the same one.
  const [kind, name] = typeof selector === "object" && selector !== null ? Object.entries(selector)[0] : [selector, ""];
  const use = (act, otherwise) => {
    if (!source || kind == null || name === undefined) return otherwise;
    try {
      return act(typeof selector === "string" ? kind : { [kind]: name });
    } catch (error) {
      if (error?.code === "FREED") return otherwise;
      throw error;
    }
  };
  const subscribe = useCallback((listener) => use((chosen) => source.subscribe(chosen, listener), () => {}), [source, kind, name]);
  const nothing = () => NOTHING[kind];
  return useSyncExternalStore(subscribe, () => use((chosen) => source.read(chosen), nothing()), nothing);
}

const plain = (kind) => (client) => useSnapshot(kind, client);
const named = (kind) => (name, client) => useSnapshot({ [kind]: name }, client);

export const useMe = plain("me");
export const useConnection = plain("connection");
export const useIdle = plain("idle");
export const usePresences = plain("presences");
export const useContacts = plain("contacts");
export const useRooms = plain("rooms");
export const useCalls = plain("calls");
export const useNotifySettings = plain("notifySettings");
export const usePresence = named("presence");
export const useContact = named("contact");
export const useRoom = named("room");
export const useTimeline = named("timeline");
export const usePast = named("past");
export const useMembers = named("members");
