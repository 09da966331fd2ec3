//! Encryption, as far as a sync tells of it: whose devices changed, and how many keys are left.

use std::collections::BTreeSet;

use ruma::OwnedUserId;
use serde_json::json;

use super::{json::Writer, reader::Reader};
use crate::server::http::ApiResult;

impl Reader<'_> {
    /// Writes both; `appeared` are those who share a room with the reader for the first time.
    /// Only changed devices are news: the counts come along.
    pub(super) fn write_keys(
        &self,
        out: &mut Writer,
        mut appeared: BTreeSet<OwnedUserId>,
    ) -> ApiResult<bool> {
        let counts = self.app.key_counts(self.session)?;
        let part = out.open("device_one_time_keys_count");
        for (algorithm, count) in &counts.one_time {
            out.number(algorithm, *count);
        }
        out.end_even_if_empty(part);
        let part = out.open_array("device_unused_fallback_key_types");
        for algorithm in &counts.unused_fallback {
            out.string_element(algorithm);
        }
        out.end_even_if_empty(part);
        // At first a client asks for the devices of everybody it wants to write to anyway.
        let Some(since) = self.since else { return Ok(false) };
        if since.log < self.upto.log {
            appeared.extend(self.app.device_lists_changed(&self.session.user, since.log, self.upto.log)?);
        }
        if appeared.is_empty() {
            return Ok(false);
        }
        out.raw("device_lists", &json!({ "changed": appeared, "left": [] }).to_string());
        Ok(true)
    }
}
