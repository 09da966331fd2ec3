// The types of the package, for every entry.

/** `unknown` is shown and never set: nobody knows. */
export type PresenceState =
  | "free_for_chat"
  | "online"
  | "busy"
  | "unavailable"
  | "offline"
  | "hidden"
  | "unknown";

/** What an observer sees of a user. */
export interface Presence {
  userId: string;
  state: PresenceState;
  /** The user's own words. */
  statusMsg?: string;
  /** Where the server sends it along. */
  displayName?: string;
  /** Where the server sends it along. */
  avatarUrl?: string;
  /** `desktop`, `mobile`, `web`, `bot` or another word, where the server knows it. */
  deviceType?: string;
  currentlyActive: boolean;
  /** Milliseconds since the epoch. */
  lastActiveAt?: number;
  /** Since when they have been idle, as far as the server tells: milliseconds since the epoch, in coarse steps. */
  idleSince?: number;
}

/** What the own user chose and is called. */
export interface Me {
  /** The user's choice; idleness does not change it. Kept and told later where the server is away. */
  state: Exclude<PresenceState, "unknown">;
  /** What becomes of it here: `unavailable` while idle, `unknown` while the stream is lost. */
  shown: PresenceState;
  statusMsg?: string;
  idle: boolean;
  displayName?: string;
  avatarUrl?: string;
}

/** A device of a user, logged in. Plain data: keep it where secrets may be kept. */
export interface Session {
  baseUrl: string;
  userId: string;
  deviceId: string;
  accessToken: string;
}

/** What is used of a `Storage`. */
export interface TextStorage {
  readonly length: number;
  key(index: number): string | null;
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
  removeItem(key: string): void;
}

export interface Options {
  /** After how long without activity the user is idle: 60,000 to 300,000 ms, by default 180,000. */
  idleTimeoutMs?: number;
  /**
   * For how long presence is believed after the stream broke off: 0 to 300,000 ms, by default 30,000. Then everybody
   * is `unknown`, oneself included, until it is back.
   */
  presenceGraceMs?: number;
  /** By default `mobile` in pages on coarse pointers, else `web`. Up to 16 of `a-z0-9-_.`. */
  deviceType?: string;
  /** Keeps the send queue over reloads. By default `localStorage` in pages, nothing elsewhere. */
  storage?: TextStorage | null;
  /**
   * Whether the page's events, and what an `IdleDetector` says where the user has granted it, count as the user's
   * activity. By default yes where there is a page.
   */
  trackActivity?: boolean;
}

/** The codes of this package's own. The last two are those of a `TypeError` and of a `RangeError`. */
export type OwnErrorCode =
  /** No answer: none came, not in time, not before the client was stopped, or none that is understood: no Matrix. */
  | "NETWORK" | "TIMEOUT" | "STOPPED" | "BAD_ANSWER"
  /** Not sent: too many messages wait, this one is too large or no JSON, the room is encrypted, or not the user's. */
  | "QUEUE_FULL" | "TOO_LARGE" | "BAD_CONTENT" | "ENCRYPTED_ROOM" | "NOT_IN_ROOM"
  /** Not sent: somebody else's message, a deleted one, or what is no message cannot be edited, nor a deleted event reacted to. */
  | "BAD_TARGET"
  /** Neither a user ID, nor a room's ID or alias. */
  | "BAD_USER_ID" | "BAD_ROOM"
  /** There is a call already; there is none, it is over, or the calls were closed. */
  | "BUSY" | "NO_SUCH_CALL"
  /** The homeserver, the browser, or the other's client does not have that. */
  | "UNSUPPORTED"
  /** The homeserver gives accounts to those only who have a registration token, and none was given. */
  | "REGISTRATION_TOKEN_NEEDED"
  /** The session has ended: nothing is sent or kept any more. */
  | "LOGGED_OUT"
  /** The client was freed. */
  | "FREED"
  | "BAD_ARGUMENT" | "OUT_OF_RANGE";

