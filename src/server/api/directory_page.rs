//! A page of the public directory, as clients and other servers get it.

use ruma::{
    UInt,
    directory::{Filter, PublicRoomsChunk},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::{
    error::{ApiError, ApiResult},
    extract::Json,
};
use crate::server::{app::App, rooms};

/// A page of the public directory.
#[derive(Serialize)]
pub(super) struct Directory {
    chunk: Vec<PublicRoomsChunk>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<String>,
    total_room_count_estimate: usize,
}

impl Directory {
    /// The page that another server answered with. What is no room in it is left out.
    pub(super) fn of_other(said: &RawValue) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Said {
            #[serde(default)]
            chunk: Vec<Value>,
            next_batch: Option<String>,
            prev_batch: Option<String>,
            total_room_count_estimate: Option<usize>,
        }
        let Said { chunk, next_batch, prev_batch, total_room_count_estimate } =
            serde_json::from_str(said.get())?;
        let chunk: Vec<PublicRoomsChunk> =
            chunk.into_iter().filter_map(|room| serde_json::from_value(room).ok()).collect();
        let total_room_count_estimate = total_room_count_estimate.unwrap_or(chunk.len());
        Ok(Self { chunk, next_batch, prev_batch, total_room_count_estimate })
    }
}

/// The page that begins where `since` says.
pub(super) async fn directory_page(
    app: &App,
    filter: &Filter,
    limit: Option<UInt>,
    since: Option<&str>,
) -> ApiResult<Json<Directory>> {
    let skip = since.map_or(Ok(0), |since| {
        let number = since.strip_prefix('n').and_then(|n| n.parse::<u32>().ok());
        number.ok_or_else(|| ApiError::invalid_param("since is not a token of this server"))
    })?;
    let limit = limit.map_or(rooms::MAX_LISTED, |n| usize::try_from(u64::from(n)).unwrap_or(usize::MAX));
    let page = app.rooms.public_rooms(filter, skip as usize, limit).await?;
    Ok(Json(Directory {
        chunk: page.chunk,
        next_batch: page.next.map(|skip| format!("n{skip}")),
        prev_batch: page.previous.map(|skip| format!("n{skip}")),
        total_room_count_estimate: page.total,
    }))
}
