//! What outlives the page: the send queue and the last action ID, in `localStorage` or the like.

use js_sys::Reflect;
use wasm_bindgen::prelude::*;
use web_sys::Storage;

/// One user's part of a storage.
#[derive(Debug)]
pub struct Store {
    storage: Storage,
    prefix: String,
}

impl Store {
    /// The part of `storage` for this user; `undefined` is `localStorage` where there is one, `null` is
    /// none.
    pub fn open(storage: JsValue, base_url: &str, user_id: &str) -> Option<Self> {
        let storage = if storage.is_undefined() {
            // Reading the property throws where the page may not store anything.
            let global = js_sys::global();
            // Node has the property behind a warning; a Node program passes its storage.
            Reflect::has(&global, &"document".into()).ok().filter(|&page| page)?;
            Reflect::get(&global, &"localStorage".into()).ok()?
        } else {
            storage
        };
        if !storage.is_object() {
            return None;
        }
        let prefix = ["pilotlight/", base_url, "/", user_id, "/"].concat();
        Some(Self { storage: storage.unchecked_into(), prefix })
    }

    /// Everything that is kept, by key.
    pub fn all(&self) -> Vec<(String, String)> {
        let keys =
            (0..self.storage.length().unwrap_or(0)).filter_map(|at| self.storage.key(at).ok().flatten());
        let own =
            keys.filter_map(|key| key.strip_prefix(&self.prefix).map(str::to_owned)).collect::<Vec<_>>();
        own.into_iter().filter_map(|key| self.get(&key).map(|value| (key, value))).collect()
    }

    /// One value.
    pub fn get(&self, key: &str) -> Option<String> {
        self.storage.get_item(&self.full(key)).ok().flatten()
    }

    /// Keeps or deletes a value. A full storage keeps nothing more: the message still goes out, it is
    /// only not safe from a reload.
    pub fn set(&self, key: &str, value: Option<&str>) -> Result<(), JsValue> {
        match value {
            Some(value) => self.storage.set_item(&self.full(key), value),
            None => self.storage.remove_item(&self.full(key)),
        }
    }

    fn full(&self, key: &str) -> String {
        [&self.prefix, key].concat()
    }
}