/**
 * Why something did not succeed. What is wrong whatever the server says is a `TypeError` or a `RangeError`
 * instead; those have a `code` too.
 */
export class PilotlightError extends Error {
  constructor(code: string, message: string, status?: number, retryAfterMs?: number);
  /** Matrix's error code, or one of this package's own. */
  code: OwnErrorCode | (string & {});
  /** The HTTP status, where there was an answer. */
  status?: number;
  /** How long the server asks to wait. */
  retryAfterMs?: number;
}

/**
 * Where a message stands: waiting for its turn or its next attempt; under way; on the server; in its
 * place in the room; refused, to be retried or cancelled.
 */
export type EchoState = "queued" | "sending" | "sent" | "placed" | "failed";

export interface TimelineItem {
  /** Stable over the whole life of an echo: render by it. */
  key: string;
  eventId?: string;
  /** On the device that sent it. */
  actionId?: number;
  type: string;
  stateKey?: string;
  sender: string;
  /** That of the latest edit, where there is one. */
  content: any;
  prevContent?: any;
  /** Milliseconds since the epoch. */
  ts: number;
  echo: EchoState;
  /** What went wrong last. */
  error?: string;
  redacted?: boolean;
  /** The own user sent it, and somebody else's receipt covers it. */
  read?: boolean;
  /** The event that it answers; said in a thread, the thread's beginning. `event()` has it where the timeline has not. */
  replyTo?: string;
  /** The event that it is an edit of, and is shown in: it needs no line of its own, not even when it is redacted. */
  edits?: string;
  /** When the edit that is shown was made, in milliseconds since the epoch. */
  edited?: number;
  /** Those that came first in front. */
  reactions?: Reaction[];
  /** The own user's edit or redaction of it that the stream has not placed. */
  pending?: { type: "edit" | "redaction"; actionId: number; echo: EchoState; error?: string };
}

/** Everybody who reacted to an event in one way. */
export interface Reaction {
  /** Mostly an emoji. */
  key: string;
  count: number;
  /** The first 20 of them. */
  senders: string[];
  /** The own user's. `actionId`, `echo` and `error` are those of the reaction, or, when `removing`, of taking it back. */
  mine?: { eventId?: string; actionId?: number; echo: EchoState; error?: string; removing?: boolean };
}

/** A text, or the content of an `m.room.message`. */
export type MessageContent = string | { msgtype: string; body: string; [field: string]: unknown };

/** One edit of a timeline. */
export type TimelineOp =
  /** At the end, or before the item whose key is `before`: an echo that awaits its place. */
  | { op: "append"; item: TimelineItem; before?: string }
  | { op: "prepend"; items: TimelineItem[] }
  | { op: "update"; item: TimelineItem }
  | { op: "remove"; key: string }
  | { op: "reset"; items: TimelineItem[] };

export interface Room {
  roomId: string;
  /** Computed as Matrix prescribes; never empty. */
  name: string;
  topic?: string;
  avatarUrl?: string;
  alias?: string;
  membership: "join" | "invite" | "leave" | "knock";
  memberCount: number;
  /** Messages not read, as the server counts them: over a held stream up to two seconds after a message came. */
  unread: number;
  /** Of them those that call for the user by name or rule. */
  highlight: number;
  /**
   * When the newest message was made, in milliseconds since the epoch: edits, reactions and changes of the room do not count, unless
   * there is nothing else. 0 if nothing is known.
   */
  lastTs: number;
  /** Who invited the own user, while the invitation stands. */
  inviter?: string;
  isDirect: boolean;
  canScrollBack: boolean;
  /** For good: this client can neither read nor write what is said there. */
  encrypted: boolean;
  /** The power level that it takes to redact what others sent. */
  redactLevel: number;
  /** The power level that it takes to mention everybody in the room. */
  mentionRoomLevel: number;
}

