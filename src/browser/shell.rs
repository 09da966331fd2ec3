//! Drives the client role: its outputs become requests, timers, stored values and calls of listeners.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use js_sys::{Function, Promise};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;
use web_sys::AbortController;

use super::activity::{Seen, Watch};
use super::clock::Clock;
use super::fetch::{fetch, reason};
use super::json::{error, parse, to_js};
use super::options::Checked;
use super::storage::Store;
use super::timer::Timer;
use crate::core::client::Client;
use crate::core::client::actions::LAST_ID_KEY;
use crate::core::client::output::{Change, Failure, Output, Request, RequestId, Ticket};
use crate::core::client::session::Session;
use crate::core::time::Instant;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(value: &JsValue);
}

/// What applications listen to.
pub const EVENTS: [&str; 7] = ["presence", "me", "rooms", "timeline", "members", "connection", "idle"];

/// A listener and its number.
type Listener = (u32, Function);
/// How a promise ends.
type Resolvers = (Function, Function);

/// The role and everything around it.
pub struct Shell {
    /// The session it was made for.
    pub session: Session,
    role: RefCell<Client>,
    clock: Clock,
    timer: Timer,
    store: Option<Store>,
    watch: RefCell<Option<Watch>>,
    listeners: RefCell<BTreeMap<&'static str, Vec<Listener>>>,
    last_listener: Cell<u32>,
    requests: RefCell<BTreeMap<RequestId, AbortController>>,
    promises: RefCell<BTreeMap<Ticket, Resolvers>>,
    draining: Cell<bool>,
    me: Weak<Self>,
}

impl Shell {
    /// A shell around a new client, which takes back what storage kept.
    pub fn new(session: Session, options: Checked) -> Rc<Self> {
        Rc::new_cyclic(|me: &Weak<Self>| {
            let clock = Clock::new();
            let mut role = Client::new(&session, options.role, clock.now());
            let store = Store::open(options.storage, &session.base_url, &session.user_id);
            for (key, value) in store.iter().flat_map(Store::all) {
                role.handle_stored(&key, &value);
            }
            let wake = me.clone();
            let timer = Timer::new(move || {
                if let Some(shell) = wake.upgrade() {
                    shell.timer.fired();
                    shell.input(|role, now| role.handle_timeout(now));
                }
            });
            let seer = me.clone();
            let watch = Watch::start(options.track_activity, move |seen| {
                if let Some(shell) = seer.upgrade() {
                    shell.handle_seen(seen);
                }
            });
            Self {
                session,
                role: RefCell::new(role),
                clock,
                timer,
                store,
                watch: RefCell::new(Some(watch)),
                listeners: RefCell::default(),
                last_listener: Cell::new(0),
                requests: RefCell::default(),
                promises: RefCell::default(),
                draining: Cell::new(false),
                me: me.clone(),
            }
        })
    }

    /// Reads from the role.
    pub fn read<T>(&self, get: impl FnOnce(&Client) -> T) -> T {
        get(&self.role.borrow())
    }

    /// Feeds the role, and does all that follows from it.
    pub fn input<T>(&self, feed: impl FnOnce(&mut Client, Instant) -> T) -> T {
        let result = feed(&mut self.role.borrow_mut(), self.clock.now());
        self.drain();
        result
    }

    /// Gives a command; the promise ends with its answer.
    pub fn command(&self, give: impl FnOnce(&mut Client, Instant) -> Ticket) -> Promise {
        let ticket = give(&mut self.role.borrow_mut(), self.clock.now());
        let promise = Promise::new(&mut |resolve, reject| {
            self.promises.borrow_mut().insert(ticket, (resolve, reject));
        });
        self.drain();
        promise
    }

    /// Another tab of this device may have used action IDs meanwhile.
    pub fn learn_last_id(&self) {
        if let Some(last) = self.store.as_ref().and_then(|store| store.get(LAST_ID_KEY)) {
            self.role.borrow_mut().handle_stored(LAST_ID_KEY, &last);
        }
    }

    /// Adds a listener and answers its number.
    pub fn listen(&self, event: &'static str, listener: Function) -> u32 {
        let number = self.last_listener.get() + 1;
        self.last_listener.set(number);
        self.listeners.borrow_mut().entry(event).or_default().push((number, listener));
        number
    }

    /// Takes a listener away.
    pub fn unlisten(&self, event: &'static str, number: u32) {
        if let Some(listeners) = self.listeners.borrow_mut().get_mut(event) {
            listeners.retain(|(known, _)| *known != number);
        }
    }

