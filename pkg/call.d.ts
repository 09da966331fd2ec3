// The types of `pilotlight/call`, for pages.

import type { CallEnd, CallState, CallView, Client } from "./index.js";

/** A call in this page. What changes is told by the `call` event of `Calls`. */
export class Call implements CallView {
  private constructor();
  readonly callId: string;
  readonly roomId: string;
  readonly direction: "outgoing" | "incoming";
  readonly userId?: string;
  readonly video: boolean;
  readonly state: CallState;
  readonly reason?: CallEnd;
  readonly rings: boolean;
  readonly reconnecting: boolean;
  readonly canChange: boolean;
  readonly connectedAt?: number;
  readonly replacedBy?: string;

  /** Microphone and camera, from when they are there to the end. */
  readonly localStream?: MediaStream;
  /** What the other sends. */
  readonly remoteStream?: MediaStream;
  readonly muted: { readonly audio: boolean; readonly video: boolean };
  /** What the other says of theirs. */
  readonly otherMuted: { readonly audio: boolean; readonly video: boolean };
  readonly onHold: boolean;
  readonly heldByOther: boolean;
  /** What the browser said of a microphone, a camera or a connection that failed: such as a `NotAllowedError`. */
  readonly error?: Error;

  /** Takes a call that rings; another one that the user is in ends. `video` as the caller's, if not given. */
  answer(options?: { video?: boolean }): void;
  /** Ends the call, or declines it. */
  hangUp(): void;
  muteMicrophone(muted: boolean): void;
  /** Fails as `getUserMedia` does, and with `UNSUPPORTED` where the other's client takes no picture in a call that began without. */
  setCamera(on: boolean): Promise<void>;
  /** Nothing goes either way while a call is held. Throws `UNSUPPORTED` where the other's client knows no such thing. */
  setHold(hold: boolean): void;
  /** What the browser knows of the connection. */
  stats(): Promise<RTCStatsReport | undefined>;
}

export interface CallsOptions {
  /** `relay`: only through the homeserver's TURN server, which hides addresses. By default `all`. */
  iceTransportPolicy?: RTCIceTransportPolicy;
  /** Servers to use instead of what the homeserver says. */
  iceServers?: RTCIceServer[];
}

/** The calls of a client in this page. One at a time has the microphone; others may ring. */
export class Calls {
  private constructor();
  /** Those of a client, which has one such object: the first call's options hold. Throws `UNSUPPORTED` where there is no WebRTC: in Node, in workers. */
  static of(client: Client, options?: CallsOptions): Calls;

  /** Those that are not over. */
  all(): Call[];
  get(callId: string): Call | undefined;
  /**
   * Calls the other one in a room of two, else `userId`. Who calls from there at this moment is answered instead. Throws `BUSY`,
   * `NOT_IN_ROOM`, `ENCRYPTED_ROOM`, `BAD_TARGET` where nobody is named and there are more than two, and `NO_SUCH_CALL` after `close`.
   */
  place(roomId: string, options?: { video?: boolean; userId?: string }): Call;
  /** Told of every change of every call; the function returned takes the listener away. */
  on(event: "call", listener: (call: Call) => void): () => void;
  /** Hangs up, and listens no more: `Calls.of` gives the client's next ones. */
  close(): void;
}
