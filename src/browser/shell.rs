//! Drives the client role: its outputs become requests, timers, stored values and calls of listeners.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use js_sys::{Function, Promise};
use wasm_bindgen::prelude::*;
use web_sys::AbortController;

use super::activity::{Seen, Watch};
use super::clock::Clock;
use super::fetch::{Answer, Exchange, Heard, fetch};
use super::json::{error, give, parse};
use super::options::Checked;
use super::storage::Store;
use super::timer::Timer;
use crate::core::client::Client;
use crate::core::client::notify::{Naming, settings_json};
use crate::core::client::output::{Change, Failure, Output, Request, RequestId, Ticket};
use crate::core::client::session::Session;
use crate::core::client::stored::LAST_ID_KEY;
use crate::core::time::Instant;
use crate::core::wire::write::ToJson;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn console_error(value: &JsValue);
}

/// What applications listen to. The last three are for what binds the tabs of a session, for what drives a call's connection,
/// and for what tells once of all that an input changed: `settled` comes after the others.
pub const EVENTS: [&str; 15] = [
    "presence",
    "contacts",
    "me",
    "rooms",
    "timeline",
    "past",
    "refused",
    "members",
    "connection",
    "idle",
    "call",
    "notifySettings",
    "tabs",
    "media",
    "settled",
];

/// A function that an application wants called.
#[derive(Clone)]
struct Listener {
    number: u32,
    event: &'static str,
    function: Function,
}

/// The promise of a command.
struct Promised {
    ticket: Ticket,
    resolve: Function,
    reject: Function,
}

/// The role and everything around it.
pub struct Shell {
    /// The session it was made for.
    pub session: Session,
    role: RefCell<Client>,
    clock: Clock,
    timer: Timer,
    store: Option<Store>,
    watch: RefCell<Option<Watch>>,
    listeners: RefCell<Vec<Listener>>,
    last_listener: Cell<u32>,
    requests: RefCell<Vec<(RequestId, AbortController)>>,
    promises: RefCell<Vec<Promised>>,
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
                    shell.input(&mut |role, now| role.handle_timeout(now));
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

    /// Reads from the role what depends on the time.
    pub fn read_at<T>(&self, get: impl FnOnce(&Client, Instant) -> T) -> T {
        get(&self.role.borrow(), self.clock.now())
    }

    /// Feeds the role, and does all that follows from it.
    #[inline(never)]
    pub fn input(&self, feed: &mut dyn FnMut(&mut Client, Instant)) {
        feed(&mut self.role.borrow_mut(), self.clock.now());
        self.drain();
    }

    /// Gives a command; the promise ends with its answer.
    #[inline(never)]
    pub fn command<E>(&self, give: &dyn Fn(&mut Client, Instant) -> Result<Ticket, E>) -> Result<Promise, E> {
        let ticket = give(&mut self.role.borrow_mut(), self.clock.now())?;
        let promise = Promise::new(&mut |resolve, reject| {
            self.promises.borrow_mut().push(Promised { ticket, resolve, reject });
        });
        self.drain();
        Ok(promise)
    }

    /// Another tab of this device may have used action IDs meanwhile.
    pub fn learn_last_id(&self) {
        if let Some(last) = self.store.as_ref().and_then(|store| store.get(LAST_ID_KEY)) {
            self.role.borrow_mut().handle_stored(LAST_ID_KEY, &last);
        }
    }

    /// How many actions wait, in this tab and in what others have stored.
    pub fn waiting(&self) -> usize {
        let stored = self.store.as_ref().map(Store::all).unwrap_or_default();
        self.read(|role| role.waiting_with(stored.iter().map(|(key, _)| &**key)))
    }

    /// Adds a listener and answers its number.
    pub fn listen(&self, event: &'static str, function: Function) -> u32 {
        let number = self.last_listener.get() + 1;
        self.last_listener.set(number);
        self.listeners.borrow_mut().push(Listener { number, event, function });
        number
    }

    /// Takes a listener away.
    pub fn unlisten(&self, number: u32) {
        self.listeners.borrow_mut().retain(|listener| listener.number != number);
    }

    /// Ends everything: no listener is called from here on.
    pub fn close(&self) {
        self.watch.borrow_mut().take();
        self.listeners.borrow_mut().clear();
        self.input(&mut |role, now| role.stop(now));
    }

    fn handle_seen(&self, seen: Seen) {
        self.input(&mut |role, now| match seen {
            Seen::Activity => role.handle_activity(now),
            Seen::Shown => role.handle_shown(now),
            Seen::Hidden => role.handle_hidden(now),
            Seen::NetworkDown => role.handle_network_down(now),
            Seen::Woken => role.handle_woken(now),
            Seen::NetworkUp => role.try_now(now),
        });
    }

    /// Does what the role asks for. A listener that calls back into the client adds to the same queue,
    /// which the outermost call empties.
    #[inline(never)]
    fn drain(&self) {
        if self.draining.replace(true) {
            return;
        }
        let mut changed = false;
        loop {
            let output = self.role.borrow_mut().poll_output();
            let Some(output) = output else {
                if !std::mem::take(&mut changed) {
                    break;
                }
                self.call("settled", &|| (JsValue::UNDEFINED, JsValue::UNDEFINED));
                continue;
            };
            match output {
                Output::Request(request) => self.send(request),
                Output::Cancel(id) => self.cancel(id),
                Output::Changed(change) => {
                    changed = true;
                    self.show(&change);
                }
                Output::Store { key, value } => self.keep(&key, value.as_deref()),
                Output::Forget => self.forget(),
                Output::Tell(message) => {
                    self.call("tabs", &|| (JsValue::from_str(&message), JsValue::UNDEFINED));
                }
                Output::Media(json) => self.call("media", &|| (parse(&json), JsValue::UNDEFINED)),
                Output::Answer { ticket, result } => self.answer(ticket, result),
            }
        }
        self.draining.set(false);
        self.timer.arm(self.role.borrow().poll_timeout(), self.clock.now());
    }

