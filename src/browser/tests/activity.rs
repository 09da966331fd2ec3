//! What counts as a person's doing, and what does not.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use wasm_bindgen::JsCast;
use wasm_bindgen_test::wasm_bindgen_test as test;
use web_sys::Event;

use super::super::activity::{Seen, Watch, moved};
use super::{js, pass};

/// A watch, and what it saw.
fn watch(activity: bool) -> (Watch, Rc<RefCell<Vec<Seen>>>) {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let heard = Rc::clone(&seen);
    (Watch::start(activity, move |what| heard.borrow_mut().push(what)), seen)
}

/// A script writes into a field of the page, which browsers report as they report a person's typing.
const TYPE: &str = "const field = document.body.appendChild(document.createElement('textarea'));
    field.focus(); document.execCommand('insertText', false, 'x'); field.remove();";

#[test]
fn what_a_script_makes_up_is_no_activity() {
    let (watch, seen) = watch(true);
    js("for (const type of ['pointermove', 'pointerdown', 'pointerup', 'wheel', 'touchstart', 'touchmove', 'keydown',
            'input', 'pageshow', 'focus', 'scroll']) {
            document.body.dispatchEvent(new Event(type, { bubbles: true }));
            dispatchEvent(new Event(type));
        }
        document.dispatchEvent(new Event('visibilitychange'));");
    // Looking whether the server is back hurts nobody; it is no person's doing.
    assert!(seen.borrow().iter().all(|what| *what == Seen::Woken), "{:?}", seen.borrow());
    drop(watch);
}

#[test]
async fn neither_a_field_that_is_focused_nor_a_list_that_scrolls_is_activity() {
    let (watch, seen) = watch(true);
    js("const list = document.body.appendChild(document.createElement('div'));
        list.id = 'list'; list.style.cssText = 'height: 50px; overflow: auto';
        list.innerHTML = '<input><p style=\"height: 500px\">long</p>';
        list.addEventListener('scroll', () => { list.dataset.scrolled = 'yes'; });
        list.addEventListener('focusin', (event) => { list.dataset.trusted = event.isTrusted; });
        list.querySelector('input').focus(); list.scrollTop = 100;");
    pass(100).await;
    assert_eq!(js("return document.getElementById('list').dataset.scrolled"), "yes", "it did scroll");
    assert_eq!(js("return document.getElementById('list').dataset.trusted"), "true", "and was focused");
    js("document.getElementById('list').remove()");
    assert_eq!(*seen.borrow(), []);
    drop(watch);
}

#[test]
fn what_a_browser_reports_of_a_person_is_activity_once_in_a_while() {
    let (watch, seen) = watch(true);
    js(TYPE);
    js(TYPE);
    assert_eq!(*seen.borrow(), [Seen::Activity]);
    drop(watch);
    js(TYPE);
    assert_eq!(*seen.borrow(), [Seen::Activity], "nothing is heard by a watch that ended");
}

#[test]
fn without_a_wish_to_know_nobodys_doings_are_heard() {
    let (watch, seen) = watch(false);
    js(TYPE);
    assert_eq!(*seen.borrow(), []);
    drop(watch);
}

#[test]
fn the_network_and_the_end_of_a_sleep_are_heard_either_way() {
    for activity in [true, false] {
        let (watch, seen) = watch(activity);
        js("dispatchEvent(new Event('offline')); dispatchEvent(new Event('online'));
            document.dispatchEvent(new Event('resume'));");
        assert_eq!(*seen.borrow(), [Seen::NetworkDown, Seen::NetworkUp, Seen::Woken]);
        drop(watch);
    }
}

#[test]
fn a_pointer_that_rests_while_the_page_moves_under_it_does_nothing() {
    let pointer = Cell::new(None);
    let event = |kind: &str, x: i32| {
        let line = format!("return new PointerEvent('{kind}', {{ screenX: {x}, screenY: 7 }})");
        js(&line).unchecked_into::<Event>()
    };
    let rows = [
        ("pointermove", 1, true),
        ("pointermove", 1, false),
        ("pointerdown", 1, true),
        ("pointermove", 2, true),
    ];
    for (kind, x, expected) in rows {
        assert_eq!(moved(&event(kind, x), &pointer), expected, "{kind} at {x}");
    }
}
