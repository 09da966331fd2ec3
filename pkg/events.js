// The events of a client as something to iterate over. What has not been taken is merged, so that who is slow finds what
// became of everything, and not every step on the way.
import { badArgument, checkFields } from "./options.js";

/** The most edits of one room that wait one by one; more become one `reset`. */
const MAX_OPS = 1000;
/** The most refusals that wait; beyond it the oldest are gone. */
const MAX_REFUSED = 1000;

/** Keeps the last. */
function last(give) {
  let kept;
  return {
    add: (...told) => (kept = told),
    take() {
      const told = kept;
      kept = undefined;
      return give(...told);
    },
    isEmpty: () => kept === undefined,
  };
}

/** Keeps who changed, by ID. */
function changed(id) {
  const all = new Map();
  return {
    add: (changes) => changes.forEach((one) => all.set(one[id], one)),
    take: () => drain(all),
    isEmpty: () => all.size === 0,
  };
}

/** Keeps who changed and who is gone, by ID. */
function listed(id) {
  const [all, gone] = [new Map(), new Set()];
  return {
    add(changes, removed) {
      for (const one of removed) {
        all.delete(one);
        gone.add(one);
      }
      for (const one of changes) {
        gone.delete(one[id]);
        all.set(one[id], one);
      }
    },
    take: () => [drain(all), drain(gone)],
    isEmpty: () => all.size === 0 && gone.size === 0,
  };
}

/** Keeps something of each, which are given one by one. */
function each(merge, give = (name, kept) => [name, kept]) {
  const all = new Map();
  return {
    add: (name, told) => all.set(name, merge(all.get(name), told)),
    take() {
      const [[name, kept]] = all;
      all.delete(name);
      return give(name, kept);
    },
    isEmpty: () => all.size === 0,
  };
}

function refusals() {
  const all = [];
  return {
    add: (...told) => void (all.push(told) > MAX_REFUSED && all.shift()),
    take: () => all.shift(),
    isEmpty: () => all.length === 0,
  };
}

function drain(kept) {
  const all = [...kept.values()];
  kept.clear();
  return all;
}

/** Edits of rooms: of too many, the stretch as it is. */
function edits(client, kind) {
  const merge = (before, ops) => (before === null || (before?.length ?? 0) + ops.length > MAX_OPS ? null : [...(before ?? []), ...ops]);
  return each(merge, (roomId, ops) => [roomId, ops ?? [{ op: "reset", items: [...client[kind](roomId)] }]]);
}

const one = (value) => value;
const WAITING = {
  presence: () => changed("userId"),
  contacts: () => listed("userId"),
  rooms: () => listed("roomId"),
  members: () => each((before, changes) => [...new Map([...(before ?? []), ...changes].map((member) => [member.userId, member])).values()]),
  timeline: (client) => edits(client, "timeline"),
  past: (client) => edits(client, "past"),
  refused: refusals,
  call() {
    const calls = each((_, call) => call, (_, call) => call);
    return { ...calls, add: (call) => calls.add(call.callId, call) };
  },
  connection: () => last((...told) => told),
  me: () => last(one),
  idle: () => last(one),
  notifySettings: () => last(one),
};

/** What happens to a client from here on, until it stops, or the signal. `ends`: whom to tell when it is freed. */
export function iterate(client, event, options, ends) {
  if (!Object.hasOwn(WAITING, event)) throw badArgument(`no such event: ${event}`);
  const { signal } = checkFields(options, "options", { signal: "signal" });
  const waiting = WAITING[event](client);
  const asking = [];
  const failures = [];
  let over = false;

  const serve = () => {
    while (asking.length > 0 && (over || !waiting.isEmpty())) {
      const { resolve, reject } = asking.shift();
      if (!waiting.isEmpty()) resolve({ value: waiting.take(), done: false });
      else if (failures.length > 0) reject(failures.pop());
      else resolve({ value: undefined, done: true });
    }
  };
  const offs = [
    client.on(event, (...told) => {
      waiting.add(...told);
      serve();
    }),
    client.on("connection", (state) => {
      if (state === "stopped" || state === "logged_out") end();
    }),
  ];
  const end = () => {
    if (over) return;
    over = true;
    ends.delete(end);
    signal?.removeEventListener("abort", abort);
    for (const off of offs) off();
    serve();
  };
  const drop = () => {
    while (!waiting.isEmpty()) waiting.take();
    end();
  };
  const abort = () => {
    failures.push(signal.reason);
    drop();
  };
  ends.add(end);
  if (signal?.aborted) abort();
  else signal?.addEventListener("abort", abort);

  const iterator = {
    next: () =>
      new Promise((resolve, reject) => {
        asking.push({ resolve, reject });
        serve();
      }),
    async return(value) {
      drop();
      return { value, done: true };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
  if (Symbol.asyncDispose) iterator[Symbol.asyncDispose] = async () => drop();
  return iterator;
}
