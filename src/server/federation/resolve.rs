//! From a server's name to where it answers, what it is called there, and whose certificate it shows.
//!
//! Source: Matrix server-server API, "Resolving server names". The steps are numbered as there.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_resolver::{TokioResolver, proto::rr::RData};
use parking_lot::Mutex;
use ruma::{OwnedServerName, ServerName};
use rustls::{ClientConfig, pki_types::ServerName as TlsName};
use serde::Deserialize;

use super::fetch::Fetch;
use crate::server::outgoing::{
    addresses::Allowed,
    lines::Lines,
    look_ups::{LookUps, MAX_SERVER_LOOK_UPS},
};

/// The port of a server that names none.
const DEFAULT_PORT: u16 = 8448;

/// How many servers' routes are remembered; past that the memory starts anew.
const REMEMBERED: usize = 10_000;

/// How long a delegation by well-known file holds when the answer does not say; and its limits.
const DELEGATION_DEFAULT: Duration = Duration::from_secs(24 * 3600);
const DELEGATION_LEAST: Duration = Duration::from_secs(300);
const DELEGATION_MOST: Duration = Duration::from_secs(48 * 3600);

/// How long a server without a (valid) well-known file is not asked for it again.
const NO_DELEGATION: Duration = Duration::from_secs(3600);

/// Where and how to reach one server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// Names and ports to dial, in this order.
    pub dial: Vec<(String, u16)>,
    /// What goes into the `Host` header.
    pub host: String,
    /// Whose certificate the server must show.
    pub tls_name: TlsName<'static>,
}

/// A route, and how it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where and how to reach the server.
    pub route: Route,
    /// What its well-known file says.
    pub delegation: Delegation,
    /// What its SRV records say.
    pub records: Records,
    /// How long the route holds.
    holds: Duration,
}

/// What a well-known file says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Delegation {
    /// It was not asked for: the name is an address or has a port.
    NotAsked,
    /// There is none, or none that counts; says why.
    None(String),
    /// Another name answers.
    To(OwnedServerName),
}

/// What SRV records say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Records {
    /// They were not asked for: the name is an address or has a port.
    NotAsked,
    /// This system names no name server to ask.
    NoNameServer,
    /// There are none.
    None,
    /// These of this service name the hosts to dial.
    Of(&'static str),
}

/// Why a server cannot be reached.
#[derive(Clone, Debug, Eq, thiserror::Error, PartialEq)]
pub enum ResolveError {
    /// Its name cannot stand in a certificate.
    #[error("{0:?} cannot stand in a certificate")]
    Name(String),
    /// Its name has no address.
    #[error("{0} has no address")]
    NoAddress(String),
    /// It has only addresses that must not be dialled (`federation.allow_addresses`).
    #[error("{0} may not be dialled (see federation.allow_addresses)")]
    Forbidden(IpAddr),
}

/// Finds and remembers routes.
#[derive(Debug)]
pub struct Resolver {
    dns: Option<TokioResolver>,
    fetch: Fetch,
    allowed: Allowed,
    look_ups: LookUps,
    routes: Mutex<HashMap<OwnedServerName, (Arc<Route>, Instant)>>,
}

/// The body of `/.well-known/matrix/server`.
#[derive(Deserialize)]
struct WellKnown {
    #[serde(rename = "m.server")]
    server: OwnedServerName,
}

impl Resolver {
    /// A resolver that asks the system's name servers, and trusts `tls` for well-known files, fetched over some of `lines`.
    pub fn new(tls: Arc<ClientConfig>, lines: Lines, allowed: Allowed) -> Self {
        let look_ups = LookUps::new(MAX_SERVER_LOOK_UPS);
        let fetch = Fetch::new(tls, lines, look_ups.clone());
        let dns = TokioResolver::builder_tokio().and_then(|builder| builder.build());
        let dns = dns
            .inspect_err(|e| tracing::warn!(error = %e, "no name server: SRV records are not looked up"))
            .ok();
        Self { dns, fetch, allowed, look_ups, routes: Mutex::default() }
    }

    /// The way to `server`. Remembered as long as its delegation holds.
    ///
    /// # Errors
    /// [`ResolveError::Name`]; whether the addresses can be dialled shows in [`Self::addresses`].
    pub async fn route(&self, server: &ServerName) -> Result<Arc<Route>, ResolveError> {
        if let Some((route, until)) = self.lock().get(server)
            && Instant::now() < *until
        {
            return Ok(Arc::clone(route));
        }
        let Found { route, holds, .. } = self.find(server).await?;
        let route = Arc::new(route);
        let mut routes = self.lock();
        if routes.len() >= REMEMBERED {
            routes.clear();
        }
        routes.insert(server.to_owned(), (Arc::clone(&route), Instant::now() + holds));
        Ok(route)
    }

    /// The addresses to try for a route, in order.
    ///
    /// # Errors
    /// [`ResolveError::NoAddress`] or, when there are addresses but none may be dialled,
    /// [`ResolveError::Forbidden`].
    pub async fn addresses(&self, route: &Route) -> Result<Vec<SocketAddr>, ResolveError> {
        let mut found = Vec::new();
        let mut forbidden = None;
        for (name, port) in &route.dial {
            let Ok(addresses) = self.look_ups.find(name, *port).await else { continue };
            for address in addresses {
                if self.allowed.may_dial(address.ip()) {
                    found.push(address);
                } else {
                    forbidden = Some(address.ip());
                }
            }
        }
        match (found.is_empty(), forbidden) {
            (false, _) => Ok(found),
            (true, Some(ip)) => Err(ResolveError::Forbidden(ip)),
            (true, None) => Err(ResolveError::NoAddress(route.host.clone())),
        }
    }

