//! Presence lists: who is on mine, who asks to have me on theirs, groups, and how I share.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::State,
    routing::{get, post, put},
};
use ruma::{OwnedUserId, UserId, api::client::room::create_room::v3 as create_room};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    core::list::{AclPointer, Contact, GroupName, List, Membership, Observing},
    server::{
        api::{
            error::{ApiError, ApiResult},
            extract::{Json, Path},
        },
        app::App,
        list::Settings,
        rooms,
        session::Session,
    },
};

/// The most users that one request may put on a list or take off it.
const MAX_NAMED: usize = 1000;

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    let list = get(get_list).post(post_list);
    let unstable = |path: &str| format!("/_matrix/client/unstable/org.pilotlight/presence/{path}");
    let member = put(put_in_group).delete(delete_from_group);
    Router::new()
        .route("/_matrix/client/v3/presence/list/{user_id}", list.clone())
        .route("/_matrix/client/r0/presence/list/{user_id}", list.clone())
        .route(&unstable("list/{user_id}"), list)
        .route(&unstable("requests/{user_id}"), get(get_requests))
        .route(&unstable("requests/{user_id}/{observer}"), post(answer_request))
        .route(&unstable("groups/{user_id}"), get(get_groups))
        .route(&unstable("groups/{user_id}/{group}/members/{contact}"), member)
        .route(&unstable("groups/{user_id}/{group}/invite"), post(invite_group))
        .route(&unstable("settings/{user_id}"), get(get_settings).put(put_settings))
}

/// `GET /_matrix/client/v3/presence/list/{userId}`: an event for each entry, as Matrix r0 had it, with
/// what the list says beside it.
async fn get_list(
    State(app): State<Arc<App>>,
    session: Session,
    Path(user): Path<OwnedUserId>,
) -> ApiResult<Json<Vec<Value>>> {
    check_own(&session, &user)?;
    let entries = app.contacts.entries(&user);
    app.enquire(&user, entries.iter().map(|(contact, _)| contact)).await;
    Ok(Json(entries.iter().map(|(contact, kept)| entry(&app, &user, contact, kept)).collect()))
}

fn entry(app: &App, owner: &UserId, contact: &UserId, kept: &Contact) -> Value {
    let unknown = || json!({ "presence": "offline", "org.pilotlight.presence": { "state": "unknown" } });
    let seen = app.sight.may_see(owner, contact).then(|| app.presence_content(owner, contact));
    let mut content: Value = seen.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_else(unknown);
    content["user_id"] = json!(contact);
    json!({
        "type": "m.presence",
        "sender": contact,
        "content": content,
        "org.pilotlight.list": {
            "state": match kept.relation.observing() {
                Observing::No | Observing::Asked => "pending",
                Observing::Yes => "accepted",
                Observing::Denied => "denied",
            },
            "groups": kept.groups.iter().map(GroupName::as_str).collect::<Vec<_>>(),
            "acl": kept.acl.as_ref().map(AclPointer::as_str),
        },
    })
}

/// A user to put on the list, alone or with an ACL pointer.
#[derive(Deserialize)]
#[serde(untagged)]
enum Invited {
    User(OwnedUserId),
    WithPointer { user_id: OwnedUserId, acl: String },
}

#[derive(Deserialize)]
struct ListChange {
    #[serde(default)]
    invite: Vec<Invited>,
    #[serde(default)]
    drop: Vec<OwnedUserId>,
}

/// `POST /_matrix/client/v3/presence/list/{userId}`
async fn post_list(
    State(app): State<Arc<App>>,
    session: Session,
    Path(user): Path<OwnedUserId>,
    Json(change): Json<ListChange>,
) -> ApiResult<Json<Value>> {
    check_own(&session, &user)?;
    if change.invite.len() + change.drop.len() > MAX_NAMED {
        return Err(ApiError::too_large(format!("more than {MAX_NAMED} users in one request")));
    }
    let mut added = Vec::new();
    for invited in change.invite {
        let (contact, acl) = match invited {
            Invited::User(contact) => (contact, None),
            Invited::WithPointer { user_id, acl } => {
                let bad = |e| ApiError::invalid_param(format!("acl {e}"));
                (user_id, Some(AclPointer::new(&acl).map_err(bad)?))
            }
        };
        added.push((app.listable(&contact).await?, acl));
    }
    let input = |list: &mut List| {
        for (contact, acl) in added {
            list.handle_add(&contact, acl)?;
        }
        for contact in change.drop {
            list.handle_remove(&Arc::from(contact.as_str()));
        }
        Ok(())
    };
    app.contacts.change(&user, input).await?;
    Ok(Json(json!({})))
}

/// `GET …/presence/requests/{userId}`: who waits for an answer, and who was accepted.
async fn get_requests(
    State(app): State<Arc<App>>,
    session: Session,
    Path(user): Path<OwnedUserId>,
) -> ApiResult<Json<Value>> {
    check_own(&session, &user)?;
    Ok(Json(json!({ "requests": app.contacts.requests(&user), "observers": app.contacts.observers(&user) })))
}

#[derive(Deserialize)]
struct Answer {
    answer: Verdict,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Accept,
    Deny,
    /// Takes back what was granted.
    Revoke,
}

