//! Everything that application services are told and asked.

use std::{sync::Arc, time::Duration};

use http::Method;
use ruma::{RoomAliasId, UserId};
use serde_json::Value;
use tokio::task::JoinSet;

use super::{
    ask::{Line, PingError, Ways, encoded},
    pump::Pump,
};
use crate::{
    core::presence::SetPresence,
    server::{
        change::feed::Change,
        registration::{Registration, Registrations},
        session::Session,
        store::StoreError,
        stream::Parts,
    },
};

/// What is looked for in other networks.
#[derive(Clone, Copy, Debug)]
pub enum Sought<'a> {
    /// The users of a network in whose fields this stands.
    Users(&'a str, &'a [(String, String)]),
    /// Its places.
    Locations(&'a str, &'a [(String, String)]),
    /// Who is behind a user of this server.
    Behind(&'a UserId),
    /// What is behind an alias of this server.
    BehindAlias(&'a RoomAliasId),
}

impl Sought<'_> {
    fn fields(&self) -> Vec<(&str, &str)> {
        match self {
            Self::Users(_, fields) | Self::Locations(_, fields) => {
                fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
            }
            Self::Behind(user) => vec![("userid", user.as_str())],
            Self::BehindAlias(alias) => vec![("alias", alias.as_str())],
        }
    }

    fn is_known_to(&self, registration: &Registration) -> bool {
        match self {
            Self::Users(network, _) | Self::Locations(network, _) => {
                registration.protocols.iter().any(|one| one == network)
            }
            Self::Behind(user) => !registration.protocols.is_empty() && registration.has_user(user),
            Self::BehindAlias(alias) => !registration.protocols.is_empty() && registration.has_alias(alias),
        }
    }

    /// Whether what is told has what clients look for in it.
    fn is_one(&self, told: &Value) -> bool {
        let name = match self {
            Self::Users(..) | Self::Behind(_) => "userid",
            Self::Locations(..) | Self::BehindAlias(_) => "alias",
        };
        told[name].is_string() && told["protocol"].is_string() && told["fields"].is_object()
    }
}

/// All application services that the operator registered.
#[derive(Debug)]
pub struct AppServices {
    pumps: Vec<Arc<Pump>>,
    parts: Arc<Parts>,
}

