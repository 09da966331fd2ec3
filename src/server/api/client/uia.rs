//! User-interactive authentication: what a client must show before it may do something grave.
//!
//! Every flow here has one stage, checked with the request that it allows. The `session` that clients send back holds
//! for the request that began it and for no other; one that is not known (any longer) is begun anew.
//! Matrix client-server API, "User-Interactive Authentication API".

use std::sync::Arc;

use axum::{
    extract::{FromRequest, Request},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use ruma::UserId;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::server::{
    accounts::{
        interaction::{Changed, Known, Operation, Progress, Wanted},
        username::username,
    },
    api::{
        error::{ApiError, ApiResult},
        extract::{By, Credentials, Json, access_token, json_error},
    },
    app::App,
    limits::Origin,
    session::{Session, TokenHash},
    store::{NotProven, Proof},
};

/// A request that needs authentication: its `auth`, and everything else as `T`.
pub struct Interactive<T> {
    /// The parameters.
    pub parameters: T,
    auth: Option<Auth>,
    operation: Operation,
    /// An application service asks, which answers for its users.
    is_by_service: bool,
}

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Interactive<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let token = match request.extensions().get::<Credentials>() {
            Some(Credentials::Known(_)) => access_token(request.headers(), request.uri().query()),
            _ => None,
        };
        let is_by_service = request.extensions().get::<By>().is_some();
        let token = token.map(|token| TokenHash::of(&token));
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let Json(mut body) = Json::<Map<String, Value>>::from_request(request, app).await?;
        let auth = body.remove("auth").filter(|auth| !auth.is_null());
        // What was parsed once is JSON.
        let bad_json = |e| json_error(b"null", e);
        let auth = auth.map(serde_json::from_value).transpose().map_err(bad_json)?;
        // A map of JSON is sorted: the same parameters are the same bytes.
        let hash = |body: &Map<_, _>| serde_json::to_vec(body).map(|bytes| Sha256::digest(bytes).into());
        let parameters = Some(hash(&body).map_err(ApiError::internal)?);
        let operation = Operation { method, path, token, parameters };
        let parameters = serde_json::from_value(Value::Object(body)).map_err(bad_json)?;
        Ok(Self { parameters, auth, operation, is_by_service })
    }
}

impl Interactive<Wanted> {
    /// The same, with parameters that may be left out once they were sent.
    pub fn remembered(mut self) -> Self {
        self.operation.parameters = None;
        self
    }

    /// The name of its session, if the client names one.
    pub fn session(&self) -> Option<&str> {
        self.auth.as_ref()?.session.as_deref()
    }
}

impl<T> Interactive<T> {
    /// What is known of its session.
    ///
    /// # Errors
    /// 403 when that was begun for something else.
    pub fn known(&self, app: &App) -> ApiResult<Option<Known>> {
        let Some(name) = self.auth.as_ref().and_then(|auth| auth.session.as_deref()) else { return Ok(None) };
        app.accounts.interactions.find(app.now(), name, &self.operation).map_err(ApiError::from)
    }
}

/// The one stage of a flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// `m.login.dummy`: asks nothing.
    Dummy,
    /// `m.login.registration_token`: a word the operator gave out.
    RegistrationToken,
    /// `m.login.password`: the password of the account.
    Password,
}

/// The `auth` object of a request. No `Debug`: it carries secrets.
#[derive(Deserialize)]
struct Auth {
    #[serde(rename = "type")]
    kind: Option<String>,
    session: Option<String>,
    identifier: Option<Identifier>,
    /// What `identifier` was called before 2018.
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
}

/// How a client names the account.
#[derive(Deserialize)]
pub struct Identifier {
    #[serde(rename = "type")]
    kind: String,
    user: Option<String>,
}

/// Why the request is not done (yet).
#[derive(Debug)]
pub enum Refusal {
    /// 401: the client has to go through a flow; the body of the answer.
    Challenge(Value),
    /// Any other error.
    Error(ApiError),
}

/// Checks the password of the user who sends a request; what shows it, for the write that it allows. A session that
/// was finished with a password that holds no longer is over. Of an application service nothing is asked.
///
/// # Errors
/// The challenge, until the client has passed; 403 for a session of something else.
pub async fn authenticate_user<T>(
    app: &App,
    request: &Interactive<T>,
    session: &Session,
    origin: Origin,
) -> Result<Proof, Refusal> {
    let user = &session.user;
    if request.is_by_service {
        let login = app.store.login(user).await?;
        let password_hash = login.and_then(|login| login.password_hash);
        return Ok(Proof { user: user.clone(), password_hash });
    }
    let mut attempt = Attempt::new(app, request, Stage::Password, Wanted::default())?;
    if let Some(proof) = attempt.passed_by.take() {
        match app.store.check_proof(proof.clone()).await {
            Ok(()) => return Ok(proof),
            Err(NotProven::Outdated) => attempt.session = None,
            Err(e @ NotProven::Store(_)) => return Err(e.into()),
        }
    }
    let auth = attempt.auth()?;
    app.limits.login(user.as_str(), origin, app.now().as_millis())?;
    let proof = match &auth.password {
        Some(password) if auth.may_name(user) => app.accounts.check_password(user, password.clone()).await?,
        _ => None,
    };
    let Some(proof) = proof else { return Err(attempt.failed()) };
    app.limits.login_succeeded(user.as_str(), origin);
    attempt.passed(Progress::Passed(proof.clone()));
    Ok(proof)
}

