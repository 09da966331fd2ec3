//! The user's activity in a page (W2), throttled so that a moving pointer costs next to nothing.

use std::cell::Cell;
use std::rc::Rc;

use wasm_bindgen::prelude::*;
use web_sys::{AddEventListenerOptions, EventTarget};

use super::clock::ticks;

/// What counts as activity, on the window.
const ACTIVITY: [&str; 9] = [
    "pointermove",
    "pointerdown",
    "keydown",
    "wheel",
    "touchstart",
    "touchmove",
    "scroll",
    "focus",
    "pageshow",
];
/// What wakes a page without the user: time may have jumped, and the network come back.
const WAKES: [&str; 1] = ["online"];
/// Activity within this time of the last one is not looked at.
const THROTTLE_MS: f64 = 1_000.0;

/// What the page saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The user did something.
    Activity,
    /// The page was frozen or asleep, and runs again.
    Woken,
    /// The network is back.
    NetworkUp,
}

/// One event of one target, and what is called for it.
type Listener = (EventTarget, &'static str, Rc<Closure<dyn FnMut()>>);

/// Watches the page until dropped.
pub struct Watch {
    listeners: Vec<Listener>,
}

impl Watch {
    /// Watches the page, if there is one; `activity` says whether the user's doings count.
    pub fn start(activity: bool, seen: impl Fn(Seen) + 'static) -> Self {
        let mut watch = Self { listeners: Vec::new() };
        let seen = Rc::new(seen);
        let global: EventTarget = js_sys::global().unchecked_into();
        let network = seen.clone();
        watch.listen(&global, &WAKES, move || network(Seen::NetworkUp));
        let Some(document) = document() else { return watch };
        let woken = seen.clone();
        watch.listen(&document, &["resume"], move || woken(Seen::Woken));
        if activity {
            let last = Cell::new(f64::NEG_INFINITY);
            let act = seen.clone();
            watch.listen(&global, &ACTIVITY, move || {
                let now = ticks();
                if now - last.get() >= THROTTLE_MS {
                    last.set(now);
                    act(Seen::Activity);
                }
            });
            let target = document.clone();
            watch.listen(&document, &["visibilitychange"], move || {
                seen(if is_hidden(&target) { Seen::Woken } else { Seen::Activity });
            });
        }
        watch
    }

    fn listen(&mut self, target: &EventTarget, names: &[&'static str], callback: impl FnMut() + 'static) {
        let closure = Rc::new(Closure::<dyn FnMut()>::new(callback));
        let options = AddEventListenerOptions::new();
        options.set_capture(true);
        options.set_passive(true);
        for name in names {
            let function = (*closure).as_ref().unchecked_ref();
            let added = target
                .add_event_listener_with_callback_and_add_event_listener_options(name, function, &options);
            // A global without events (Node) has nothing to tell.
            if added.is_ok() {
                self.listeners.push((target.clone(), name, closure.clone()));
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for (target, name, closure) in &self.listeners {
            let function = (**closure).as_ref().unchecked_ref();
            let removed = target.remove_event_listener_with_callback_and_bool(name, function, true);
            debug_assert!(removed.is_ok(), "what was added can be removed");
        }
    }
}

/// Whether this runs in a page.
pub fn has_document() -> bool {
    document().is_some()
}

fn document() -> Option<EventTarget> {
    let document = js_sys::Reflect::get(&js_sys::global(), &"document".into()).ok()?;
    document.is_object().then(|| document.unchecked_into())
}

fn is_hidden(document: &EventTarget) -> bool {
    js_sys::Reflect::get(document, &"hidden".into()).is_ok_and(|hidden| hidden.is_truthy())
}
