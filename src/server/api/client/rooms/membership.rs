//! Joining, inviting, leaving and the rest; who is in a room.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response};
use ruma::{
    OwnedRoomId, OwnedRoomOrAliasId, RoomAliasId, RoomId, RoomOrAliasId, UserId,
    api::client::{
        knock::knock_room,
        membership::{
            ban_user, forget_room, invite_user, join_room_by_id, join_room_by_id_or_alias, joined_rooms,
            kick_user, leave_room, unban_user,
        },
    },
};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{action::Asked, directory::room_of_alias, entry::EntryForm, via::Via};
use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{AnswerForm, Json, Path, Ruma},
        ruma_route::RumaRoute,
    },
    app::App,
    session::Session,
};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .ruma_route::<join_room_by_id::v3::Request, _, _>(join)
        .ruma_route::<join_room_by_id_or_alias::v3::Request, _, _>(join_by_alias)
        .ruma_route::<knock_room::v3::Request, _, _>(knock)
        .ruma_route::<invite_user::v3::Request, _, _>(invite)
        .ruma_route::<leave_room::v3::Request, _, _>(leave)
        .ruma_route::<forget_room::v3::Request, _, _>(forget)
        .ruma_route::<kick_user::v3::Request, _, _>(kick)
        .ruma_route::<ban_user::v3::Request, _, _>(ban)
        .ruma_route::<unban_user::v3::Request, _, _>(unban)
        .ruma_route::<joined_rooms::v3::Request, _, _>(joined)
}

/// `POST /_matrix/client/v3/rooms/{roomId}/join`
async fn join(
    State(app): State<Arc<App>>,
    session: Session,
    (asked, form): (Asked, EntryForm),
    (via, Path(room_id)): (Via, Path<OwnedRoomId>),
    Json(own): Json<Box<RawValue>>,
) -> ApiResult<Response> {
    let room_id = enter(&app, &session, &asked, (room_id, via), own).await?;
    form.answer(&app, &session, &room_id.clone(), Ruma(join_room_by_id::v3::Response::new(room_id))).await
}

/// `POST /_matrix/client/v3/join/{roomIdOrAlias}`
async fn join_by_alias(
    State(app): State<Arc<App>>,
    session: Session,
    (asked, form): (Asked, EntryForm),
    (via, Path(room_id_or_alias)): (Via, Path<OwnedRoomOrAliasId>),
    Json(own): Json<Box<RawValue>>,
) -> ApiResult<Response> {
    // An alias may lead elsewhere since the action was done.
    let room_id = match app.rooms.room_joined(&asked.of(&session)?.0).await? {
        Some(done) => done,
        None => {
            let named = resolve(&app, &room_id_or_alias, via, Some(&session)).await?;
            enter(&app, &session, &asked, named, own).await?
        }
    };
    let matrix = Ruma(join_room_by_id_or_alias::v3::Response::new(room_id.clone()));
    form.answer(&app, &session, &room_id, matrix).await
}

async fn enter(
    app: &Arc<App>,
    session: &Session,
    asked: &Asked,
    (room_id, Via(via)): (OwnedRoomId, Via),
    own: Box<RawValue>,
) -> ApiResult<OwnedRoomId> {
    let (actor, order) = asked.of(session)?;
    let (entered, room) = (Arc::clone(app), room_id.clone());
    let act = async move { entered.join_by(actor, &room, via, own.get()).await };
    Ok(app.rooms.in_order(session, room_id.as_str(), order, act).await?)
}

/// `POST /_matrix/client/v3/knock/{roomIdOrAlias}`
async fn knock(
    State(app): State<Arc<App>>,
    session: Session,
    (asked, via): (Asked, Via),
    Ruma(request): Ruma<knock_room::v3::Request>,
) -> ApiResult<Ruma<knock_room::v3::Response>> {
    let (room_id, Via(via)) = resolve(&app, &request.room_id_or_alias, via, Some(&session)).await?;
    let (actor, order) = asked.of(&session)?;
    let (knocking, room) = (Arc::clone(&app), room_id.clone());
    let act = async move { knocking.knock(actor, &room, via, request.reason).await };
    app.rooms.in_order(&session, room_id.as_str(), order, act).await?;
    Ok(Ruma(knock_room::v3::Response::new(room_id)))
}

/// Who is to be invited.
#[derive(Deserialize)]
struct Invitation {
    user_id: Option<String>,
    reason: Option<String>,
    /// Of somebody without a user ID, by another way than Matrix.
    address: Option<IgnoredAny>,
}

/// Whom one has invited, as far as they say (M12); empty if that was not asked for.
#[derive(Default, Serialize)]
struct Invited {
    #[serde(rename = "org.pilotlight.displayname", skip_serializing_if = "Option::is_none")]
    displayname: Option<String>,
    #[serde(rename = "org.pilotlight.avatar_url", skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
}

