//! Which path goes to which function, with what goes around every route.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderName, Method, StatusCode, header},
    middleware::from_fn_with_state,
    response::Response,
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{Any, CorsLayer},
    set_header::SetResponseHeaderLayer,
};

use crate::server::{
    api::{
        self,
        around::{NO_STORE, panicked},
        error::ApiError,
        limit,
    },
    app::App,
    http::Shortcut,
    web,
};

/// Every route of the client API and the web client beside it, with everything that goes around a route.
pub fn router(app: Arc<App>) -> Router {
    let counted = from_fn_with_state(Arc::clone(&app), limit::count);
    around(api::client::routes().layer(counted)).with_state(app)
}

/// What needs no router of what [`router`] answers, once a connection has sent such a request before.
pub fn shortcut(app: Arc<App>) -> Shortcut {
    Arc::new(move |request| api::client::shortcut(&app, request))
}

/// Every route of the server-server API.
pub fn federation_router(app: Arc<App>) -> Router {
    let counted = from_fn_with_state(Arc::clone(&app), limit::count_stranger);
    api::federation::routes()
        .fallback(|| async { ApiError::unrecognized() })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(counted)
        .layer(CatchPanicLayer::custom(panicked))
        // There is nothing to store in what has no content; reminders are answered with it, and every byte of theirs
        // counts.
        .layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, |answer: &Response| {
            (answer.status() != StatusCode::NO_CONTENT).then_some(NO_STORE)
        }))
        .with_state(app)
}

/// CORS everywhere, Matrix errors for what is not there, and an answer even when a handler panics.
fn around<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            HeaderName::from_static("x-requested-with"),
            HeaderName::from_static("last-event-id"),
        ])
        .max_age(Duration::from_secs(86_400));
    routes
        .fallback(web::serve)
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, NO_STORE))
        .layer(cors)
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request, routing::get};
    use tower::ServiceExt;

    use super::*;

    async fn broken() -> &'static str {
        panic!("a bug")
    }

    #[tokio::test]
    async fn a_handler_that_panics_is_a_matrix_error_with_cors_and_without_the_cause() {
        let router = around(Router::new().route("/broken", get(broken)));
        for _ in 0..2 {
            let request = Request::get("/broken").header("origin", "https://example.org");
            let request = request.body(Body::empty()).expect("a request");
            let response = router.clone().oneshot(request).await.expect("an answer");
            assert_eq!(response.status(), 500);
            assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
            assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
            let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.expect("a body");
            assert_eq!(&body[..], br#"{"errcode":"M_UNKNOWN","error":"internal server error"}"#);
        }
    }
}
