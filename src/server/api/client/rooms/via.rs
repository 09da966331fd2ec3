//! By which servers a room can be reached, as whoever names the room says.

use std::{convert::Infallible, sync::Arc};

use axum::{extract::FromRequestParts, http::request::Parts};
use ruma::{OwnedServerName, ServerName};

use crate::server::app::App;

/// `?via=`, and `?server_name=` of older clients; what is no name of a server is left out.
#[derive(Clone, Debug, Default)]
pub(super) struct Via(pub(super) Vec<OwnedServerName>);

/// Servers that are named, at most: more are not asked.
const MAX_NAMED: usize = 20;

impl FromRequestParts<Arc<App>> for Via {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Infallible> {
        Ok(Self::of(parts.uri.query().unwrap_or_default()))
    }
}

impl Via {
    fn of(query: &str) -> Self {
        let pairs: Vec<(String, String)> = serde_html_form::from_str(query).unwrap_or_default();
        let mut named = Vec::new();
        for wanted in ["via", "server_name"] {
            let values = pairs.iter().filter(|(key, _)| key == wanted).map(|(_, value)| value);
            named.extend(values.filter_map(|name| ServerName::parse(name).ok()));
        }
        named.truncate(MAX_NAMED);
        Self(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_in_either_way_and_what_is_none_is_left_out() {
        let rows = [
            ("", &[][..]),
            ("server_name=a.example&server_name=b.example%3A8448", &["a.example", "b.example:8448"]),
            ("server_name=old.example&via=new.example&x=y", &["new.example", "old.example"]),
            ("via=&via=%20&via=a/b&via=c.example", &["c.example"]),
        ];
        for (query, expected) in rows {
            assert_eq!(
                Via::of(query).0.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
                expected,
                "{query}"
            );
        }
    }
}
