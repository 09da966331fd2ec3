//! Routes whose paths and method come from ruma's endpoint metadata.

use std::sync::Arc;

use axum::{
    Router,
    handler::Handler,
    routing::{MethodFilter, on},
};
use ruma::api::{Metadata, path_builder::PathBuilder};

use crate::server::app::App;

/// Adds the endpoint of a ruma request type to a router.
pub trait RumaRoute: Sized {
    /// Registers `handler` for every path, old and new, of the endpoint `R`.
    #[must_use]
    fn ruma_route<R, H, T>(self, handler: H) -> Self
    where
        R: Metadata,
        H: Handler<T, Arc<App>>,
        T: 'static;
}

impl RumaRoute for Router<Arc<App>> {
    fn ruma_route<R, H, T>(mut self, handler: H) -> Self
    where
        R: Metadata,
        H: Handler<T, Arc<App>>,
        T: 'static,
    {
        // A constant of the specification, checked by the routes test: every method used there has a filter.
        let filter = MethodFilter::try_from(R::METHOD).expect("ruma endpoints use standard methods");
        for path in R::PATH_BUILDER.all_paths() {
            self = self.route(path, on(filter, handler.clone()));
        }
        self
    }
}