export interface Member {
  userId: string;
  displayName?: string;
  avatarUrl?: string;
  membership: string;
  /** `Number.MAX_SAFE_INTEGER` for a creator beyond all levels (room version 12). */
  powerLevel: number;
  typing: boolean;
  /** The event up to which this member has read. */
  readUpTo?: string;
}

/** Somebody whom the own user's presence list has to do with. */
export interface Contact {
  userId: string;
  /** What they answered, where they are on the list. */
  listed?: "pending" | "accepted" | "denied";
  /** The groups of the list that they are in. */
  groups: string[];
  /** What was kept with the entry. */
  acl?: string;
  /** Whether they wait to be let see the own presence, or were. */
  observer?: "asked" | "accepted";
}

/** Who may begin a private chat. */
export type Admit = "everybody" | "list" | "nobody" | { group: string } | { groups: string[] };

export interface Privacy {
  /** Who may see the own presence: accepted people and everybody in shared rooms, accepted people, nobody. */
  share: "shared_rooms" | "list" | "nobody";
  /** Whose requests are accepted unasked: of people on the own list, or everybody's. */
  autoAccept: "reverse" | "everybody";
  /** By the state that others see; where there is none, everybody may. */
  invites: { [State in "free_for_chat" | "online" | "busy" | "unavailable" | "offline"]?: Admit };
}

/** Which events the user is told of; the same on all their devices. */
export interface NotifySettings {
  /** The own states in which nothing is told. By default busy and offline. */
  mutedIn: Exclude<PresenceState, "unknown">[];
  /** Groups of the presence list that are told whatever the state, or never; `always` wins. */
  groups: Record<string, "always" | "never">;
}

/**
 * `offline`: the network or the server is away, and tried again after delays that grow to 10 seconds, unless the server asks for
 * more; at once when the system says that there is a network again, when the page is looked at, and by `reconnect()`.
 */
export type Connection = "stopped" | "connecting" | "online" | "offline" | "logged_out";

/**
 * Where a call stands: the microphone is asked for; the other is called; somebody calls; the microphone is asked for to answer; the
 * connection is made; they hear each other; over.
 */
export type CallState = "preparing" | "calling" | "ringing" | "answering" | "connecting" | "connected" | "ended";

/** Why a call is over. */
export type CallEnd =
  | "hung_up" | "other_hung_up"
  /** Not wanted: by the own user, by the other. */
  | "declined" | "rejected"
  | "busy" | "no_answer"
  /** The caller gave up, or the time to answer passed. */
  | "missed"
  /** On another of the user's devices, or in another tab. */
  | "answered_elsewhere" | "declined_elsewhere"
  /** No microphone, or no leave to use it: here, there. */
  | "no_media" | "other_no_media"
  /** No connection came about; it was lost. */
  | "no_path" | "path_lost"
  /** Both called each other, and the other of the two calls goes on: `replacedBy`. */
  | "replaced"
  /** The server did not take what had to be said. */
  | "not_sent"
  /** One of both left the room. */
  | "left"
  | "failed";

/** A call, as all clients of the user can know it. `pilotlight/call` makes and takes them. */
export interface CallView {
  callId: string;
  roomId: string;
  direction: "outgoing" | "incoming";
  /** The other one. */
  userId?: string;
  /** With a picture, by its first offer. */
  video: boolean;
  state: CallState;
  /** Of one that is over. */
  reason?: CallEnd;
  /** Whether to make it heard: not while the user's state or the caller's group says otherwise (see `shouldNotify`). */
  rings: boolean;
  /** The connection is lost, and is looked for. */
  reconnecting: boolean;
  /** Whether the other's client takes changes: holding, a picture in a call that began without. */
  canChange: boolean;
  /** Since when they hear each other: milliseconds since the epoch. */
  connectedAt?: number;
  /** The call that goes on in the place of this one. */
  replacedBy?: string;
}

