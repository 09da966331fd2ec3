//! Finding people: `/user_directory/search`.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Router, extract::State};
use ruma::{OwnedUserId, api::client::user_directory::search_users};
use serde::{Deserialize, Serialize};

use crate::server::{
    accounts::username::username,
    api::{error::ApiResult, extract::Json, ruma_route::RumaRoute},
    app::App,
    profile::Profile,
    session::Session,
};

/// People in one answer, at most.
const MAX_RESULTS: usize = 50;

/// People that are looked at for one answer, at most.
const MAX_CANDIDATES: usize = 2_000;

/// The routes of this module.
pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().ruma_route::<search_users::v3::Request, _, _>(search)
}

#[derive(Deserialize)]
struct Search {
    search_term: String,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Results {
    results: Vec<Found>,
    limited: bool,
}

/// Somebody; what they have none of is absent.
#[derive(Serialize)]
struct Found {
    user_id: OwnedUserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
}

/// `POST /_matrix/client/v3/user_directory/search`: among those who share a room with the user, the user, and
/// whoever's whole name the user knows.
async fn search(
    State(app): State<Arc<App>>,
    session: Session,
    Json(request): Json<Search>,
) -> ApiResult<Json<Results>> {
    let term = request.search_term.trim().to_lowercase();
    let limit = request.limit.unwrap_or(10).clamp(1, MAX_RESULTS);
    let mut found = Vec::new();
    for user in candidates(&app, &session, &term) {
        let profile = match user.server_name() == app.server_name() {
            true => app.store.profile(&user).await?,
            false => app.store.profile_in_rooms(&session.user, &user).await?,
        };
        if !matches(&term, &user, profile.as_ref()) {
            continue;
        }
        // Somebody who knows the name of an account that does not exist finds nothing.
        if profile.is_none() && user.server_name() == app.server_name() {
            continue;
        }
        found.push((user, profile.unwrap_or_default()));
        if found.len() > limit {
            break;
        }
    }
    let limited = found.len() > limit;
    let found = found.into_iter().take(limit);
    let results = found.map(|(user_id, Profile { displayname, avatar_url })| Found {
        user_id,
        display_name: displayname,
        avatar_url,
    });
    Ok(Json(Results { results: results.collect(), limited }))
}

fn candidates(app: &App, session: &Session, term: &str) -> BTreeSet<OwnedUserId> {
    let sharing = app.rooms.members.sharing_rooms_with(&session.user);
    let mut candidates: BTreeSet<_> = sharing.into_iter().take(MAX_CANDIDATES).collect();
    let name = term.strip_prefix('@').unwrap_or(term);
    let name = name.strip_suffix(&format!(":{}", app.server_name())).unwrap_or(name);
    candidates.insert(session.user.clone());
    candidates.extend(username(name, app.server_name()));
    candidates
}

fn matches(term: &str, user: &OwnedUserId, profile: Option<&Profile>) -> bool {
    let name = profile.and_then(|profile| profile.displayname.as_deref()).unwrap_or_default();
    user.as_str().to_lowercase().contains(term) || name.to_lowercase().contains(term)
}
