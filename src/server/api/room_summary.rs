//! A room in a few words, as clients and other servers get it.

use serde_json::{Map, Value, json};

use super::error::{ApiError, ApiResult};
use crate::server::rooms::Summary;

/// As the specification has it.
pub(super) fn summary_json(summary: Summary) -> ApiResult<Map<String, Value>> {
    let listed = serde_json::to_value(&summary.listed).map_err(ApiError::internal)?;
    let Value::Object(mut object) = listed else { return Err(ApiError::internal("a room is no object")) };
    // Left out of the directory where it is what it is by default.
    object.insert("join_rule".into(), summary.listed.join_rule.as_str().into());
    object.insert("room_version".into(), summary.version.clone().into());
    object.insert("im.nheko.summary.room_version".into(), summary.version.into());
    if let Some(encryption) = summary.encryption {
        object.insert("encryption".into(), encryption.clone().into());
        object.insert("im.nheko.summary.encryption".into(), encryption.into());
    }
    if !summary.allowed.is_empty() {
        object.insert("allowed_room_ids".into(), json!(summary.allowed));
    }
    Ok(object)
}