export interface Events {
  /** Only those who changed. */
  presence: (changes: Presence[]) => void;
  /** The presence list: those who changed, and those whom it has nothing more to do with. */
  contacts: (changed: Contact[], removed: string[]) => void;
  me: (me: Me) => void;
  rooms: (changed: Room[], removed: string[]) => void;
  /** Edits, to be applied in order: see `applyTimeline`. */
  timeline: (roomId: string, ops: TimelineOp[]) => void;
  /** The same for the stretch of a room's past that `jump` opened. Reset to nothing, it was left, or has joined the timeline. */
  past: (roomId: string, ops: TimelineOp[]) => void;
  /**
   * The server refused what leaves nothing to try again, so that its echo is gone: a redaction, or a reaction that the user has
   * made already. `item` is the echo as it was, with the reason in `error`.
   */
  refused: (roomId: string, item: TimelineItem) => void;
  /** For rooms whose `members()` have been asked for. */
  members: (roomId: string, changed: Member[]) => void;
  connection: (connection: Connection, error?: PilotlightError) => void;
  idle: (idle: boolean) => void;
  /** A call came, or changed. Those that are over by the time they are heard of are not told. */
  call: (call: CallView) => void;
  notifySettings: (settings: NotifySettings) => void;
}

/** What an iteration over an event gives: what its listeners are called with, as a pair where that is more than one thing. */
export type Told<K extends keyof Events> = Parameters<Events[K]> extends [infer Only] ? Only : Parameters<Events[K]>;

/** What `subscribe` and `read` choose by a word. */
export interface Plain {
  me: Me;
  connection: Connection;
  idle: boolean;
  presences: readonly Presence[];
  contacts: readonly Contact[];
  rooms: readonly Room[];
  calls: readonly CallView[];
  notifySettings: NotifySettings;
}

/** What they choose by a word and an ID, such as `{ presence: "@ann:example.org" }`. */
export interface Named {
  presence: Presence | undefined;
  contact: Contact | undefined;
  room: Room | undefined;
  timeline: readonly TimelineItem[];
  past: readonly TimelineItem[];
  members: readonly Member[];
}

/** Something that can be read and subscribed to: a word, or an object with one field, whose value is a user's or a room's ID. */
export type Selector = keyof Plain | { [K in keyof Named]: { readonly [Field in K]: string } }[keyof Named];

/** What a selector stands for. */
export type Snapshot<S extends Selector> = S extends keyof Plain
  ? Plain[S]
  : S extends object ? Named[keyof S & keyof Named] : never;

/** Why somebody is shown as they are. */
export type ExplanationCode =
  /** The connection: the session has ended, the client is stopped, nothing has come so far, it is lost; it broke off, and what was told is believed for `presenceGraceMs`. */
  | "logged_out" | "stopped" | "connecting" | "connection_lost" | "interrupted"
  /** The own user: nobody is active at this device; what they chose; what the homeserver does not know so far. */
  | "idle_here" | "chosen" | "not_told"
  /** What the homeserver said; a stream that began anew had nothing of them in it. */
  | "server_said" | "not_mentioned"
  /** Nobody is active at any of their devices; when they were. */
  | "idle" | "last_active"
  /** Nothing was told of them; 50,000 others are known. */
  | "never_heard" | "too_many"
  /** What may be why: the own user ignores them; they have not answered the request, or denied it; nothing is shared. */
  | "ignored" | "list_pending" | "list_denied" | "nothing_shared";

export interface Explanation {
  userId: string;
  shown: PresenceState;
  /** The weightiest first; never empty. */
  reasons: {
    code: ExplanationCode;
    /** In English, for who looks into a fault. */
    text: string;
    /** Since when, or when, as far as is known: milliseconds since the epoch. */
    since?: number;
  }[];
}

/** The instances of a class, where the program's own types know it: in Node they may not have the DOM's. */
type Instance<Name extends string> = typeof globalThis extends { [name in Name]: { prototype: infer T } } ? T : never;
type WasmModule = typeof globalThis extends { WebAssembly: { Module: { prototype: infer T } } } ? T : never;

