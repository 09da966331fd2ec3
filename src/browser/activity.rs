//! What a person does in a page (W2), throttled so that a moving pointer costs next to nothing.
//!
//! Only what a person did counts, and nothing that a page does by itself: not its scripts' events, not a
//! timeline that scrolls, not a field that it focuses, not content that moves under a resting pointer.

use std::cell::Cell;
use std::rc::Rc;

use js_sys::Reflect;
use wasm_bindgen::prelude::*;
use web_sys::{AddEventListenerOptions, Event, EventTarget};

use super::clock::ticks;

/// What a person does, as it reaches the window. A scrollbar is a pointer's, dictation an input.
const DEEDS: [&str; 9] = [
    "pointermove",
    "pointerdown",
    "pointerup",
    "wheel",
    "touchstart",
    "touchmove",
    "keydown",
    "input",
    "pageshow",
];
/// Activity within this time of the last one is not looked at.
const THROTTLE_MS: f64 = 1_000.0;

/// What the page saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The user did something.
    Activity,
    /// The page was shown: somebody came back to it.
    Shown,
    /// The page was hidden.
    Hidden,
    /// The page was frozen, asleep or behind others, and is not any more.
    Woken,
    /// The network is back.
    NetworkUp,
    /// The network is gone.
    NetworkDown,
}

/// One event of one target, and what is called for it.
type Listener = (EventTarget, &'static str, Rc<Closure<dyn FnMut(Event)>>);

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
        for (name, what) in [
            ("online", Seen::NetworkUp),
            ("offline", Seen::NetworkDown),
            // The document's own events pass the window too.
            ("resume", Seen::Woken),
        ] {
            let seen = seen.clone();
            watch.listen(&global, &[name], move |_| seen(what));
        }
        let Some(document) = document() else { return watch };
        let (woken, window) = (seen.clone(), global.clone());
        watch.listen(&global, &["visibilitychange", "focus"], move |event| {
            // A field's focus is often a script's.
            if event.type_() != "focus" || is_own(&event, &window) {
                woken(Seen::Woken);
            }
        });
        if activity {
            watch.listen_to_deeds(&global, seen.clone());
            let target = document.clone();
            watch.listen(&document, &["visibilitychange"], move |event| {
                if event.is_trusted() {
                    seen(if is_hidden(&target) { Seen::Hidden } else { Seen::Shown });
                }
            });
        }
        watch
    }

    fn listen_to_deeds(&mut self, window: &EventTarget, seen: Rc<impl Fn(Seen) + 'static>) {
        let last = Rc::new(Cell::new(f64::NEG_INFINITY));
        let act = move || {
            let now = ticks();
            if now - last.get() >= THROTTLE_MS {
                last.set(now);
                seen(Seen::Activity);
            }
        };
        let pointer = Cell::new(None);
        let did = act.clone();
        self.listen(window, &DEEDS, move |event| {
            if event.is_trusted() && moved(&event, &pointer) {
                did();
            }
        });
        let itself = window.clone();
        self.listen(window, &["focus"], move |event| {
            if event.is_trusted() && is_own(&event, &itself) {
                act();
            }
        });
    }

    fn listen(
        &mut self,
        target: &EventTarget,
        names: &[&'static str],
        callback: impl FnMut(Event) + 'static,
    ) {
        let closure = Rc::new(Closure::<dyn FnMut(Event)>::new(callback));
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

/// Whether a pointer that moves is somewhere else on the screen than before; other events move nothing.
pub(super) fn moved(event: &Event, pointer: &Cell<Option<(f64, f64)>>) -> bool {
    if event.type_() != "pointermove" {
        return true;
    }
    let number = |name: &str| Reflect::get(event, &name.into()).ok().and_then(|value| value.as_f64());
    let at = number("screenX").zip(number("screenY"));
    at != pointer.replace(at)
}

/// Whether this runs in a page.
pub fn has_document() -> bool {
    document().is_some()
}

fn document() -> Option<EventTarget> {
    let document = Reflect::get(&js_sys::global(), &"document".into()).ok()?;
    document.is_object().then(|| document.unchecked_into())
}

/// Whether the event is of `target` itself, and of nothing in it.
fn is_own(event: &Event, target: &EventTarget) -> bool {
    event.target().as_ref() == Some(target)
}

fn is_hidden(document: &EventTarget) -> bool {
    Reflect::get(document, &"hidden".into()).is_ok_and(|hidden| hidden.is_truthy())
}
