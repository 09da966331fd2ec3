//! What somebody who comes into a room is answered, if they ask for more than its ID (M5, M6).

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{header::CONTENT_TYPE, request::Parts},
    response::{IntoResponse, Response},
};
use ruma::RoomId;
use serde::Deserialize;

use crate::server::{
    api::{
        error::{ApiError, ApiResult},
        extract::{AnswerForm, Query},
    },
    app::App,
    change::position::LogPosition,
    session::Session,
    stream::{self, Filter, Sources, held::JoinUnderWay},
};

/// Events of the timeline that fill a screen.
const SCREEN: u32 = 20;

/// In which form who comes into a room is answered.
pub(super) enum EntryForm {
    /// As Matrix has it.
    Matrix,
    /// With the room, as far as the filter lets it through: `?org.pilotlight.answer=full`, and
    /// `org.pilotlight.filter=` as the filter of `/sync`. With `org.pilotlight.confirm=true` the device's streams wait
    /// until it says that it has the answer.
    /// From a place of the log on, where the request came.
    Full(Box<Filter>, Option<JoinUnderWay>, LogPosition),
}

#[derive(Deserialize)]
struct Asked {
    #[serde(rename = "org.pilotlight.filter")]
    filter: Option<String>,
    #[serde(default, rename = "org.pilotlight.confirm")]
    confirm: bool,
}

impl FromRequestParts<Arc<App>> for EntryForm {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> ApiResult<Self> {
        match AnswerForm::from_request_parts(parts, app).await? {
            AnswerForm::Matrix => Ok(Self::Matrix),
            AnswerForm::Full => {
                let session = Session::from_request_parts(parts, app).await?;
                let Query(Asked { filter, confirm }) = Query::<Asked>::from_request_parts(parts, app).await?;
                let filter = app.stream.filters.named(&session.user, filter.as_deref()).await?;
                let came_at = app.stream.store.log_position();
                let join = confirm.then(|| app.hub.join(&session));
                Ok(Self::Full(Box::new(filter.or_timeline_limit(SCREEN)), join, came_at))
            }
        }
    }
}

impl EntryForm {
    /// The answer to the session's user who is in `room`; `matrix` is what Matrix has.
    pub(super) async fn answer(
        self,
        app: &App,
        session: &Session,
        room: &RoomId,
        matrix: impl IntoResponse,
    ) -> ApiResult<Response> {
        let body = match self {
            Self::Matrix => None,
            Self::Full(filter, join, came_at) => {
                let sources = Sources::new(Arc::clone(&app.stream));
                let body = stream::sync::entry(&sources, session, &filter, room).await?;
                // Who was in the room before is told nothing by it that their streams have not told.
                let joined_at = app.stream.members.joined_at(&session.user, room);
                if let Some(join) = join.filter(|_| body.is_some() && joined_at > Some(came_at)) {
                    join.answer(&room.to_owned());
                }
                body
            }
        };
        Ok(match body {
            Some(body) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
            None => matrix.into_response(),
        })
    }
}