/** `Symbol.dispose` and `Symbol.asyncDispose`, where the program's own types know them. */
type DisposeKey = SymbolConstructor extends { readonly dispose: infer S extends symbol } ? S : never;
type AsyncDisposeKey = SymbolConstructor extends { readonly asyncDispose: infer S extends symbol } ? S : never;
type Disposable = { [K in DisposeKey]: () => void } & { [K in AsyncDisposeKey]: () => Promise<void> };

/** Loads the wasm once; every other function does so by itself. `source`: where it is, if elsewhere. */
export function init(
  source?:
    | string | Instance<"Request"> | Instance<"URL"> | Instance<"Response"> | ArrayBuffer | ArrayBufferView | WasmModule,
): Promise<void>;

export function register(
  baseUrl: string,
  account: {
    username: string;
    password: string;
    deviceName?: string;
    /** What whoever runs the homeserver gave out, where it asks for that: else `REGISTRATION_TOKEN_NEEDED`. */
    registrationToken?: string;
  },
): Promise<Session>;

export function login(
  baseUrl: string,
  account: { user: string; password: string; deviceName?: string; deviceId?: string },
): Promise<Session>;

/**
 * Applies the edits of a `timeline` event to an array of items, in place; returns the array. It has to be the application's own, such
 * as `[...client.timeline(roomId)]`.
 */
export function applyTimeline(items: TimelineItem[], ops: readonly TimelineOp[]): TimelineItem[];

/** `using client = …` frees it, `await using` stops it before. */
export interface Client extends Disposable {}

/**
 * A device of a user, following its homeserver. What it gives to read are snapshots: frozen, and the same objects until that very thing
 * changes. What returns a promise never throws: all that is wrong rejects it. Whatever returns
 * none throws.
 */
export class Client {
  private constructor();
  /**
   * A client that is not started. Fails with a `RangeError` or a `TypeError` on options that are not allowed, on those too
   * that there are not, naming the nearest that there is. A session may have fields of the application's own.
   */
  static create(session: Session, options?: Options): Promise<Client>;

  readonly session: Session;
  readonly connection: Connection;
  /**
   * How many messages the server is not known to have: those that wait, and those that failed, in this client and in every
   * other with the same storage, such as another tab's. All of them are lost by `logout()`.
   */
  readonly waiting: number;
  readonly idle: boolean;
  readonly me: Me;

  /** Adds a listener; the function returned takes it away. */
  on<K extends keyof Events>(event: K, listener: Events[K]): () => void;

  /**
   * Calls the listener with what is chosen, whenever that has changed: once for all that one answer of the server, or one call, changed.
   * Who is not concerned by a change costs it nothing. The function returned ends it at once.
   */
  subscribe<const S extends Selector>(selector: S, listener: (value: Snapshot<S>) => void): () => void;
  /** What a selector stands for: the same object until it changes. */
  read<const S extends Selector>(selector: S): Snapshot<S>;
  /**
   * What `on` would tell from here on, to be iterated over. What has not been taken is merged (by user, room, call), so that what waits has
   * a bound. Ends when the client is stopped, logged out or freed, and fails with the reason of `signal`.
   */
  events<K extends keyof Events>(event: K, options?: { signal?: Instance<"AbortSignal"> }): AsyncIterableIterator<Told<K>>;

  /** From here on the client is held, until it is stopped, logged out or freed. */
  start(): void;
  /** While `offline`: tries at once, and does not wait for the next attempt. */
  reconnect(): void;
  /** Gives up all requests. What is queued stays queued; everybody's presence is unknown. */
  stop(): Promise<void>;
  /**
   * Ends the session, here and on the server. What is stored of it (messages that wait, the choice) is deleted at once,
   * but for the last action ID. Fails with `NETWORK`, `TIMEOUT` or the server's error where the server could not be told:
   * then it is over here all the same, and the device stays in the user's list until it is removed there. It is over
   * for every other client of the session on this origin too, such as another tab's: they become `logged_out`.
   */
  logout(): Promise<void>;
  /** Stops, and gives the memory back. Once is enough; every other call fails with `FREED` from then on. */
  free(): void;

