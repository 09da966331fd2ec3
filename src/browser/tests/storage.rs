//! What outlives a page, in a real `localStorage`.

use wasm_bindgen::JsValue;
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::super::storage::Store;
use super::js;

fn open(user: &str) -> Store {
    Store::open(JsValue::UNDEFINED, "http://hs", user).expect("a page has a storage")
}

#[test]
fn what_is_kept_is_there_for_the_same_user_only() {
    js("localStorage.clear(); localStorage.setItem('another', 'application')");
    let (ann, ben) = (open("@ann:hs"), open("@ben:hs"));
    ann.set("last", Some("7")).unwrap();
    ann.set("action.7", Some("{\"ä\":\"☃\"}")).unwrap();
    ben.set("last", Some("9")).unwrap();
    let mut all = open("@ann:hs").all();
    all.sort();
    assert_eq!(all, [("action.7".into(), "{\"ä\":\"☃\"}".into()), ("last".into(), "7".into())]);
    ann.set("action.7", None).unwrap();
    assert_eq!(
        (ann.get("action.7"), ann.get("last"), ben.get("last")),
        (None, Some("7".into()), Some("9".into()))
    );
    js("localStorage.clear()");
}

#[test]
fn a_storage_that_is_full_says_so_and_loses_nothing_that_was_there() {
    js("localStorage.clear()");
    let store = open("@ann:hs");
    store.set("last", Some("7")).unwrap();
    assert!(store.set("action.8", Some(&"x".repeat(11 << 20))).is_err());
    assert_eq!((store.get("last"), store.get("action.8")), (Some("7".into()), None));
    js("localStorage.clear()");
}

#[test]
fn an_application_may_pass_its_own_or_none() {
    assert!(Store::open(JsValue::NULL, "http://hs", "@ann:hs").is_none());
    assert!(Store::open(JsValue::from_str("no storage"), "http://hs", "@ann:hs").is_none());
    let own = js("const kept = new Map();
        return { get length() { return kept.size }, key: (at) => [...kept.keys()][at] ?? null,
            getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => void kept.set(key, value),
            removeItem: (key) => void kept.delete(key) };");
    let store = Store::open(own, "http://hs", "@ann:hs").unwrap();
    store.set("last", Some("7")).unwrap();
    assert_eq!(store.all(), [("last".into(), "7".into())]);
}
