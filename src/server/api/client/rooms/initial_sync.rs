//! One room as it is, with its last messages: for who comes in, was there, or looks into it from outside.

use std::sync::Arc;

use axum::{Router, extract::State, response::Response, routing::get};
use ruma::OwnedRoomId;
use serde::Deserialize;

use super::{
    form::{page_token, write_state, write_with_relations},
    messages::is_heard,
};
use crate::server::{
    api::{
        error::ApiResult,
        extract::{AnswerForm, Path, Query},
        large::Paper,
    },
    app::App,
    change::position::{LogPosition, TimelinePosition},
    event::client::ClientFormat,
    rooms::{Access, Wanted, receipts},
    session::Session,
    store::Order,
    stream::{
        self, Sources, Token,
        initial_sync::summary,
        sync::{Form, StateTold},
    },
};

/// Events of the timeline when the client does not say.
const DEFAULT_LIMIT: usize = 10;

/// Events of the timeline, at most.
const MAX_LIMIT: usize = 100;

pub(super) fn routes() -> Router<Arc<App>> {
    ["api/v1", "r0", "v3"].iter().fold(Router::new(), |router, version| {
        let path = format!("/_matrix/client/{version}/rooms/{{room_id}}/initialSync");
        router.route(&path, get(initial_sync))
    })
}

#[derive(Deserialize)]
struct Parameters {
    limit: Option<usize>,
}

/// `GET /_matrix/client/v3/rooms/{roomId}/initialSync`
async fn initial_sync(
    State(app): State<Arc<App>>,
    session: Session,
    paper: Paper,
    Path(room): Path<OwnedRoomId>,
    Query(parameters): Query<Parameters>,
    form: AnswerForm,
) -> ApiResult<Response> {
    let user = &session.user;
    // Where the stream goes on is read before what there is: what comes meanwhile comes with the stream.
    let here = Token::new(app.store.log_position(), app.live.position()).with_to_device(LogPosition::START);
    let access = app.rooms.access(user, &room).await?;
    let upto = match access {
        Access::Joined | Access::Peek => TimelinePosition::live(here.log()),
        Access::Until(left) => left.min(TimelinePosition::live(here.log())),
    };
    let state = app.rooms.state(user, &room).await?;
    let limit = parameters.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT);
    let ignored = app.contacts.ignored_by(user);
    let wanted = Wanted { from: Some(upto), to: None, order: Order::NewestFirst, limit };
    let (mut events, start) = match limit {
        0 => (Vec::new(), Some(upto)),
        _ => {
            let page = app.rooms.messages(user, &room, wanted, |event| is_heard(&ignored, event)).await?;
            (page.events, page.end)
        }
    };
    events.reverse();
    let membership = app.store.membership(user, &room).await?;
    let listed = app.store.room(&room).await?.is_some_and(|room| room.listed);
    let mut answer = paper.object();
    answer.out.text("room_id", room.as_str());
    if let Some(row) = membership {
        answer.out.text("membership", row.membership.as_str());
    }
    answer.out.text("visibility", if listed { "public" } else { "private" });
    if form == AnswerForm::Full {
        let sources = Sources::new(Arc::clone(&app.stream));
        let form = Form {
            viewer: &session,
            events: ClientFormat::Full,
            fields: None,
            now: app.now(),
            state: StateTold::Before,
        };
        summary(&sources, &session, &room, &events, None).await?.write(&mut answer.out, form);
    }
    let messages = answer.out.open("messages");
    let chunk = answer.out.open_array("chunk");
    write_with_relations((&app, &session), &room, &events, &mut answer).await?;
    drop(events);
    answer.out.end_even_if_empty(chunk);
    answer.out.text("start", &page_token(start.unwrap_or(TimelinePosition::START)));
    match access {
        Access::Joined | Access::Peek => answer.out.plain("end", &here),
        Access::Until(left) => answer.out.text("end", &page_token(left)),
    }
    answer.out.end_even_if_empty(messages);
    let list = answer.out.open_array("account_data");
    for data in app.store.account_data_of_room(user, &room, here.log()).await? {
        answer.out.element_with(|out| stream::append_account_data(out, &data));
    }
    answer.out.end_even_if_empty(list);
    answer.put()?;
    if access == Access::Joined {
        write_present(&app, &session, (&room, here.log()), &mut answer).await?;
    }
    let list = answer.out.open_array("state");
    write_state((&app, &session), state, |_| true, &mut answer).await?;
    answer.out.end_even_if_empty(list);
    answer.answer()
}

/// Writes how those are who are in the room, as far as the user may see them, and how far they have read.
async fn write_present(
    app: &App,
    session: &Session,
    (room, upto): (&OwnedRoomId, LogPosition),
    answer: &mut crate::server::api::large::Written,
) -> ApiResult<()> {
    let (user, now) = (&session.user, app.now());
    let list = answer.out.open_array("presence");
    for member in app.rooms.members.joined(room) {
        let event = match member == *user {
            true => app.presence.own_event(user, crate::server::change::position::LivePosition::START, now),
            false => None,
        };
        if let Some(own) = event {
            answer.out.element_with(|out| stream::append_presence(out, user, &own, now));
        } else if member != *user
            && app.sight.may_see(user, &member)
            && let Some(event) = app.board.event(&member)
        {
            answer.out.element_with(|out| stream::append_presence(out, &member, &event, now));
            answer.take().await?;
        }
    }
    answer.out.end_even_if_empty(list);
    let ignored = app.contacts.ignored_by(user);
    let mut read = app.store.receipts(room, user, LogPosition::START, upto).await?;
    read.retain(|receipt| !ignored.contains(&receipt.user));
    let list = answer.out.open_array("receipts");
    if !read.is_empty() {
        answer.out.element_with(|out| receipts::append_in_room(out, room, &read));
    }
    answer.out.end_even_if_empty(list);
    answer.put()?;
    Ok(())
}