  presenceOf(userId: string): Presence | undefined;
  presences(): readonly Presence[];
  /** Why a user is shown as they are, the own one too. */
  explain(userId: string): Explanation;
  /**
   * Shown at once. Where the server is away the choice is kept, over reloads too, and told when it is back: then the
   * promise ends, with nothing: what was taken is in `me`. `statusMsg`: `undefined` keeps it, `null` or `""` clears it.
   */
  setPresence(state: Exclude<PresenceState, "unknown">, statusMsg?: string | null): Promise<void>;
  setDisplayName(name: string): Promise<void>;

  /** Whether the server keeps presence lists; the calls down to `deliverPresence` fail with `UNSUPPORTED` if not. */
  readonly hasPresenceList: boolean | undefined;
  /** Empty until the first `contacts` event. */
  contacts(): readonly Contact[];
  /** Asks a user whether their presence may be seen. `acl`: a text to keep with the entry. */
  addContact(userId: string, acl?: string): Promise<void>;
  dropContact(userId: string): Promise<void>;
  /** Answers somebody who asks, or takes back what was granted. */
  answerRequest(userId: string, answer: "accept" | "deny" | "revoke"): Promise<void>;
  /** Puts somebody of the list into a group, or out of it; groups are there while somebody is in them. */
  setGroup(userId: string, group: string, inside: boolean): Promise<void>;
  /** A new room with everybody of a group, named like it by default; its ID. */
  inviteGroup(group: string, name?: string): Promise<string>;
  privacy(): Promise<Privacy>;
  /** All of it: what is left out gets its default. */
  setPrivacy(privacy: Partial<Privacy>): Promise<void>;
  /** Stops or starts what this device is told of others' presence; what was missed comes at the start. */
  deliverPresence(enabled: boolean): Promise<void>;

  /**
   * Whether to tell the user of an event: not of their own, of edits, bots' notices and changes of state, nor
   * while their state is one of `mutedIn`, unless a group of the sender says otherwise.
   */
  shouldNotify(item: Pick<TimelineItem, "type" | "sender" | "content" | "stateKey" | "redacted">): boolean;
  readonly notifySettings: NotifySettings;
  setNotifySettings(settings: NotifySettings): Promise<void>;

  rooms(): readonly Room[];
  room(roomId: string): Room | undefined;
  timeline(roomId: string): readonly TimelineItem[];
  /** The stretch of a room's past that `jump` opened; empty where there is none. */
  past(roomId: string): readonly TimelineItem[];
  /** As far as they are known; the first call asks for the rest, which `members` events bring. */
  members(roomId: string): readonly Member[];
  /** One of them as far as is known; nothing is asked for. The stream tells of those who speak. */
  member(roomId: string, userId: string): Member | undefined;

  /**
   * The action's ID; the echo is in the timeline before this returns. Throws `ENCRYPTED_ROOM` for plain text into an
   * encrypted room, `NOT_IN_ROOM`, `TOO_LARGE` and `QUEUE_FULL`: then nothing is queued. What waits when its room becomes
   * encrypted fails. In a room that was just created or joined it waits until the stream has brought the room.
   */
  send(roomId: string, type: string, content: object): number;
  sendText(roomId: string, body: string): number;
  /**
   * Answers a message, in its thread where it has one; its sender is mentioned. Whether there is that event, nobody asks: what answers
   * a deleted one, or none, stands there with its `replyTo`.
   */
  reply(roomId: string, item: TimelineItem, content: MessageContent): number;
  /**
   * Replaces an own message: shown at once, with the echo in its `pending`. Throws `BAD_TARGET` for another's, a deleted one, an edit and
   * a state event, by what is known of the event; where it is not at hand, by what `item` says.
   */
  edit(roomId: string, item: TimelineItem, content: MessageContent): number;
  /**
   * Reacts to an event. Taken back by `redact` of the reaction's event, or `cancel` of its action before. Throws `BAD_TARGET` for what is
   * known to be deleted, and `M_DUPLICATE_ANNOTATION` for a second one with the same key (1 to 256 bytes).
   */
  react(roomId: string, eventId: string, key: string): number;
  /** Tries what failed or waits again, at once. Does nothing where that is over meanwhile. */
  retry(actionId: number): void;
  /** Takes back what the server has not confirmed. Does nothing where it has meanwhile. */
  cancel(actionId: number): void;

