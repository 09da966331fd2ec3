// Calls in a page: microphone, camera and the browser's connection, driven by what the core of the package decides. Loaded by
// who calls, beside the main entry.
import { PilotlightError } from "./index.js";
import { badArgument, checkFields, checkKind } from "./options.js";

/** For how long the first candidates are waited for, so that they travel with the description. */
const FIRST_CANDIDATES_MS = 200;
const CAMERA = { width: { ideal: 1280 }, height: { ideal: 720 } };
const PATHS = { connected: "up", disconnected: "lost", failed: "failed" };

/** The calls of each client. */
const known = new WeakMap();

export class Call {
  #calls;
  #pc;
  /** Microphone and camera, or on the way to them. */
  #media;
  /** Another call has them. */
  #handedOn = false;
  /** What is done to the connection, one after the other. */
  #doing = Promise.resolve();
  /** Whether the description that candidates belong to was told. */
  #described = false;
  /** What the other says of their streams. */
  #streams;

  callId;
  roomId = "";
  direction = "outgoing";
  userId;
  video = false;
  state = "preparing";
  reason;
  rings = false;
  reconnecting = false;
  canChange = false;
  connectedAt;
  replacedBy;
  localStream;
  remoteStream;
  muted = { audio: false, video: true };
  otherMuted = { audio: false, video: false };
  onHold = false;
  heldByOther = false;
  error;

  constructor(calls, callId) {
    if (!(calls instanceof Calls)) throw badArgument("a call comes of place(), all() or get() of Calls");
    this.#calls = calls;
    this.callId = callId;
  }

  /** Takes the call. */
  answer(options = {}) {
    const { video = this.video } = checkFields(options, "options", { video: "flag" });
    this.error = undefined;
    this.#ask("accept", video);
  }

  /** Ends the call, or declines it. */
  hangUp() {
    this.#ask("hangUp");
  }

  /** Whether others hear the microphone. */
  muteMicrophone(muted) {
    checkKind(muted, "flag", "muted");
    for (const track of this.localStream?.getAudioTracks() ?? []) track.enabled = !muted;
    this.#mute({ audio: muted });
  }