impl AppServices {
    /// Each goes on where it was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn load(
        registrations: &Registrations,
        ways: &Ways,
        parts: &Arc<Parts>,
    ) -> Result<Self, StoreError> {
        let mut pumps = Vec::new();
        for one in registrations.iter() {
            let line = Line::new(Arc::clone(one), ways.clone());
            pumps.push(Arc::new(Pump::load(Arc::clone(one), line, Arc::clone(parts)).await?));
        }
        Ok(Self { pumps, parts: Arc::clone(parts) })
    }

    /// Tells them of everything, until the task is dropped.
    pub async fn run(self: Arc<Self>) {
        let mut tasks = JoinSet::new();
        for pump in &self.pumps {
            let pump = Arc::clone(pump);
            tasks.spawn(async move { pump.run().await });
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Something happened.
    pub fn handle_change(&self, change: &Change) {
        if self.pumps.is_empty() {
            return;
        }
        match change {
            Change::Appended(_)
            | Change::Inserted(_)
            | Change::Resolved(_)
            | Change::Receipt { .. }
            | Change::Typing { .. }
            | Change::Presence { .. }
            | Change::RemotePresence { .. } => self.pumps.iter().for_each(|pump| pump.handle_news()),
            _ => {}
        }
    }

    /// How many are being told something.
    pub fn on_the_way(&self) -> usize {
        self.pumps.iter().filter(|pump| pump.is_busy()).count()
    }

    /// Has an application service answer, and says how long that took. What waits for it is tried again at once.
    ///
    /// # Errors
    /// [`PingError`].
    pub async fn ping(
        &self,
        registration: &Registration,
        transaction: Option<&str>,
    ) -> Result<Duration, PingError> {
        let pump = self.pumps.iter().find(|pump| pump.registration.id == registration.id);
        let pump = pump.ok_or(PingError::NoUrl)?;
        let begun = self.parts.clock.now();
        pump.line.ping(transaction).await?;
        pump.handle_reachable();
        Ok(self.parts.clock.now().since(begun))
    }

    /// A user as whom the application service acts without a device is there, as it says, until it says something else;
    /// `None`: is not there.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be read what is kept of them.
    pub async fn hold(
        &self,
        registration: &Registration,
        session: &Session,
        says: Option<SetPresence>,
    ) -> Result<(), StoreError> {
        match self.pumps.iter().find(|pump| pump.registration.id == registration.id) {
            Some(pump) => pump.held.hold(session, says).await,
            None => Ok(()),
        }
    }

    /// Asks for `who` those whose user it would be whether there is such a user; they make it before they answer.
    pub async fn make_user(&self, who: &UserId, user: &UserId) -> bool {
        self.ask(who, |one| one.has_user(user), &format!("users/{}", encoded(user.as_str()))).await
    }

    /// Asks for `who` those whose alias it would be whether there is such a room; they make it before they answer.
    pub async fn make_alias(&self, who: &UserId, alias: &RoomAliasId) -> bool {
        self.ask(who, |one| one.has_alias(alias), &format!("rooms/{}", encoded(alias.as_str()))).await
    }

    /// What the first that is a bridge to this network says of it to `who`, with the instances of all.
    pub async fn protocol(&self, who: &UserId, name: &str) -> Option<Value> {
        let mut about: Option<Value> = None;
        let path = format!("thirdparty/protocol/{}", encoded(name));
        let is_bridge = |pump: &&Arc<Pump>| pump.registration.protocols.iter().any(|one| one == name);
        for pump in self.pumps.iter().filter(is_bridge) {
            let Some(_question) = pump.questions.begin(who) else { continue };
            let Some(said) = pump.line.tell(&path).await.filter(Value::is_object) else { continue };
            match &mut about {
                None => about = Some(said),
                Some(about) => {
                    let more = said.get("instances").and_then(Value::as_array).cloned().unwrap_or_default();
                    if let Some(instances) = about.get_mut("instances").and_then(Value::as_array_mut) {
                        instances.extend(more);
                    }
                }
            }
        }
        about
    }

    /// The users or rooms of other networks that are meant, as all that could know them tell `who`.
    pub async fn of_networks(&self, who: &UserId, sought: &Sought<'_>) -> Vec<Value> {
        let mut all = Vec::new();
        let fields = serde_html_form::to_string(sought.fields()).unwrap_or_default();
        let path = match sought {
            Sought::Users(network, _) => format!("thirdparty/user/{}?{fields}", encoded(network)),
            Sought::Locations(network, _) => format!("thirdparty/location/{}?{fields}", encoded(network)),
            Sought::Behind(_) => format!("thirdparty/user?{fields}"),
            Sought::BehindAlias(_) => format!("thirdparty/location?{fields}"),
        };
        for pump in self.pumps.iter().filter(|pump| sought.is_known_to(&pump.registration)) {
            let Some(_question) = pump.questions.begin(who) else { continue };
            let Some(Value::Array(told)) = pump.line.tell(&path).await else { continue };
            all.extend(told.into_iter().filter(|one| sought.is_one(one)));
        }
        all
    }

    async fn ask(&self, who: &UserId, whose: impl Fn(&Registration) -> bool, path: &str) -> bool {
        for pump in self.pumps.iter().filter(|pump| whose(&pump.registration)) {
            let Some(_question) = pump.questions.begin(who) else {
                tracing::debug!(
                    id = pump.registration.id,
                    "an application service is asked too much at once"
                );
                continue;
            };
            match pump.line.ask(Method::GET, path, None).await {
                Ok(status) if status.is_success() => return true,
                Ok(status) => {
                    tracing::debug!(id = pump.registration.id, %status, "an application service has none")
                }
                Err(why) => {
                    tracing::info!(id = pump.registration.id, why, "an application service is not asked")
                }
            }
        }
        false
    }
}
