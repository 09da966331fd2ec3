//! What is around every answer to a client: what it says that the handler did not, and that there is one at all.
//!
//! The router does it by layers; here is the same for answers that are made without it.

use std::{
    any::Any,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use axum::{
    Extension,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use super::error::ApiError;
use crate::server::http::{Handover, Lendable, Making};

/// What an answer says that does not say otherwise: it is for who asked, and for this moment.
pub const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// On what the router's CORS layer says that an answer depends.
const VARY: HeaderValue =
    HeaderValue::from_static("origin, access-control-request-method, access-control-request-headers");

/// An answer that may be a while in coming: where its connection is `lendable`, HTTP has nothing to do with that meanwhile.
pub(super) async fn in_a_while<A: IntoResponse>(
    lendable: Option<Extension<Lendable>>,
    answer: impl Future<Output = A> + Send + 'static,
) -> Response {
    if lendable.is_none() {
        return answer.await.into_response();
    }
    let mut placeholder = Response::default();
    placeholder.extensions_mut().insert(Handover::while_made(around(answer)));
    placeholder
}

/// An answer as it leaves the router.
pub(super) fn around<A: IntoResponse>(answer: impl Future<Output = A> + Send + 'static) -> Making {
    Box::pin(async move {
        let mut answer = pin!(answer);
        let mut answer = poll_fn(|cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx)));
            polled.map_or_else(|panic| Poll::Ready(panicked(panic)), |polled| polled.map(A::into_response))
        })
        .await;
        let headers = answer.headers_mut();
        headers.entry(header::CACHE_CONTROL).or_insert(NO_STORE);
        headers.insert(header::VARY, VARY);
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        answer
    })
}

/// A handler panicked, and the panic was logged: the client is told, the server goes on.
pub fn panicked(_: Box<dyn Any + Send>) -> Response {
    ApiError::internal("a request handler panicked").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_panics_while_it_is_made_is_a_matrix_error_with_cors_and_without_the_cause() {
        let broken = async { panic!("a bug") };
        let answer = around::<ApiError>(broken).await;
        assert_eq!(answer.status(), 500);
        assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        let body = axum::body::to_bytes(answer.into_body(), 1 << 16).await.expect("a body");
        assert_eq!(&body[..], br#"{"errcode":"M_UNKNOWN","error":"internal server error"}"#);
    }
}
