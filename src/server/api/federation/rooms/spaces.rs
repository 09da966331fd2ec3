//! The rooms of a space, for other servers.
//!
//! Server-server API, "Spaces".

use std::sync::Arc;

use axum::{Router, extract::State, response::Response, routing::get};
use ruma::OwnedRoomId;
use serde::Deserialize;
use serde_json::Value;

use crate::server::{
    answers::{Size, aside},
    api::{
        error::ApiResult,
        extract::{Path, Query},
        federation::signed::Signed,
        large::Paper,
        room_summary::summary_json,
    },
    app::App,
    rooms::Space,
};

pub(super) fn routes() -> Router<Arc<App>> {
    let mut router = Router::new();
    for version in ["v1", "unstable/org.matrix.msc2946"] {
        router = router.route(&format!("/_matrix/federation/{version}/hierarchy/{{room}}"), get(hierarchy));
    }
    router
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    suggested_only: bool,
}

/// `GET /_matrix/federation/v1/hierarchy/{roomId}`
async fn hierarchy(
    State(app): State<Arc<App>>,
    Path(room): Path<OwnedRoomId>,
    Query(Wanted { suggested_only }): Query<Wanted>,
    signed: Signed,
) -> ApiResult<Response> {
    let paper = Paper::for_server(&app, &signed.origin, Size::Page).await;
    aside(async {
        let Space { room, children, inaccessible } =
            app.rooms.space_for(&signed.origin, &room, suggested_only).await?;
        let mut answer = paper.object();
        let mut object = summary_json(room.summary)?;
        object.insert("children_state".into(), room.children.into());
        answer.out.raw("room", &Value::Object(object).to_string());
        let list = answer.out.open_array("children");
        for child in children {
            answer.out.element(&Value::Object(summary_json(child)?).to_string());
            answer.take().await?;
        }
        answer.out.end_even_if_empty(list);
        let list = answer.out.open_array("inaccessible_children");
        inaccessible.iter().for_each(|room| answer.out.string_element(room.as_str()));
        answer.out.end_even_if_empty(list);
        answer.answer()
    })
    .await
}
