//! Making rooms.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response};
use ruma::api::client::room::create_room;

use super::{action::Asked, entry::EntryForm};
use crate::server::{
    api::{error::ApiResult, extract::Ruma, ruma_route::RumaRoute},
    app::App,
    rooms::NO_ROOM,
    session::Session,
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().ruma_route::<create_room::v3::Request, _, _>(create)
}

/// `POST /_matrix/client/v3/createRoom`
async fn create(
    State(app): State<Arc<App>>,
    session: Session,
    (asked, form): (Asked, EntryForm),
    Ruma(request): Ruma<create_room::v3::Request>,
) -> ApiResult<Response> {
    let (actor, order) = asked.of(&session)?;
    let rooms = Arc::clone(&app.rooms);
    let act = async move { rooms.create(actor, request).await };
    let room = app.rooms.in_order(&session, NO_ROOM, order, act).await?;
    form.answer(&app, &session, &room.clone(), Ruma(create_room::v3::Response::new(room))).await
}
