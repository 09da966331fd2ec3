//! A small object that an application gives, read field by field: what is wrong is told by name, and a field that
//! there is not is refused, since nobody writes one for nothing.

use js_sys::{Object, Reflect};
use wasm_bindgen::prelude::*;

use super::json::type_error;
use crate::core::client::shape::unknown_field;

/// An object that was passed, and what to call it.
pub struct Given<'a> {
    object: &'a JsValue,
    name: &'static str,
}

impl<'a> Given<'a> {
    /// An object with any fields.
    pub fn open(object: &'a JsValue, name: &'static str) -> Result<Self, JsValue> {
        if !object.is_object() {
            return Err(type_error(&[name, " must be an object"].concat()));
        }
        Ok(Self { object, name })
    }

    /// An object with no fields but these.
    pub fn only(object: &'a JsValue, name: &'static str, fields: &[&str]) -> Result<Self, JsValue> {
        let given = Self::open(object, name)?;
        for field in
            Object::keys(object.unchecked_ref::<Object>()).iter().filter_map(|field| field.as_string())
        {
            if !fields.contains(&&*field) {
                return Err(type_error(&unknown_field(name, &field, fields.iter().copied())));
            }
        }
        Ok(given)
    }

    /// A field as it is.
    pub fn value(&self, field: &str) -> Result<JsValue, JsValue> {
        Reflect::get(self.object, &field.into())
    }

    /// A string that has to be there.
    pub fn text(&self, field: &str) -> Result<String, JsValue> {
        self.optional_text(field)?.ok_or_else(|| self.refused(field, "a string"))
    }

    /// A string, if there is one.
    pub fn optional_text(&self, field: &str) -> Result<Option<String>, JsValue> {
        self.optional(field, "a string", JsValue::as_string)
    }

    /// A number, if there is one.
    pub fn optional_number(&self, field: &str) -> Result<Option<f64>, JsValue> {
        self.optional(field, "a number", JsValue::as_f64)
    }

    /// A truth value, if there is one.
    pub fn optional_flag(&self, field: &str) -> Result<Option<bool>, JsValue> {
        self.optional(field, "true or false", JsValue::as_bool)
    }

    fn optional<T>(
        &self,
        field: &str,
        wanted: &str,
        read: fn(&JsValue) -> Option<T>,
    ) -> Result<Option<T>, JsValue> {
        let value = self.value(field)?;
        if value.is_undefined() || value.is_null() {
            return Ok(None);
        }
        read(&value).map(Some).ok_or_else(|| self.refused(field, wanted))
    }

    fn refused(&self, field: &str, wanted: &str) -> JsValue {
        type_error(&[self.name, ".", field, " must be ", wanted].concat())
    }
}