  createRoom(room: {
    name?: string;
    topic?: string;
    public?: boolean;
    alias?: string;
    invite?: string[];
    direct?: boolean;
  }): Promise<string>;
  joinRoom(idOrAlias: string): Promise<string>;
  leaveRoom(roomId: string): Promise<void>;
  forgetRoom(roomId: string): Promise<void>;
  invite(roomId: string, userId: string): Promise<void>;
  kick(roomId: string, userId: string, reason?: string): Promise<void>;
  /**
   * Takes an event's content away. Queued as messages are, and in the event's `pending` (or its `reactions`) until the
   * stream shows it; the promise ends when the server has done it, or refused: then the event stands as before.
   */
  redact(roomId: string, eventId: string, reason?: string): Promise<void>;
  /** Whether there is more. */
  scrollBack(roomId: string, limit?: number): Promise<boolean>;
  /**
   * Looks an event up: in the timeline (`live`), else in a stretch of the past around it, which comes as a `past` event before
   * this resolves. A room has one such stretch; without an event it is left.
   */
  jump(roomId: string, eventId?: string): Promise<"live" | "past">;
  /** Goes on from there; where it reaches the timeline it becomes a part of that. Whether there is more. */
  scrollPast(roomId: string, direction: "back" | "forward", limit?: number): Promise<boolean>;
  /** One event, from the server where it is not at hand. */
  event(roomId: string, eventId: string): Promise<TimelineItem>;
  publicRooms(search?: string): Promise<
    { roomId: string; name?: string; alias?: string; topic?: string; members: number }[]
  >;

  /** The calls that are not over. */
  calls(): readonly CallView[];
  /**
   * Brings a file to the server; its `mxc://` address, for the content of a message. Fails with `M_TOO_LARGE`, with `M_FORBIDDEN` when
   * the user has no room left, or with the reason of `signal`. Progress is told where there is an `XMLHttpRequest`.
   */
  upload(
    file: Instance<"Blob"> | ArrayBuffer | ArrayBufferView | string,
    options?: { name?: string; type?: string; onProgress?: (sent: number, total: number) => void; signal?: Instance<"AbortSignal"> },
  ): Promise<string>;
  /** How large a file may be, in bytes, where the server says. */
  uploadLimit(): Promise<number | undefined>;
  /** A file. What it is said to be is its sender's word: show only what cannot run. */
  download(uri: string, options?: { signal?: Instance<"AbortSignal"> }): Promise<Instance<"Blob">>;
  /** A picture made smaller, at least as large as asked for unless it is smaller itself. */
  thumbnail(
    uri: string,
    options: { width: number; height: number; method?: "scale" | "crop"; signal?: Instance<"AbortSignal"> },
  ): Promise<Instance<"Blob">>;
  /** `null`: none. */
  setAvatar(uri: string | null): Promise<void>;

  setTyping(roomId: string, typing: boolean): void;
  /**
   * The user has read up to an event of the timeline, by default its last; never goes back. `isPrivate`: only the user's own
   * devices are told.
   */
  markRead(roomId: string, eventId?: string, isPrivate?: boolean): void;
  /** Any other request, authenticated. */
  request(method: "GET" | "POST" | "PUT" | "DELETE", path: string, body?: object): Promise<any>;
}