/// `POST /_matrix/client/v3/rooms/{roomId}/invite`
async fn invite(
    State(app): State<Arc<App>>,
    session: Session,
    form: AnswerForm,
    asked: Asked,
    Path(room_id): Path<OwnedRoomId>,
    Json(Invitation { user_id, reason, address }): Json<Invitation>,
) -> ApiResult<Json<Invited>> {
    let Some(user_id) = user_id else {
        return Err(match address {
            Some(_) => ApiError::forbidden("this server cannot invite by e-mail or phone number"),
            None => ApiError::missing_param("user_id: who is to be invited"),
        });
    };
    let user_id = UserId::parse(user_id).map_err(|_| ApiError::invalid_param("user_id is not a user ID"))?;
    if app.rooms.members.is_joined(&session.user, &room_id) {
        app.make_if_bridged(&session.user, &user_id).await?;
    }
    let (actor, order) = asked.of(&session)?;
    let (inviting, room) = (Arc::clone(&app), room_id.clone());
    let act = async move { inviting.invite(actor, &room, &user_id, reason).await };
    let profile = app.rooms.in_order(&session, room_id.as_str(), order, act).await?;
    Ok(Json(match form {
        AnswerForm::Matrix => Invited::default(),
        AnswerForm::Full => Invited { displayname: profile.displayname, avatar_url: profile.avatar_url },
    }))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/leave`
async fn leave(
    State(app): State<Arc<App>>,
    session: Session,
    asked: Asked,
    Ruma(request): Ruma<leave_room::v3::Request>,
) -> ApiResult<Ruma<leave_room::v3::Response>> {
    let (actor, order) = asked.of(&session)?;
    let (leaving, room) = (Arc::clone(&app), request.room_id.clone());
    let act = async move { leaving.leave(actor, &room, request.reason).await };
    app.rooms.in_order(&session, request.room_id.as_str(), order, act).await?;
    Ok(Ruma(leave_room::v3::Response::new()))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/forget`
async fn forget(
    State(app): State<Arc<App>>,
    session: Session,
    Ruma(request): Ruma<forget_room::v3::Request>,
) -> ApiResult<Ruma<forget_room::v3::Response>> {
    app.rooms.forget(&session, &request.room_id).await?;
    Ok(Ruma(forget_room::v3::Response::new()))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/kick`
async fn kick(
    State(app): State<Arc<App>>,
    session: Session,
    asked: Asked,
    Ruma(request): Ruma<kick_user::v3::Request>,
) -> ApiResult<Ruma<kick_user::v3::Response>> {
    let (actor, order) = asked.of(&session)?;
    let (rooms, room) = (Arc::clone(&app.rooms), request.room_id.clone());
    let act = async move { rooms.kick(actor, &room, &request.user_id, request.reason).await };
    app.rooms.in_order(&session, request.room_id.as_str(), order, act).await?;
    Ok(Ruma(kick_user::v3::Response::new()))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/ban`
async fn ban(
    State(app): State<Arc<App>>,
    session: Session,
    asked: Asked,
    Ruma(request): Ruma<ban_user::v3::Request>,
) -> ApiResult<Ruma<ban_user::v3::Response>> {
    let (actor, order) = asked.of(&session)?;
    let (rooms, room) = (Arc::clone(&app.rooms), request.room_id.clone());
    let act = async move { rooms.ban(actor, &room, &request.user_id, request.reason).await };
    app.rooms.in_order(&session, request.room_id.as_str(), order, act).await?;
    Ok(Ruma(ban_user::v3::Response::new()))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/unban`
async fn unban(
    State(app): State<Arc<App>>,
    session: Session,
    asked: Asked,
    Ruma(request): Ruma<unban_user::v3::Request>,
) -> ApiResult<Ruma<unban_user::v3::Response>> {
    let (actor, order) = asked.of(&session)?;
    let (rooms, room) = (Arc::clone(&app.rooms), request.room_id.clone());
    let act = async move { rooms.unban(actor, &room, &request.user_id, request.reason).await };
    app.rooms.in_order(&session, request.room_id.as_str(), order, act).await?;
    Ok(Ruma(unban_user::v3::Response::new()))
}

/// `GET /_matrix/client/v3/joined_rooms`
async fn joined(
    State(app): State<Arc<App>>,
    session: Session,
    _: Ruma<joined_rooms::v3::Request>,
) -> Ruma<joined_rooms::v3::Response> {
    Ruma(joined_rooms::v3::Response::new(app.rooms.members.joined_rooms(&session.user)))
}

/// The room that an ID or alias means to who asks, and by which servers it can be reached; those that are named beside
/// it come first.
pub(super) async fn resolve(
    app: &App,
    id_or_alias: &RoomOrAliasId,
    Via(mut via): Via,
    asked_by: Option<&Session>,
) -> ApiResult<(OwnedRoomId, Via)> {
    if let Ok(alias) = <&RoomAliasId>::try_from(id_or_alias) {
        let (room, servers) = room_of_alias(app, alias, asked_by).await?;
        via.extend(servers);
        return Ok((room, Via(via)));
    }
    <&RoomId>::try_from(id_or_alias)
        .map(|room| (room.to_owned(), Via(via)))
        .map_err(|_| ApiError::invalid_param("neither a room ID nor an alias"))
}
