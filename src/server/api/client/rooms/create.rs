//! Making rooms.

use std::sync::Arc;

use axum::{Router, extract::State};
use ruma::api::client::room::create_room;

use crate::server::{
    api::{error::ApiResult, extract::Ruma, ruma_route::RumaRoute},
    app::App,
    session::Session,
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().ruma_route::<create_room::v3::Request, _, _>(create)
}

/// `POST /_matrix/client/v3/createRoom`
async fn create(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<create_room::v3::Request>,
) -> ApiResult<Ruma<create_room::v3::Response>> {
    Ok(Ruma(create_room::v3::Response::new(app.rooms.create(&session, request).await?)))
}
