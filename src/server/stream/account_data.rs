//! The user's own data: for all rooms, and for single ones.

use std::collections::BTreeMap;

use ruma::{OwnedRoomId, RoomId, push::Ruleset};
use serde_json::json;

use super::{reader::Reader, window::Passage};
use crate::server::{
    accounts::data::PUSH_RULES,
    api::error::ApiResult,
    change::position::LogPosition,
    event::stored::Membership,
    json::{Writer, append_string},
    store::AccountData,
};

/// What changed, by room.
pub(super) type RoomAccountData = BTreeMap<OwnedRoomId, Vec<AccountData>>;

impl Reader<'_> {
    /// What changed, for all rooms and for single ones.
    pub(super) async fn account_data(&self) -> ApiResult<(Vec<AccountData>, RoomAccountData)> {
        let (mut global, mut of_rooms) = (Vec::new(), RoomAccountData::new());
        let (user, since) = (&self.session.user, self.log_since());
        if self.app.own_data.has_news(user, since) {
            for data in self.app.store.account_data_since(user, since, self.upto.log).await? {
                match &data.room {
                    None => global.push(data),
                    Some(room) => of_rooms.entry(room.clone()).or_default().push(data),
                }
            }
        }
        Ok((global, of_rooms))
    }

    /// What is to be told with `room`: all of it to a reader who was not in the room before.
    pub(super) async fn account_data_of(
        &self,
        room: &RoomId,
        passage: Passage,
        changed: &RoomAccountData,
    ) -> ApiResult<Vec<AccountData>> {
        let user = &self.session.user;
        if passage.was == Some(Membership::Join) || !self.app.own_data.has_news(user, LogPosition::START) {
            return Ok(changed.get(room).cloned().unwrap_or_default());
        }
        let mut all = self.app.store.account_data_since(user, LogPosition::START, self.upto.log).await?;
        all.retain(|data| data.room.as_deref() == Some(room));
        Ok(all)
    }

    /// Writes what changed for all rooms; at first also Matrix's push rules, where the user made none.
    pub(super) fn write_account_data(&self, out: &mut Writer, changed: &[AccountData]) -> bool {
        let part = out.open("account_data");
        let events = out.open_array("events");
        for data in changed.iter().filter(|data| self.filter.account_data(&data.kind)) {
            out.element(&event(data));
        }
        let has_rules = self.since.is_some() || changed.iter().any(|data| data.kind == PUSH_RULES);
        if !has_rules && self.filter.account_data(PUSH_RULES) {
            let rules = Ruleset::server_default(&self.session.user);
            out.element(&json!({ "type": PUSH_RULES, "content": { "global": rules } }).to_string());
        }
        out.end(events);
        out.end(part)
    }
}

/// A piece of account data as the client gets it.
pub(super) fn event(data: &AccountData) -> String {
    let mut out = br#"{"type":"#.to_vec();
    append_string(&mut out, &data.kind);
    out.extend_from_slice(br#","content":"#);
    out.extend_from_slice(data.content.as_bytes());
    out.push(b'}');
    String::from_utf8(out).expect("is put together from strings")
}
