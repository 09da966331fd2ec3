//! Encryption, as far as a sync tells of it: whose devices changed, and how many keys are left.

use std::collections::BTreeSet;

use ruma::OwnedUserId;
use serde_json::json;

use super::{encounters::Encounters, reader::Reader};
use crate::server::{
    api::error::ApiResult, app::App, change::position::LogPosition, json::Writer, store::StoreError,
};
use ruma::UserId;

impl Reader<'_> {
    /// Writes both. Of whom the reader met, the devices are to be asked for; of whom they share no room
    /// with any longer, to be forgotten. Only that is news: the counts come along.
    pub(super) async fn write_keys(&self, out: &mut Writer, encounters: &Encounters) -> ApiResult<bool> {
        let counts = self.app.keys.counts(self.session).await?;
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
        let (me, members) = (&self.session.user, &self.app.rooms.members);
        let mut changed = encounters.met.clone();
        if since.log < self.upto.log {
            changed.extend(device_lists_changed(self.app, me, since.log, self.upto.log).await?);
        }
        let left: BTreeSet<&OwnedUserId> =
            encounters.parted.iter().filter(|user| !members.shares_room(me, user)).collect();
        changed.retain(|user| !left.contains(user));
        if changed.is_empty() && left.is_empty() {
            return Ok(false);
        }
        out.raw("device_lists", &json!({ "changed": changed, "left": left }).to_string());
        Ok(true)
    }
}

/// Those whose devices or keys changed between two positions, as far as it concerns `reader`: the reader, and
/// whoever shares a room.
///
/// # Errors
/// When the store fails.
pub async fn device_lists_changed(
    app: &App,
    reader: &UserId,
    since: LogPosition,
    upto: LogPosition,
) -> Result<Vec<OwnedUserId>, StoreError> {
    let mut changed = app.keys.lists_changed(since, upto).await?;
    changed.retain(|user| user == reader || app.rooms.members.shares_room(reader, user));
    Ok(changed)
}