/// `POST …/presence/requests/{userId}/{observer}`
async fn answer_request(
    State(app): State<Arc<App>>,
    session: Session,
    Path((user, observer)): Path<(OwnedUserId, OwnedUserId)>,
    Json(Answer { answer }): Json<Answer>,
) -> ApiResult<Json<Value>> {
    check_own(&session, &user)?;
    let (observer, now) = (Arc::from(observer.as_str()), app.now());
    let input = |list: &mut List| {
        match answer {
            Verdict::Accept => list.handle_accept(&observer)?,
            Verdict::Deny | Verdict::Revoke => list.handle_deny(&observer, now),
        }
        Ok(())
    };
    app.contacts.change(&user, input).await?;
    Ok(Json(json!({})))
}

/// `GET …/presence/groups/{userId}`
async fn get_groups(
    State(app): State<Arc<App>>,
    session: Session,
    Path(user): Path<OwnedUserId>,
) -> ApiResult<Json<BTreeMap<&'static str, BTreeMap<String, Vec<String>>>>> {
    check_own(&session, &user)?;
    Ok(Json(BTreeMap::from([("groups", app.contacts.groups(&user))])))
}

type GroupPath = Path<(OwnedUserId, String, OwnedUserId)>;

/// `PUT …/presence/groups/{userId}/{group}/members/{contact}`
async fn put_in_group(app: State<Arc<App>>, session: Session, path: GroupPath) -> ApiResult<Json<Value>> {
    change_group(app, session, path, Membership::In).await
}

/// `DELETE …/presence/groups/{userId}/{group}/members/{contact}`
async fn delete_from_group(
    app: State<Arc<App>>,
    session: Session,
    path: GroupPath,
) -> ApiResult<Json<Value>> {
    change_group(app, session, path, Membership::Out).await
}

async fn change_group(
    State(app): State<Arc<App>>,
    session: Session,
    Path((user, group, contact)): GroupPath,
    membership: Membership,
) -> ApiResult<Json<Value>> {
    check_own(&session, &user)?;
    let group = group_name(&group)?;
    let contact = Arc::from(contact.as_str());
    app.contacts.change(&user, |list| Ok(list.handle_group(&contact, &group, membership)?)).await?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct GroupRoom {
    name: Option<String>,
}

/// `POST …/presence/groups/{userId}/{group}/invite`: a new room with everybody of the group (L4). Those who
/// cannot be invited, because of their policy, of where they are or of how many invitations they have, are named in the answer.
async fn invite_group(
    State(app): State<Arc<App>>,
    session: Session,
    Path((user, group)): Path<(OwnedUserId, String)>,
    Json(room): Json<GroupRoom>,
) -> ApiResult<Json<Value>> {
    check_own(&session, &user)?;
    let group = group_name(&group)?;
    let members = app.contacts.groups(&user).remove(group.as_str()).unwrap_or_default();
    if members.is_empty() {
        return Err(ApiError::not_found("there is nobody in this group"));
    }
    let (mut invited, mut not_invited): (Vec<OwnedUserId>, Vec<OwnedUserId>) = (Vec::new(), Vec::new());
    for member in members.into_iter().filter_map(|member| UserId::parse(member).ok()) {
        let can_be = if member.server_name() == app.server_name() {
            app.rooms.takes_invite(&session.user, &member)
                && !app.rooms.blocks_invites(&member).await?
                && app.store.profile(&member).await?.is_some()
        } else {
            // Their server says.
            app.federation.is_some()
        };
        if can_be { invited.push(member) } else { not_invited.push(member) }
    }
    if invited.is_empty() {
        return Err(ApiError::forbidden("nobody of this group takes an invite of yours"));
    }
    // Those of other servers after the others, each by themselves: who of them does not come keeps nobody out.
    let (here, across): (Vec<_>, Vec<_>) =
        invited.into_iter().partition(|member| member.server_name() == app.server_name());
    let mut invited = here;
    let mut rest = invited.split_off(invited.len().min(rooms::MAX_INVITES));
    rest.extend(across);
    let mut request = create_room::Request::new();
    request.name = Some(room.name.unwrap_or_else(|| group.as_str().to_owned()));
    request.preset = Some(create_room::RoomPreset::PrivateChat);
    request.invite.clone_from(&invited);
    let room_id = app.rooms.create(&session, request).await?;
    for member in rest {
        match app.invite(&session, &room_id, &member, None).await {
            Ok(_) => invited.push(member),
            Err(refusal) => {
                tracing::debug!(%member, ?refusal, "somebody of a group is not invited");
                not_invited.push(member);
            }
        }
    }
    Ok(Json(json!({ "room_id": room_id, "invited": invited, "not_invited": not_invited })))
}

/// `GET …/presence/settings/{userId}`
async fn get_settings(
    State(app): State<Arc<App>>,
    session: Session,
    Path(user): Path<OwnedUserId>,
) -> ApiResult<Json<Settings>> {
    check_own(&session, &user)?;
    Ok(Json(app.contacts.settings(&user)))
}

/// `PUT …/presence/settings/{userId}`: all of them; what is left out gets its default.
async fn put_settings(
    State(app): State<Arc<App>>,
    session: Session,
    Path(user): Path<OwnedUserId>,
    Json(settings): Json<Settings>,
) -> ApiResult<Json<Value>> {
    check_own(&session, &user)?;
    app.contacts.change_settings(&user, settings).await?;
    Ok(Json(json!({})))
}

fn group_name(name: &str) -> ApiResult<GroupName> {
    GroupName::new(name).map_err(|e| ApiError::invalid_param(format!("the name of a group {e}")))
}

fn check_own(session: &Session, user: &UserId) -> ApiResult<()> {
    if session.user == user {
        Ok(())
    } else {
        Err(ApiError::forbidden("this is the presence list of somebody else"))
    }
}