    /// Looks the way to `server` up, whatever is remembered.
    ///
    /// # Errors
    /// Like [`Self::route`].
    pub async fn find(&self, server: &ServerName) -> Result<Found, ResolveError> {
        // Steps 1 and 2: an address, or a port of its own, leave nothing to look up.
        if let Some(route) = direct(server)? {
            let (delegation, records) = (Delegation::NotAsked, Records::NotAsked);
            return Ok(Found { route, delegation, records, holds: DELEGATION_MOST });
        }
        // Step 3: the host may delegate; steps 4 to 6, if it does not.
        let (host, delegation, holds) = match self.well_known(server.host()).await {
            Ok((delegated, holds)) => {
                if let Some(route) = direct(&delegated)? {
                    // 3.1, 3.2
                    let (delegation, records) = (Delegation::To(delegated), Records::NotAsked);
                    return Ok(Found { route, delegation, records, holds });
                }
                (delegated.host().to_owned(), Delegation::To(delegated), holds)
            }
            Err(why) => (server.host().to_owned(), Delegation::None(why), NO_DELEGATION),
        };
        // 3.3 to 3.5, or 4 to 6
        let (route, records) = self.by_srv(&host).await?;
        Ok(Found { route, delegation, records, holds })
    }

    /// The SRV record of `_matrix-fed._tcp` or, deprecated, `_matrix._tcp`; else the default port.
    async fn by_srv(&self, host: &str) -> Result<(Route, Records), ResolveError> {
        let mut dial = Vec::new();
        let mut records = if self.dns.is_some() { Records::None } else { Records::NoNameServer };
        for service in ["_matrix-fed._tcp", "_matrix._tcp"] {
            dial = self.srv(service, host).await;
            if !dial.is_empty() {
                records = Records::Of(service);
                break;
            }
        }
        if dial.is_empty() {
            dial.push((host.to_owned(), DEFAULT_PORT));
        }
        Ok((Route { dial, host: host.to_owned(), tls_name: tls_name(host)? }, records))
    }

    /// The targets of the SRV records of `service`, in the order in which they are to be tried.
    async fn srv(&self, service: &str, host: &str) -> Vec<(String, u16)> {
        let Some(dns) = &self.dns else { return Vec::new() };
        let Ok(answer) = dns.srv_lookup(format!("{service}.{host}.")).await else { return Vec::new() };
        let mut records: Vec<_> = answer
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(srv),
                _ => None,
            })
            .collect();
        // The heaviest first within a priority: a fair enough choice for one server.
        records.sort_by_key(|srv| (srv.priority, std::cmp::Reverse(srv.weight)));
        records.iter().map(|srv| (srv.target.to_utf8().trim_end_matches('.').to_owned(), srv.port)).collect()
    }

    /// The name to which `host` delegates, and for how long; or why it does not.
    async fn well_known(&self, host: &str) -> Result<(OwnedServerName, Duration), String> {
        let answer = self.fetch.get(host, "/.well-known/matrix/server", &self.allowed).await;
        let answer = answer.map_err(|e| {
            tracing::debug!(%host, error = %e, "no delegation");
            e.to_string()
        })?;
        let server = delegated(&answer.body)?;
        let holds = answer.max_age.unwrap_or(DELEGATION_DEFAULT).clamp(DELEGATION_LEAST, DELEGATION_MOST);
        Ok((server, holds))
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, HashMap<OwnedServerName, (Arc<Route>, Instant)>> {
        self.routes.lock()
    }
}

/// The server that the body of a well-known file names.
pub(in crate::server) fn delegated(body: &[u8]) -> Result<OwnedServerName, String> {
    serde_json::from_slice(body).map(|WellKnown { server }| server).map_err(|e| e.to_string())
}

/// The route to a name that is an IP address, or has a port.
pub(in crate::server) fn direct(server: &ServerName) -> Result<Option<Route>, ResolveError> {
    if !server.is_ip_literal() && server.port().is_none() {
        return Ok(None);
    }
    // An IPv6 literal has brackets in a server name and a Host header, and none when dialled.
    let host = server.host().trim_start_matches('[').trim_end_matches(']');
    Ok(Some(Route {
        dial: vec![(host.to_owned(), server.port().unwrap_or(DEFAULT_PORT))],
        host: server.as_str().to_owned(),
        tls_name: tls_name(host)?,
    }))
}

fn tls_name(host: &str) -> Result<TlsName<'static>, ResolveError> {
    TlsName::try_from(host.to_owned()).map_err(|_| ResolveError::Name(host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_an_address_or_a_port_need_no_look_up() {
        for (name, dial, host) in [
            ("1.2.3.4", Some(("1.2.3.4", 8448)), "1.2.3.4"),
            ("1.2.3.4:443", Some(("1.2.3.4", 443)), "1.2.3.4:443"),
            ("[2001:db8::1]", Some(("2001:db8::1", 8448)), "[2001:db8::1]"),
            ("[2001:db8::1]:80", Some(("2001:db8::1", 80)), "[2001:db8::1]:80"),
            ("example.org:8449", Some(("example.org", 8449)), "example.org:8449"),
            ("example.org", None, ""),
        ] {
            let route = direct(<&ServerName>::try_from(name).unwrap()).unwrap();
            let found = route.as_ref().map(|r| (r.dial[0].0.as_str(), r.dial[0].1));
            assert_eq!(found, dial, "{name}");
            assert_eq!(route.map_or(String::new(), |r| r.host), host, "{name}");
        }
    }
}