    fn send(&self, request: Request) {
        let url = [&*self.session.base_url, &request.path].concat();
        let token = Some(&*self.session.access_token);
        let (method, keepalive) = (request.method, request.keepalive);
        let exchange = Exchange { method, url: &url, token, body: request.body.as_deref(), keepalive };
        let (shell, id) = (self.me.clone(), request.id);
        let done = Box::new(move |outcome: Result<Answer, String>| {
            let Some(shell) = shell.upgrade() else { return };
            shell.requests.borrow_mut().retain(|(known, _)| *known != id);
            shell.input(&mut |role, now| match &outcome {
                Ok(answer) => {
                    role.handle_response(now, id, answer.status, answer.retry_after_ms, &answer.body);
                }
                Err(words) => role.handle_failure(now, id, "NETWORK", words),
            });
        });
        let shell = self.me.clone();
        let heard = request.held.then(|| {
            Rc::new(move |bytes: &[u8]| {
                if let Some(shell) = shell.upgrade() {
                    shell.input(&mut |role, now| role.handle_chunk(now, id, bytes));
                }
            }) as Heard
        });
        match fetch(&exchange, heard, done) {
            Ok(controller) => self.requests.borrow_mut().push((id, controller)),
            Err(cause) => console_error(&cause),
        }
    }

    fn cancel(&self, id: RequestId) {
        let mut requests = self.requests.borrow_mut();
        if let Some(at) = requests.iter().position(|(known, _)| *known == id) {
            requests.swap_remove(at).1.abort();
        }
    }

    fn keep(&self, key: &str, value: Option<&str>) {
        if let Some(Err(cause)) = self.store.as_ref().map(|store| store.set(key, value)) {
            console_error(&cause);
        }
    }

    fn forget(&self) {
        for (key, _) in self.store.iter().flat_map(Store::all).filter(|(key, _)| key != LAST_ID_KEY) {
            self.keep(&key, None);
        }
    }

    fn answer(&self, ticket: Ticket, result: Result<String, Failure>) {
        let mut promises = self.promises.borrow_mut();
        let Some(at) = promises.iter().position(|promised| promised.ticket == ticket) else { return };
        let Promised { resolve, reject, .. } = promises.swap_remove(at);
        let called = match result {
            Ok(text) if text.is_empty() => resolve.call0(&JsValue::UNDEFINED),
            Ok(text) => resolve.call1(&JsValue::UNDEFINED, &parse(&text)),
            Err(failure) => reject.call1(&JsValue::UNDEFINED, &error(&failure)),
        };
        debug_assert!(called.is_ok(), "a promise's own functions do not throw");
    }

    fn show(&self, change: &Change) {
        match change {
            Change::Presence(changes) => {
                self.call("presence", &|| (parse(&changes.to_json()), JsValue::UNDEFINED))
            }
            Change::Me(me) => self.call("me", &|| (give(me), JsValue::UNDEFINED)),
            Change::Rooms { changed, removed } => {
                self.call("rooms", &|| (parse(&changed.to_json()), parse(&removed.to_json())));
            }
            Change::Timeline { room_id, ops } => {
                self.call("timeline", &|| (JsValue::from_str(room_id), parse(&ops.to_json())));
            }
            Change::Past { room_id, ops } => {
                self.call("past", &|| (JsValue::from_str(room_id), parse(&ops.to_json())));
            }
            Change::Refused { room_id, item } => {
                self.call("refused", &|| (JsValue::from_str(room_id), parse(&item.to_json())));
            }
            Change::Members { room_id, changed } => {
                self.call("members", &|| (JsValue::from_str(room_id), parse(&changed.to_json())));
            }
            Change::Contacts { changed, removed } => {
                self.call("contacts", &|| (parse(&changed.to_json()), parse(&removed.to_json())));
            }
            Change::Connection(state, why) => self.call("connection", &|| {
                (JsValue::from_str(state.as_str()), why.as_ref().map_or(JsValue::UNDEFINED, error))
            }),
            Change::Call(view) => self.call("call", &|| (parse(&view.to_json()), JsValue::UNDEFINED)),
            Change::NotifySettings(settings) => self.call("notifySettings", &|| {
                (parse(&settings_json(settings, Naming::Application)), JsValue::UNDEFINED)
            }),
            Change::Idle(idle) => self.call("idle", &|| (JsValue::from_bool(*idle), JsValue::UNDEFINED)),
        }
    }

    /// Calls the listeners; what one of them throws reaches the console and not the others.
    fn call(&self, event: &'static str, arguments: &dyn Fn() -> (JsValue, JsValue)) {
        let listeners: Vec<Function> = {
            let all = self.listeners.borrow();
            all.iter()
                .filter(|listener| listener.event == event)
                .map(|listener| listener.function.clone())
                .collect()
        };
        if listeners.is_empty() {
            return;
        }
        let (first, second) = arguments();
        for listener in listeners {
            if let Err(thrown) = listener.call2(&JsValue::UNDEFINED, &first, &second) {
                console_error(&thrown);
            }
        }
    }
}
