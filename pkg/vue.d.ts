import type { MaybeRefOrGetter, ObjectPlugin, ShallowRef } from "vue";
import type {
  CallView, Client, Connection, Contact, Me, Member, NotifySettings, Presence, Room, Selector, Snapshot, TimelineItem,
} from "pilotlight";

/** A client, or what will be one: a ref, or a getter. */
export type Source = MaybeRefOrGetter<Client | undefined>;
type Name = MaybeRefOrGetter<string | undefined>;
type Read<T> = Readonly<ShallowRef<T | undefined>>;

/** A plugin, `app.use(pilotlight(client))`: the client of all composables that are given none. */
export function pilotlight(client: Source): ObjectPlugin;

/**
 * What a selector stands for (see `Client.read`), as a ref that changes when it does, and only then; `undefined` while there is no client.
 * It ends with the component, or the effect scope, in which it was made.
 */
export function useSnapshot<const S extends Selector>(selector: MaybeRefOrGetter<S | undefined>, client?: Source): Read<Snapshot<S>>;

export function useMe(client?: Source): Read<Me>;
export function useConnection(client?: Source): Read<Connection>;
export function useIdle(client?: Source): Read<boolean>;
export function usePresences(client?: Source): Read<readonly Presence[]>;
export function useContacts(client?: Source): Read<readonly Contact[]>;
export function useRooms(client?: Source): Read<readonly Room[]>;
export function useCalls(client?: Source): Read<readonly CallView[]>;
export function useNotifySettings(client?: Source): Read<NotifySettings>;
export function usePresence(userId: Name, client?: Source): Read<Presence>;
export function useContact(userId: Name, client?: Source): Read<Contact>;
export function useRoom(roomId: Name, client?: Source): Read<Room>;
export function useTimeline(roomId: Name, client?: Source): Read<readonly TimelineItem[]>;
export function usePast(roomId: Name, client?: Source): Read<readonly TimelineItem[]>;
/** Asks for all of them, once. */
export function useMembers(roomId: Name, client?: Source): Read<readonly Member[]>;
