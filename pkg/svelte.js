// A client in Svelte: readable stores, `$store` in a component, each of which changes when what it reads does, and only then.

export const snapshot = (client, selector) => ({
  subscribe(run) {
    run(client?.read(selector));
    return client?.subscribe(selector, (value) => run(value)) ?? (() => {});
  },
});

const plain = (kind) => (client) => snapshot(client, kind);
const named = (kind) => (client, name) => snapshot(client, { [kind]: name });

export const [me, connection, idle, presences] = ["me", "connection", "idle", "presences"].map(plain);
export const [contacts, rooms, calls, notifySettings] = ["contacts", "rooms", "calls", "notifySettings"].map(plain);
export const [presence, contact, room] = ["presence", "contact", "room"].map(named);
export const [timeline, past, members] = ["timeline", "past", "members"].map(named);