    /// Ends everything: no listener is called from here on.
    pub fn close(&self) {
        self.watch.borrow_mut().take();
        self.listeners.borrow_mut().clear();
        self.input(|role, now| role.stop(now));
    }

    fn handle_seen(&self, seen: Seen) {
        self.input(|role, now| match seen {
            Seen::Activity => role.handle_activity(now),
            Seen::Woken => role.handle_timeout(now),
            Seen::NetworkUp => role.handle_network_up(now),
        });
    }

    /// Does what the role asks for. A listener that calls back into the client adds to the same queue,
    /// which the outermost call empties.
    fn drain(&self) {
        if self.draining.replace(true) {
            return;
        }
        loop {
            let output = self.role.borrow_mut().poll_output();
            let Some(output) = output else { break };
            match output {
                Output::Request(request) => self.send(request),
                Output::Cancel(id) => self.cancel(id),
                Output::Changed(change) => self.show(&change),
                Output::Store { key, value } => self.keep(&key, value.as_deref()),
                Output::Answer { ticket, result } => self.answer(ticket, result),
            }
        }
        self.draining.set(false);
        self.timer.arm(self.role.borrow().poll_timeout(), self.clock.now());
    }

    fn send(&self, request: Request) {
        let controller = AbortController::new().ok();
        let signal = controller.as_ref().map(AbortController::signal);
        if let Some(controller) = controller {
            self.requests.borrow_mut().insert(request.id, controller);
        }
        let (shell, url) = (self.me.clone(), [&*self.session.base_url, &request.path].concat());
        let token = self.session.access_token.clone();
        spawn_local(async move {
            let body = request.body.as_deref();
            let outcome = fetch(request.method, &url, Some(&token), body, signal.as_ref()).await;
            let Some(shell) = shell.upgrade() else { return };
            if shell.requests.borrow_mut().remove(&request.id).is_none() && signal.is_some() {
                return;
            }
            shell.input(|role, now| match outcome {
                Ok(answer) => {
                    role.handle_response(now, request.id, answer.status, answer.retry_after_ms, &answer.body);
                }
                Err(cause) => role.handle_failure(now, request.id, "NETWORK", &reason(&cause)),
            });
        });
    }

    fn cancel(&self, id: RequestId) {
        if let Some(controller) = self.requests.borrow_mut().remove(&id) {
            controller.abort();
        }
    }

    fn keep(&self, key: &str, value: Option<&str>) {
        if let Some(Err(cause)) = self.store.as_ref().map(|store| store.set(key, value)) {
            console_error(&cause);
        }
    }

    fn answer(&self, ticket: Ticket, result: Result<String, Failure>) {
        let Some((resolve, reject)) = self.promises.borrow_mut().remove(&ticket) else { return };
        let called = match result {
            Ok(text) => resolve.call1(&JsValue::UNDEFINED, &parse(&text)),
            Err(failure) => reject.call1(&JsValue::UNDEFINED, &error(&failure)),
        };
        debug_assert!(called.is_ok(), "a promise's own functions do not throw");
    }

    fn show(&self, change: &Change) {
        match change {
            Change::Presence(changes) => self.emit("presence", changes, None::<&()>),
            Change::Me(me) => self.emit("me", me, None::<&()>),
            Change::Rooms { changed, removed } => self.emit("rooms", changed, Some(removed)),
            Change::Timeline { room_id, ops } => self.emit("timeline", room_id, Some(ops)),
            Change::Members { room_id, changed } => self.emit("members", room_id, Some(changed)),
            Change::Connection(state, why) => {
                let why = why.as_ref().map_or(JsValue::UNDEFINED, error);
                self.call("connection", || (to_js(state), why));
            }
            Change::Idle(idle) => self.emit("idle", idle, None::<&()>),
        }
    }

    fn emit(&self, event: &'static str, first: &impl Serialize, second: Option<&impl Serialize>) {
        self.call(event, || (to_js(first), second.map_or(JsValue::UNDEFINED, |value| to_js(value))));
    }

    /// Calls the listeners; what one of them throws reaches the console and not the others.
    fn call(&self, event: &'static str, arguments: impl FnOnce() -> (JsValue, JsValue)) {
        let listeners = self.listeners.borrow().get(event).cloned().unwrap_or_default();
        if listeners.is_empty() {
            return;
        }
        let (first, second) = arguments();
        for (_, listener) in listeners {
            if let Err(thrown) = listener.call2(&JsValue::UNDEFINED, &first, &second) {
                console_error(&thrown);
            }
        }
    }
}
