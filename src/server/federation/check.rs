//! Can this server speak with that one? Each step on the way to another server, tried with the very parts
//! that federation uses, and told in plain words.

use std::{io, sync::Arc};

use http::{Method, StatusCode};
use ruma::ServerName;
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};

use super::{
    client::{Client, RequestError},
    key_document::KeyDocument,
    resolve::{Delegation, Found, Records, Resolver, Route},
};
use crate::{
    core::time::UnixMillis,
    server::{
        clock::unix_ms,
        config::{Config, servers::Policy},
        keys::Signer,
        outgoing::{
            addresses::Allowed,
            connect::{ADDRESSES, connect_to},
            lines::Lines,
            tls::{self, TlsError},
        },
    },
};

/// A user whom nobody has, for a question that only a server may ask.
const NOBODY: &str = "pilotlight-check";

/// Connections at a time: one step comes after the other.
const LINES: usize = 4;

/// What one step showed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Step {
    /// What was tried: `policy`, `delegation`, `records`, `addresses`, `tls`, `version`, `keys`, `signature`.
    pub step: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// In words.
    pub text: String,
}

/// How a step went.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should.
    Ok,
    /// Worth knowing, and no obstacle.
    Note,
    /// The two servers cannot speak for this reason.
    Failed,
}

/// Whether to ask something that the other server answers only to servers whose keys it can fetch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sign {
    /// With the key of this server, which must be running.
    Yes,
    /// Only what everybody may ask.
    No,
}

/// Checks other servers.
#[derive(Debug)]
pub struct Check {
    policy: Policy,
    resolver: Arc<Resolver>,
    tls: Arc<ClientConfig>,
    client: Client,
    sign: Sign,
}

/// The first obstacle; it has been told.
struct Obstacle;

/// Takes the steps as they are made.
type Tell<'a> = &'a mut (dyn FnMut(Step) + Send);

impl Check {
    /// Checks with the settings of `config`, and signs with `signer`.
    ///
    /// # Errors
    /// [`TlsError`] when a file of `federation.trusted_ca` cannot be used.
    pub fn new(config: &Config, signer: Signer, sign: Sign) -> Result<Self, TlsError> {
        let tls = tls::client_config(&config.federation.trusted_ca)?;
        let allowed = Allowed(config.federation.allow_addresses.clone());
        let lines = Lines::new(LINES);
        let resolver = Arc::new(Resolver::new(Arc::clone(&tls), lines.clone(), allowed));
        let client = Client::new(Arc::clone(&resolver), Arc::clone(&tls), Arc::new(signer), lines);
        Ok(Self { policy: Policy::new(&config.federation), resolver, tls, client, sign })
    }

    /// Takes every step up to the first that fails, and tells each to `tell`; whether none failed.
    pub async fn run(&self, server: &ServerName, tell: Tell<'_>) -> bool {
        self.steps(server, tell).await.is_ok()
    }

    async fn steps(&self, server: &ServerName, tell: Tell<'_>) -> Result<(), Obstacle> {
        self.check_policy(server, tell);
        let route = self.find(server, tell).await?;
        self.connect(&route, tell).await?;
        self.ask_version(server, tell).await?;
        self.ask_keys(server, tell).await?;
        match self.sign {
            Sign::Yes => self.ask_signed(server, tell).await,
            Sign::No => Ok(()),
        }
    }

    fn check_policy(&self, server: &ServerName, tell: Tell<'_>) {
        let text = match (self.policy.speaks_with(server), self.policy.shares_presence_with(server)) {
            (true, true) => return,
            (true, false) => "the configuration shares no presence with this server",
            (false, _) => "the configuration forbids to speak with this server; checked all the same",
        };
        note(tell, "policy", text);
    }

    async fn find(&self, server: &ServerName, tell: Tell<'_>) -> Result<Route, Obstacle> {
        let Found { route, delegation, records, .. } =
            self.resolver.find(server).await.map_err(|e| failed(tell, "name", e.to_string()))?;
        match delegation {
            Delegation::NotAsked => {
                note(tell, "delegation", "not asked for: the name is an address or has a port");
            }
            Delegation::None(why) => note(tell, "delegation", format!("none at /.well-known: {why}")),
            Delegation::To(name) => ok(tell, "delegation", format!("to {name}")),
        }
        match records {
            Records::NotAsked => {}
            Records::NoNameServer => {
                note(tell, "records", "this system names no name server for SRV records")
            }
            Records::None => note(tell, "records", "no SRV records: the default port"),
            Records::Of(service) => ok(tell, "records", format!("SRV of {service}: {}", places(&route))),
        }
        Ok(route)
    }

