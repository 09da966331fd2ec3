import type { FunctionComponent, ReactNode } from "react";
import type {
  CallView, Client, Connection, Contact, Me, Member, NotifySettings, Presence, Room, Selector, Snapshot, TimelineItem,
} from "pilotlight";

/**
 * The client of all hooks below it; `undefined` until there is one. Each hook renders its component again when what it reads changes, and only
 * then. All of them take a client of their own as their last argument, in the place of the provider's. Without one, on a server, and
 * once it was freed, lists are empty, the connection is `stopped`, and everything else is `undefined`.
 */
export const PilotlightProvider: FunctionComponent<{ client: Client | null | undefined; children?: ReactNode }>;

/** The provider's client. */
export function usePilotlight(): Client | undefined;

type Nothing<S extends Selector> = S extends "me" | "notifySettings" ? undefined : never;
/** What a selector stands for (see `Client.read`). */
export function useSnapshot<const S extends Selector>(selector: S, client?: Client | null): Snapshot<S> | Nothing<S>;

export function useMe(client?: Client | null): Me | undefined;
export function useConnection(client?: Client | null): Connection;
export function useIdle(client?: Client | null): boolean;
export function usePresences(client?: Client | null): readonly Presence[];
export function useContacts(client?: Client | null): readonly Contact[];
export function useRooms(client?: Client | null): readonly Room[];
export function useCalls(client?: Client | null): readonly CallView[];
export function useNotifySettings(client?: Client | null): NotifySettings | undefined;
/** Of nobody, while the ID is not known. */
export function usePresence(userId: string | undefined, client?: Client | null): Presence | undefined;
export function useContact(userId: string | undefined, client?: Client | null): Contact | undefined;
export function useRoom(roomId: string | undefined, client?: Client | null): Room | undefined;
export function useTimeline(roomId: string | undefined, client?: Client | null): readonly TimelineItem[];
export function usePast(roomId: string | undefined, client?: Client | null): readonly TimelineItem[];
/** Asks for all of them, once. */
export function useMembers(roomId: string | undefined, client?: Client | null): readonly Member[];
