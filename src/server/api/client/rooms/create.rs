//! Making rooms.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Router, extract::State, response::Response};
use ruma::{RoomAliasId, api::client::room::create_room};

use super::{action::Asked, directory::whose, entry::EntryForm};
use crate::server::{
    api::{
        error::ApiResult,
        extract::{By, Ruma},
        ruma_route::RumaRoute,
    },
    app::App,
    rooms::{MAX_INVITES, NO_ROOM},
    session::Session,
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().ruma_route::<create_room::v3::Request, _, _>(create)
}

/// `POST /_matrix/client/v3/createRoom`
async fn create(
    State(app): State<Arc<App>>,
    session: Session,
    (asked, form, by): (Asked, EntryForm, By),
    Ruma(request): Ruma<create_room::v3::Request>,
) -> ApiResult<Response> {
    let alias = request.room_alias_name.as_ref();
    let alias = alias.map(|name| RoomAliasId::parse(format!("#{name}:{}", app.server_name())));
    if let Some(Ok(alias)) = alias {
        whose(&app, &by, &alias)?;
    }
    // Of a request that is refused nobody is asked anything.
    let invited: BTreeSet<_> =
        request.invite.iter().filter(|_| request.invite.len() <= MAX_INVITES).collect();
    for user in invited {
        app.make_if_bridged(&session.user, user).await?;
    }
    let (actor, order) = asked.of(&session)?;
    let creating = Arc::clone(&app);
    let act = async move { creating.create(actor, request).await };
    let room = app.rooms.in_order(&session, NO_ROOM, order, act).await?;
    form.answer(&app, &session, &room.clone(), Ruma(create_room::v3::Response::new(room))).await
}