    async fn connect(&self, route: &Route, tell: Tell<'_>) -> Result<(), Obstacle> {
        let addresses = self.resolver.addresses(route).await;
        let addresses =
            addresses.map_err(|e| failed(tell, "addresses", format!("{}: {e}", places(route))))?;
        let list: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        ok(tell, "addresses", list.join(", "));
        let (mut reached, mut refusals) = (false, Vec::new());
        for address in addresses.iter().take(ADDRESSES) {
            match connect_to(*address, &route.tls_name, &self.tls).await {
                Ok(stream) => {
                    reached = true;
                    let version = stream.get_ref().1.protocol_version();
                    let version = version.and_then(|v| v.as_str()).unwrap_or("TLS");
                    let whose = route.tls_name.to_str();
                    ok(tell, "tls", format!("{address}: {version}, a valid certificate for {whose}"));
                }
                Err(e) => refusals.push(format!("{address}: {}", in_words(&e))),
            }
        }
        // An address that does not answer matters only when no other does: federation goes on to the next.
        let outcome = if reached { Outcome::Note } else { Outcome::Failed };
        for text in refusals {
            tell(Step { step: "tls", outcome, text });
        }
        if reached { Ok(()) } else { Err(Obstacle) }
    }

    async fn ask_version(&self, server: &ServerName, tell: Tell<'_>) -> Result<(), Obstacle> {
        match self.client.request(server, Method::GET, "/_matrix/federation/v1/version", None).await {
            Ok(answer) => match serde_json::from_str::<Version>(answer.get()) {
                Ok(Version { server }) => {
                    ok(tell, "version", printable(&format!("{} {}", server.name, server.version)));
                }
                Err(e) => note(tell, "version", format!("not told as Matrix has it: {e}")),
            },
            Err(RequestError::Status(status, _)) => note(tell, "version", format!("not told: {status}")),
            Err(e) => return Err(failed(tell, "version", e.to_string())),
        }
        Ok(())
    }

    async fn ask_keys(&self, server: &ServerName, tell: Tell<'_>) -> Result<(), Obstacle> {
        let answer = self.client.request(server, Method::GET, "/_matrix/key/v2/server", None).await;
        let answer = answer.map_err(|e| failed(tell, "keys", printable(&e.to_string())))?;
        let said = KeyDocument::verified(server, answer.get());
        let KeyDocument { keys, valid_until: UnixMillis(valid_until_ms), .. } =
            said.map_err(|e| failed(tell, "keys", printable(&e.to_string())))?;
        let now = unix_ms();
        if valid_until_ms <= now {
            let seconds = (now - valid_until_ms) / 1000;
            return Err(failed(tell, "keys", format!("expired {seconds} s ago, by the clock here")));
        }
        let ids: Vec<_> = keys.into_keys().collect();
        let hours = (valid_until_ms - now) as f64 / 3_600_000.0;
        let text = format!("{}, signed with themselves, valid for {hours:.1} h", ids.join(", "));
        ok(tell, "keys", printable(&text));
        Ok(())
    }

    async fn ask_signed(&self, server: &ServerName, tell: Tell<'_>) -> Result<(), Obstacle> {
        let user = format!("@{NOBODY}:{server}").replace('@', "%40").replace(':', "%3A");
        let path = format!("/_matrix/federation/v1/query/profile?user_id={user}");
        match self.client.request(server, Method::GET, &path, None).await {
            // That the user does not exist is said only to who proved to be a server.
            Ok(_) | Err(RequestError::Status(StatusCode::NOT_FOUND, _)) => {
                ok(tell, "signature", "accepted: that server can fetch the keys of this one");
                Ok(())
            }
            Err(RequestError::Status(StatusCode::UNAUTHORIZED, body)) => {
                let text = format!("refused: is this server running, and reached by its name? {body}");
                Err(failed(tell, "signature", printable(&text)))
            }
            Err(e) => Err(failed(tell, "signature", printable(&e.to_string()))),
        }
    }
}

/// The body of `version`.
#[derive(Deserialize)]
struct Version {
    server: Software,
}

#[derive(Deserialize)]
struct Software {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
}

fn ok(tell: Tell<'_>, step: &'static str, text: impl Into<String>) {
    tell(Step { step, outcome: Outcome::Ok, text: text.into() });
}

fn note(tell: Tell<'_>, step: &'static str, text: impl Into<String>) {
    tell(Step { step, outcome: Outcome::Note, text: text.into() });
}

fn failed(tell: Tell<'_>, step: &'static str, text: impl Into<String>) -> Obstacle {
    tell(Step { step, outcome: Outcome::Failed, text: text.into() });
    Obstacle
}

/// Why no TLS stands. Whoever answers in plain text names the wrong port, mostly.
fn in_words(e: &io::Error) -> String {
    match e.get_ref().and_then(|e| e.downcast_ref()) {
        Some(rustls::Error::InvalidMessage(_)) => format!("there is no TLS at this port ({e})"),
        Some(_) | None => e.to_string(),
    }
}

fn places(route: &Route) -> String {
    let places: Vec<_> = route.dial.iter().map(|(host, port)| format!("{host}:{port}")).collect();
    places.join(", ")
}

/// What a stranger said, on one line and without what a terminal obeys.
fn printable(text: &str) -> String {
    text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
