import type {
  CallView, Client, Connection, Contact, Me, Member, NotifySettings, Presence, Room, Selector, Snapshot, TimelineItem,
} from "pilotlight";

/** A store as Svelte has them: `$store` in a component, `fromStore(store).current` in runes. */
export interface Store<T> {
  subscribe(this: void, run: (value: T) => void): () => void;
}
type MaybeClient = Client | undefined;
type Read<C extends MaybeClient, T> = Store<C extends undefined ? undefined : T>;

/** What a selector stands for (see `Client.read`): changes when it does, and only then. `undefined` without a client. */
export function snapshot<const S extends Selector, C extends MaybeClient>(client: C, selector: S): Read<C, Snapshot<S>>;

export function me<C extends MaybeClient>(client: C): Read<C, Me>;
export function connection<C extends MaybeClient>(client: C): Read<C, Connection>;
export function idle<C extends MaybeClient>(client: C): Read<C, boolean>;
export function presences<C extends MaybeClient>(client: C): Read<C, readonly Presence[]>;
export function contacts<C extends MaybeClient>(client: C): Read<C, readonly Contact[]>;
export function rooms<C extends MaybeClient>(client: C): Read<C, readonly Room[]>;
export function calls<C extends MaybeClient>(client: C): Read<C, readonly CallView[]>;
export function notifySettings<C extends MaybeClient>(client: C): Read<C, NotifySettings>;
export function presence<C extends MaybeClient>(client: C, userId: string): Read<C, Presence | undefined>;
export function contact<C extends MaybeClient>(client: C, userId: string): Read<C, Contact | undefined>;
export function room<C extends MaybeClient>(client: C, roomId: string): Read<C, Room | undefined>;
export function timeline<C extends MaybeClient>(client: C, roomId: string): Read<C, readonly TimelineItem[]>;
export function past<C extends MaybeClient>(client: C, roomId: string): Read<C, readonly TimelineItem[]>;
/** Asks for all of them, once. */
export function members<C extends MaybeClient>(client: C, roomId: string): Read<C, readonly Member[]>;