  /** Turns the camera on or off. A call that began without a picture gets one, where the other's client can. */
  async setCamera(on) {
    checkKind(on, "flag", "on");
    if (!this.#pc || !this.localStream) throw new PilotlightError("NO_SUCH_CALL", "there is no such call");
    const stream = this.localStream;
    const sender = this.#pc.getTransceivers().find(({ sender, receiver }) => (sender.track ?? receiver.track).kind === "video")?.sender;
    if (!on) {
      for (const track of stream.getVideoTracks()) {
        track.stop();
        stream.removeTrack(track);
      }
      await sender?.replaceTrack(null);
    } else if (stream.getVideoTracks().length === 0) {
      if (!sender && !this.canChange) throw new PilotlightError("UNSUPPORTED", "the other’s client takes no picture in this call");
      const [track] = (await navigator.mediaDevices.getUserMedia({ video: CAMERA })).getVideoTracks();
      if (this.state === "ended" || this.localStream !== stream) return track.stop();
      stream.addTrack(track);
      if (sender) await this.#show(sender, track, stream);
      else this.#pc.addTrack(track, stream);
    }
    this.#mute({ video: !on });
  }

  /** Holds the call: nothing goes either way. */
  setHold(hold) {
    checkKind(hold, "flag", "hold");
    if (!this.canChange) throw new PilotlightError("UNSUPPORTED", "the other’s client cannot hold calls");
    this.onHold = hold;
    for (const transceiver of this.#pc.getTransceivers()) transceiver.direction = this.onHold ? "inactive" : "sendrecv";
    this.#changed();
  }

  /** What the browser knows of the connection. */
  async stats() {
    return this.#pc?.getStats();
  }

  /** @internal */
  update(view) {
    const { callId, roomId, direction, userId, video, state, reason, rings, reconnecting, canChange, connectedAt, replacedBy } = view;
    Object.assign(this, { callId, roomId, direction, userId, video, state, reason, rings, reconnecting, canChange, connectedAt, replacedBy });
  }

  /** What the core asks for. @internal */
  handle(media) {
    switch (media.op) {
      case "offer":
        this.#media = capture(media.video);
        return this.#do(() => this.#offer(media));
      case "answer": {
        const before = media.insteadOf === undefined ? undefined : this.#calls.get(media.insteadOf);
        this.#media = before?.#handOn() ?? capture(media.video);
        return this.#do(() => this.#answer(media));
      }
      case "remote":
        return this.#do(() => this.#remote(media));
      case "candidates":
        return this.#do(async () => {
          // One that is not understood leaves the others.
          for (const candidate of media.candidates) await this.#pc?.addIceCandidate(candidate).catch(() => {});
        });
      case "streams":
        return this.#listen(media.streams);
      case "restart":
        this.#pc?.restartIce();
        return;
      case "rollback":
        return this.#do(async () => {
          if (this.#pc?.signalingState === "have-local-offer") await this.#pc.setLocalDescription({ type: "rollback" });
        });
      case "close":
        return this.#close();
    }
  }

  async #offer({ video }) {
    const stream = await this.#start();
    for (const track of stream.getTracks()) this.#pc.addTrack(track, stream);
    // Without a camera one sees the other all the same.
    if (video && stream.getVideoTracks().length === 0) this.#pc.addTransceiver("video", { direction: "recvonly" });
    await this.#describe("offer");
  }

  async #answer(media) {
    const stream = await this.#start();
    this.#listen(media.streams);
    await this.#pc.setRemoteDescription(media);
    const kinds = this.#pc.getTransceivers().map(({ receiver }) => receiver.track.kind);
    for (const track of stream.getTracks()) {
      if (kinds.includes(track.kind)) this.#pc.addTrack(track, stream);
      else stopTrack(stream, track);
    }
    await this.#describe("answer");
  }

  async #remote(media) {
    if (!this.#pc) return;
    this.#listen(media.streams);
    // Takes an own offer back, where the other's goes first.
    await this.#pc.setRemoteDescription(media);
    if (media.type === "offer") await this.#describe("answer");
    const ways = this.#pc.getTransceivers().map(({ currentDirection }) => currentDirection);
    this.heldByOther = !this.onHold && ways.length > 0 && ways.every((way) => way === "inactive" || way === "recvonly") && this.localStream?.getTracks().length > 0;
    this.#changed();
  }

  /** Microphone, camera and a connection. */
  async #start() {
    const media = this.#media;
    const { stream, error } = await media;
    const configuration = await this.#calls.configuration();
    // It was over before it could begin.
    if (this.#media !== media) throw new Error("closed");
    const pc = new RTCPeerConnection(configuration);
    this.#pc = pc;
    this.localStream = stream;
    this.error = error;
    this.muted.video = stream.getVideoTracks().length === 0;
    pc.addEventListener("icecandidate", ({ candidate }) => {
      if (!candidate) this.#ask("candidate", null);
      else if (this.#described && candidate.candidate) this.#ask("candidate", candidate.toJSON());
    });
    pc.addEventListener("track", ({ track, streams: [stream] }) => this.#receive(track, stream));
    pc.addEventListener("connectionstatechange", () => {
      const path = PATHS[pc.connectionState];
      if (path) this.#ask("path", path);
    });
    pc.addEventListener("negotiationneeded", () => this.canChange && this.#do(() => this.#change()));
    this.#changed();
    return stream;
  }

  async #change() {
    const pc = this.#pc;
    if (pc?.signalingState === "stable" && this.#ask("change")) await this.#describe("offer");
  }

  async #describe(type) {
    const pc = this.#pc;
    this.#described = false;
    await pc.setLocalDescription();
    if (pc.iceGatheringState !== "complete") {
      await new Promise((resolve) => {
        setTimeout(resolve, FIRST_CANDIDATES_MS);
        pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && resolve());
      });
    }
    if (pc.signalingState === "closed") return;
    const { sdp } = pc.localDescription ?? {};
    if (!sdp) return;
    this.#described = true;
    this.#ask("described", type, sdp, this.#ownStreams());
    if (pc.iceGatheringState === "complete") this.#ask("candidate", null);
  }

  #receive(track, stream) {
    const isOther = this.#streams && this.#streams[stream?.id]?.purpose !== "m.usermedia";
    if (!stream || isOther || (this.remoteStream && this.remoteStream !== stream)) return;
    this.remoteStream = stream;
    for (const event of ["mute", "unmute", "ended"]) track.addEventListener(event, () => this.#changed());
    stream.addEventListener("removetrack", () => this.#changed());
    this.#changed();
  }

  #listen(streams) {
    if (!streams) return;
    this.#streams = streams;
    const told = Object.values(streams).find((one) => one?.purpose === "m.usermedia");
    if (told) this.otherMuted = { audio: told.audio_muted === true, video: told.video_muted === true };
    this.#changed();
  }

  #ownStreams() {
    const { id } = this.localStream ?? {};
    return id === undefined ? {} : { [id]: { purpose: "m.usermedia", audio_muted: this.muted.audio, video_muted: this.muted.video } };
  }

  #mute(what) {
    this.muted = { ...this.muted, ...what };
    this.#ask("streams", this.#ownStreams());
    this.#changed();
  }

  async #show(sender, track, stream) {
    const transceiver = this.#pc.getTransceivers().find((one) => one.sender === sender);
    sender.setStreams(stream);
    await sender.replaceTrack(track);
    if (transceiver.direction === "recvonly" && this.canChange) transceiver.direction = "sendrecv";
  }

  #handOn() {
    this.#handedOn = true;
    return this.#media;
  }

  #close() {
    const media = this.#media;
    this.#media = undefined;
    this.#pc?.close();
    this.#pc = undefined;
    this.#described = false;
    this.#streams = undefined;
    this.localStream = this.remoteStream = undefined;
    this.onHold = this.heldByOther = false;
    if (!this.#handedOn) media?.then(({ stream }) => stream.getTracks().forEach((track) => track.stop()), () => {});
    this.#handedOn = false;
    this.#doing = Promise.resolve();
  }

  /** One after the other; what fails ends the call, or the attempt to take it. */
  #do(act) {
    const media = this.#media;
    this.#doing = this.#doing.then(act).catch((error) => {
      if (media === undefined || this.#media !== media) return;
      this.error = error;
      this.#ask("failed");
    });
  }

  #ask(word, ...given) {
    return this.#calls.ask(word, this.callId, ...given);
  }

  #changed() {
    if (this.state !== "ended") this.#calls.tell(this);
  }
}

