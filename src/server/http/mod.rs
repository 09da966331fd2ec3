//! HTTP: the accept loop, the router with its layers, and the shape of requests, answers and errors.

mod accept;
mod error;
mod extract;
mod ruma_route;

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit, http::Method, response::IntoResponse};
use tower_http::cors::{Any, CorsLayer};

pub use self::{
    accept::serve,
    error::{ApiError, ApiResult},
    extract::{Json, Path, Query, Ruma},
    ruma_route::RumaRoute,
};
pub use super::accounts::Session;
use super::{api, app::App, web};

/// The largest request body that is read, in bytes. Larger ones are refused with `M_TOO_LARGE`.
pub const MAX_BODY: usize = 1 << 20;

/// Every route of the client API, the web client beside it, with CORS everywhere and Matrix errors for what is not there.
pub fn router(app: Arc<App>) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS])
        .allow_headers([
            axum::http::header::AUTHORIZATION,
            axum::http::header::CONTENT_TYPE,
            axum::http::header::ACCEPT,
            axum::http::HeaderName::from_static("x-requested-with"),
            axum::http::HeaderName::from_static("last-event-id"),
        ])
        .max_age(std::time::Duration::from_secs(86_400));
    api::routes()
        .fallback(web::serve)
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed().into_response() })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(cors)
        .with_state(app)
}
