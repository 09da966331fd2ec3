//! Files of this server's users, for other servers: `/_matrix/federation/v1/media`.
//!
//! Source: Matrix server-server API, "Content repository".

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};

use super::signed::Signed;
use crate::server::{
    api::{
        error::ApiResult,
        extract::{Path, Query},
        file_answer::{ThumbnailQuery, describe},
    },
    app::App,
    media::Found,
};

/// `GET /_matrix/federation/v1/media/download/{mediaId}`
pub(super) async fn download(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(query): Query<ThumbnailQuery>,
    _: Signed,
) -> ApiResult<Response> {
    let found = app.media.find(app.server_name().as_str(), &id, query.patience()).await?;
    Ok(parts(&app, &found))
}

/// `GET /_matrix/federation/v1/media/thumbnail/{mediaId}`
pub(super) async fn thumbnail(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(query): Query<ThumbnailQuery>,
    signed: Signed,
) -> ApiResult<Response> {
    let wanted = query.wanted()?;
    let found = app.media.find(app.server_name().as_str(), &id, query.patience()).await?;
    let thumbnail = app.media.thumbnail(&found, wanted, signed.origin.as_str()).await?;
    Ok(parts(&app, &thumbnail))
}

/// A file after what is said of it, which is nothing yet.
fn parts(app: &App, found: &Found) -> Response {
    // Nobody can have written it into a file.
    let boundary = format!("{:032x}", rand::random::<u128>());
    let mut said = HeaderMap::new();
    describe(&mut said, found, None);
    let mut head = format!("--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--{boundary}\r\n")
        .into_bytes();
    for (name, value) in &said {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    let tail = format!("\r\n--{boundary}--\r\n");
    let body = app.media.read_between(head.into(), found, tail.into());
    ([(header::CONTENT_TYPE, format!("multipart/mixed; boundary={boundary}"))], body).into_response()
}