export class Calls {
  #client;
  #options;
  #all = new Map();
  #listeners = new Set();
  #stops = [];
  #servers;

  /** The calls of a client, which has one such object. */
  static of(client, options = {}) {
    const { iceTransportPolicy = "all" } = checkFields(options, "options", { iceTransportPolicy: "any", iceServers: "list" });
    if (!["all", "relay"].includes(iceTransportPolicy)) throw badArgument("options.iceTransportPolicy must be all or relay");
    if (!known.has(client)) known.set(client, new Calls(client, options));
    return known.get(client);
  }

  constructor(client, options = {}) {
    if (typeof client?.phone !== "function") throw badArgument("client must be a Client");
    if (typeof RTCPeerConnection !== "function") throw new PilotlightError("UNSUPPORTED", "there is nothing to call with here: calls are for pages, in browsers with WebRTC");
    this.#client = client;
    this.#options = options;
    for (const view of client.calls()) this.#of(view.callId).update(view);
    const leave = () => this.ask("leave");
    addEventListener("pagehide", leave);
    this.#stops = [
      client.on("call", (view) => {
        const call = this.#of(view.callId);
        call.update(view);
        if (view.state === "ended") this.#all.delete(view.callId);
        this.tell(call);
      }),
      client.on("media", (media) => this.#of(media.callId).handle(media)),
      () => removeEventListener("pagehide", leave),
    ];
  }

  /** Those that are not over. */
  all() {
    return [...this.#all.values()];
  }

  /** @param {string} callId */
  get(callId) {
    checkKind(callId, "text", "callId");
    return this.#all.get(callId);
  }

  /** Calls somebody in a room: the other one, where there are two; else `userId`. */
  place(roomId, options = {}) {
    checkKind(roomId, "text", "roomId");
    const { video = false, userId } = checkFields(options, "options", { video: "flag", userId: "text" });
    // What comes of it would be told to nobody.
    if (known.get(this.#client) !== this) throw new PilotlightError("NO_SUCH_CALL", "these calls were closed: Calls.of() gives others");
    const callId = this.#client.phone("place", JSON.stringify([roomId, video, userId ?? null]));
    return this.#of(callId);
  }

  /** Told of every change of every call; the function returned takes the listener away. */
  on(event, listener) {
    if (event !== "call" || typeof listener !== "function") throw badArgument('on() takes "call" and a function');
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Hangs up, and listens no more. */
  close() {
    this.ask("leave");
    for (const stop of this.#stops) stop();
    known.delete(this.#client);
  }

  /** Says something of a call to the core, for which it may be over meanwhile. @internal */
  ask(word, ...given) {
    try {
      return this.#client.phone(word, JSON.stringify(given));
    } catch (error) {
      if (!["NO_SUCH_CALL", "FREED"].includes(error?.code)) throw error;
    }
  }

  /** @internal */
  tell(call) {
    for (const listener of [...this.#listeners]) {
      try {
        listener(call);
      } catch (error) {
        console.error(error);
      }
    }
  }

  /** How to reach others, as the homeserver says, kept for as long as it holds. @internal */
  async configuration() {
    const { iceTransportPolicy = "all", iceServers } = this.#options;
    if (iceServers) return { iceTransportPolicy, iceServers };
    if (!this.#servers || this.#servers.until < Date.now()) {
      const given = await this.#client.request("GET", "/_matrix/client/v3/voip/turnServer").catch(() => ({}));
      const { uris, username, password: credential, ttl } = given ?? {};
      const servers = Array.isArray(uris) && uris.length > 0 ? [{ urls: uris, username, credential }] : [];
      // Half of it: a call that begins then still has some time.
      this.#servers = { servers, until: Date.now() + (servers.length > 0 ? (Number.isFinite(ttl) ? ttl * 500 : 0) : 60_000) };
    }
    return { iceTransportPolicy, iceServers: this.#servers.servers };
  }

  #of(callId) {
    let call = this.#all.get(callId);
    if (!call) this.#all.set(callId, (call = new Call(this, callId)));
    return call;
  }
}

/** Microphone, and camera where there is one. */
async function capture(video) {
  if (!globalThis.navigator?.mediaDevices) throw new PilotlightError("UNSUPPORTED", "microphones are for pages that came over https");
  try {
    return { stream: await navigator.mediaDevices.getUserMedia({ audio: true, video: video && CAMERA }) };
  } catch (error) {
    if (!video) throw error;
    return { stream: await navigator.mediaDevices.getUserMedia({ audio: true }), error };
  }
}

function stopTrack(stream, track) {
  track.stop();
  stream.removeTrack(track);
}