/// Checks what somebody without an account has to show, `stage`, to get the one that is `wanted`. The name of the
/// session, if there is one.
///
/// # Errors
/// The challenge, until the client has passed; 403 for a session of something else.
pub fn authenticate_stranger(
    app: &App,
    request: &Interactive<Wanted>,
    stage: Stage,
    wanted: Wanted,
    origin: Origin,
) -> Result<(), Refusal> {
    let attempt = Attempt::new(app, request, stage, wanted)?;
    let auth = attempt.auth()?;
    if stage == Stage::RegistrationToken {
        // Guesses are counted; right ones are not.
        app.limits.login("registration", origin, app.now().as_millis())?;
        if !auth.token.as_deref().is_some_and(|token| is_registration_token(app, token)) {
            return Err(attempt.failed());
        }
        app.limits.login_succeeded("registration", origin);
    }
    Ok(())
}

/// One request on its way through a flow.
struct Attempt<'a> {
    app: &'a App,
    operation: &'a Operation,
    stage: Stage,
    auth: Option<&'a Auth>,
    /// The session that the client named, if it is known.
    session: Option<&'a str>,
    /// What it has shown in that session.
    passed_by: Option<Proof>,
    wanted: Wanted,
}

impl<'a> Attempt<'a> {
    fn new<T>(
        app: &'a App,
        request: &'a Interactive<T>,
        stage: Stage,
        wanted: Wanted,
    ) -> Result<Self, Refusal> {
        let known = request.known(app)?;
        let (auth, operation) = (request.auth.as_ref(), &request.operation);
        let session = auth.and_then(|auth| auth.session.as_deref()).filter(|_| known.is_some());
        let passed_by = known.and_then(|known| match known.progress {
            Progress::Passed(proof) => Some(proof),
            Progress::Begun | Progress::Registered(_) => None,
        });
        Ok(Self { app, operation, stage, auth, session, passed_by, wanted })
    }

    /// What the client shows for this stage.
    fn auth(&self) -> Result<&'a Auth, Refusal> {
        match self.auth {
            Some(auth) => match auth.kind.as_deref() {
                None => Err(self.challenge(None)),
                Some(kind) if kind == self.stage.name() => Ok(auth),
                Some(_) => {
                    let error = "not a stage of this flow";
                    let error = ApiError::new(StatusCode::UNAUTHORIZED, "M_UNRECOGNIZED", error);
                    Err(self.challenge(Some(error)))
                }
            },
            None => Err(self.challenge(None)),
        }
    }

    fn passed(&self, progress: Progress) {
        if let Some(session) = self.session {
            self.app.accounts.interactions.advance(self.app.now(), session, progress);
        }
    }

    fn failed(&self) -> Refusal {
        self.challenge(Some(ApiError::forbidden(self.stage.refusal())))
    }

    /// What the client has to do, in the session that it is in or in a new one.
    fn challenge(&self, error: Option<ApiError>) -> Refusal {
        let interactions = &self.app.accounts.interactions;
        let session = match self.session {
            Some(session) => {
                interactions.remember(session, self.wanted.clone());
                session.to_owned()
            }
            None => interactions.begin(self.app.now(), self.operation.clone(), self.wanted.clone()),
        };
        let flows = json!([{ "stages": [self.stage.name()] }]);
        let mut body = json!({ "flows": flows, "params": {}, "session": session });
        if let (Some(object), Some(error)) = (body.as_object_mut(), error) {
            object.insert("completed".into(), json!([]));
            object.insert("errcode".into(), error.errcode.into());
            object.insert("error".into(), error.error.into());
        }
        Refusal::Challenge(body)
    }
}

/// Whether the operator gave this registration token out.
pub fn is_registration_token(app: &App, token: &str) -> bool {
    // Compared by hash, so that the time taken says nothing about the token.
    app.config
        .registration_token
        .as_ref()
        .is_some_and(|expected| TokenHash::of(token) == TokenHash::of(expected.as_str()))
}

impl Auth {
    /// Whether it is about `user`. The identifier is optional where the access token already says who it is.
    fn may_name(&self, user: &UserId) -> bool {
        named_user(self.identifier.as_ref(), self.user.as_deref()).is_none_or(|name| is_name_of(name, user))
    }
}

/// The account a client names, by `identifier` or by the older `user`.
pub fn named_user<'a>(identifier: Option<&'a Identifier>, user: Option<&'a str>) -> Option<&'a str> {
    match identifier {
        Some(identifier) if identifier.kind == "m.id.user" => identifier.user.as_deref(),
        Some(_) => None,
        None => user,
    }
}

fn is_name_of(name: &str, user: &UserId) -> bool {
    name == user.as_str() || username(name, user.server_name()).is_ok_and(|named| named == *user)
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Dummy => "m.login.dummy",
            Self::RegistrationToken => "m.login.registration_token",
            Self::Password => "m.login.password",
        }
    }

    fn refusal(self) -> &'static str {
        match self {
            Self::Dummy => "not allowed",
            Self::RegistrationToken => "this registration token is not valid",
            Self::Password => "wrong password",
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Challenge(body) => (StatusCode::UNAUTHORIZED, axum::Json(body)).into_response(),
            Self::Error(e) => e.into_response(),
        }
    }
}

impl<E> From<E> for Refusal
where
    ApiError: From<E>,
{
    fn from(e: E) -> Self {
        Self::Error(e.into())
    }
}

impl From<Changed> for ApiError {
    fn from(Changed: Changed) -> Self {
        Self::forbidden("this session was begun for another request")
    }
}
