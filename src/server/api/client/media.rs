//! Files: `/upload`, `/create`, and `/_matrix/client/v1/media`.
//!
//! Who reads shows an access token. The paths of before, which ask for none, have no file: `404 M_NOT_FOUND`, as the
//! specification has it of files that came after they were frozen. Links are not looked at: `/preview_url` is not there.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, Method, header, request::Parts},
    response::Response,
    routing::{get, post, put},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{Json, Path, Query, still_known},
        file_answer::{self, Named, ThumbnailQuery},
    },
    app::App,
    media::{Described, MAX_CONTENT_TYPE, MAX_FILE_NAME, Received, Sent},
    session::Session,
};

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    const READ: &str = "/_matrix/client/v1/media";
    let mut router = Router::new()
        .route("/_matrix/media/v1/create", post(create))
        .route(&format!("{READ}/config"), get(config))
        .route(&format!("{READ}/download/{{server}}/{{media}}"), get(download))
        // A client that is given no name asks for an empty one.
        .route(&format!("{READ}/download/{{server}}/{{media}}/"), get(download))
        .route(&format!("{READ}/download/{{server}}/{{media}}/{{file_name}}"), get(download_as))
        .route(&format!("{READ}/thumbnail/{{server}}/{{media}}"), get(thumbnail));
    for version in ["r0", "v1", "v3"] {
        let media = format!("/_matrix/media/{version}");
        router = router
            .route(&format!("{media}/config"), get(config))
            .route(&format!("{media}/upload"), post(upload))
            .route(&format!("{media}/upload/{{server}}/{{media}}"), put(upload_to))
            .route(&format!("{media}/download/{{server}}/{{media}}"), get(frozen))
            .route(&format!("{media}/download/{{server}}/{{media}}/"), get(frozen))
            .route(&format!("{media}/download/{{server}}/{{media}}/{{file_name}}"), get(frozen))
            .route(&format!("{media}/thumbnail/{{server}}/{{media}}"), get(frozen));
    }
    router
}

/// `GET /_matrix/client/v1/media/config`
async fn config(State(app): State<Arc<App>>, _: Session) -> Json<Value> {
    Json(json!({ "m.upload.size": app.media.max_upload_size() }))
}

/// What is asked of the paths that ask for no access token.
async fn frozen() -> ApiError {
    ApiError::not_found("files are read at /_matrix/client/v1/media, with an access token")
}

/// The query of an upload.
#[derive(Deserialize)]
struct UploadQuery {
    filename: Option<String>,
}

/// `POST /_matrix/media/v3/upload`
async fn upload(
    State(app): State<Arc<App>>,
    session: Session,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> ApiResult<Json<Value>> {
    let (received, described) = receive(&app, &session, query, request).await?;
    let id = app.media.keep(session.user, received, described).await?;
    Ok(Json(json!({ "content_uri": uri(&app, &id) })))
}

/// `POST /_matrix/media/v1/create`
async fn create(State(app): State<Arc<App>>, session: Session) -> ApiResult<Json<Value>> {
    let (id, expires_ms) = app.media.create(session.user).await?;
    Ok(Json(json!({ "content_uri": uri(&app, &id), "unused_expires_at": expires_ms })))
}

/// `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`
async fn upload_to(
    State(app): State<Arc<App>>,
    session: Session,
    Path((server, id)): Path<(String, String)>,
    Query(query): Query<UploadQuery>,
    request: Request,
) -> ApiResult<Json<Value>> {
    app.media.check_awaited(&server, &id, &session.user).await?;
    let (received, described) = receive(&app, &session, query, request).await?;
    app.media.keep_awaited(id, session.user, received, described).await?;
    Ok(Json(json!({})))
}

/// `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}`
async fn download(
    state: State<Arc<App>>,
    session: Session,
    Path((server, id)): Path<(String, String)>,
    query: Query<ThumbnailQuery>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let path = Path((server, id, String::new()));
    download_as(state, session, path, query, method, headers).await
}

/// `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}`
async fn download_as(
    State(app): State<Arc<App>>,
    session: Session,
    Path((server, id, file_name)): Path<(String, String, String)>,
    Query(query): Query<ThumbnailQuery>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let found = app.file(&session.user, &server, &id, query.patience()).await?;
    let file_name = Some(file_name.as_str()).filter(|name| !name.is_empty());
    let named = Named { etag: &id, file_name };
    Ok(file_answer::answer(&app.media, &found, &named, &method, &headers))
}

/// `GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}`
async fn thumbnail(
    State(app): State<Arc<App>>,
    session: Session,
    Path((server, id)): Path<(String, String)>,
    Query(query): Query<ThumbnailQuery>,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let wanted = query.wanted()?;
    let found = app.file(&session.user, &server, &id, query.patience()).await?;
    let thumbnail = app.media.thumbnail(&found, wanted, session.user.as_str()).await?;
    let etag = format!("{id}-{}", thumbnail.variant().replace('.', "-"));
    let named = Named { etag: &etag, file_name: None };
    Ok(file_answer::answer(&app.media, &thumbnail, &named, &method, &headers))
}

fn uri(app: &App, id: &str) -> String {
    format!("mxc://{}/{id}", app.server_name())
}

/// Takes the file in a request in, with what is said of it.
///
/// Who is logged out while it comes is not let in with it.
async fn receive(
    app: &Arc<App>,
    session: &Session,
    query: UploadQuery,
    request: Request,
) -> ApiResult<(Received, Described)> {
    let (head, body) = request.into_parts();
    let described = described(&head, query)?;
    let length =
        head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let waits = head.headers.contains_key(header::EXPECT);
    let ended = app.accounts.sessions_ended();
    let received = app.media.receive(&session.user, Sent { body, length, waits }).await?;
    still_known(app, &head, ended).await?;
    Ok((received, described))
}

fn described(head: &Parts, query: UploadQuery) -> ApiResult<Described> {
    let file_name = query.filename.filter(|name| !name.is_empty());
    if file_name.as_ref().is_some_and(|name| name.len() > MAX_FILE_NAME) {
        return Err(ApiError::invalid_param(format!("filename has at most {MAX_FILE_NAME} bytes")));
    }
    let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let content_type = content_type.map(str::trim).filter(|kind| !kind.is_empty()).map(ToOwned::to_owned);
    if content_type.as_ref().is_some_and(|kind| kind.len() > MAX_CONTENT_TYPE) {
        return Err(ApiError::invalid_param(format!("Content-Type has at most {MAX_CONTENT_TYPE} bytes")));
    }
    Ok(Described { content_type, file_name })
}
