//! HTTP requests by what they are about and how they were answered: a small fixed table.

use super::counter::Counter;

/// What a request is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// Clients that want to know what is new.
    Sync,
    /// Clients and presence.
    Presence,
    /// Clients and rooms.
    Rooms,
    /// Clients and all else.
    Client,
    /// Transactions of other servers.
    Transaction,
    /// Other servers and all else.
    Federation,
    /// The web client, health, and what does not exist.
    Web,
}

/// The statuses that are told apart, by their first digit.
const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Where other servers put transactions, and reminders in the brief form.
const TRANSACTIONS: [&str; 2] =
    ["/_matrix/federation/v1/send/", "/_matrix/federation/unstable/org.pilotlight/r/"];

/// The status of a request that was one too many.
const TOO_MANY: u16 = 429;

/// How many requests there were.
#[derive(Debug, Default)]
pub struct Requests {
    counts: [[Counter; STATUSES.len()]; Class::ALL.len()],
    limited: Counter,
}

impl Class {
    const ALL: [Self; 7] = [
        Self::Sync,
        Self::Presence,
        Self::Rooms,
        Self::Client,
        Self::Transaction,
        Self::Federation,
        Self::Web,
    ];

    /// What a request for `path` is about.
    pub fn of(path: &str) -> Self {
        if let Some(rest) = path.strip_prefix("/_matrix/client/") {
            let (version, rest) = rest.split_once('/').unwrap_or((rest, ""));
            let rest =
                if version == "unstable" { rest.split_once('/').unwrap_or(("", rest)).1 } else { rest };
            return match rest.split('/').next().unwrap_or_default() {
                "sync" | "events" | "initialSync" => Self::Sync,
                "presence" => Self::Presence,
                "rooms" | "createRoom" | "join" | "knock" | "joined_rooms" | "publicRooms" | "directory" => {
                    Self::Rooms
                }
                _ => Self::Client,
            };
        }
        if path.starts_with("/_matrix/media/") {
            return Self::Client;
        }
        if TRANSACTIONS.iter().any(|place| path.starts_with(place)) {
            Self::Transaction
        } else if path.starts_with("/_matrix/federation/") || path.starts_with("/_matrix/key/") {
            Self::Federation
        } else {
            Self::Web
        }
    }

    /// The value of the label.
    fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Presence => "presence",
            Self::Rooms => "rooms",
            Self::Client => "client",
            Self::Transaction => "transaction",
            Self::Federation => "federation",
            Self::Web => "web",
        }
    }
}

impl Requests {
    /// A request was answered with `status`.
    pub fn count(&self, class: Class, status: http::StatusCode) {
        let first_digit = usize::from(status.as_u16() / 100).clamp(1, STATUSES.len());
        self.counts[class as usize][first_digit - 1].add(1);
        if status.as_u16() == TOO_MANY {
            self.limited.add(1);
        }
    }

    /// How many were refused because there were too many.
    pub fn limited(&self) -> u64 {
        self.limited.value()
    }

    /// The labels and the count of each kind of request that ever came.
    pub fn table(&self) -> impl Iterator<Item = (String, u64)> {
        Class::ALL.into_iter().flat_map(move |class| {
            let row = STATUSES.iter().zip(&self.counts[class as usize]);
            row.map(move |(status, count)| {
                (format!("class=\"{}\",status=\"{status}\"", class.as_str()), count.value())
            })
            .filter(|(_, count)| *count > 0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_a_class_and_every_class_its_row() {
        for (path, class) in [
            ("/_matrix/client/v3/sync", Class::Sync),
            ("/_matrix/client/r0/initialSync", Class::Sync),
            ("/_matrix/client/v3/presence/@a:x/status", Class::Presence),
            ("/_matrix/client/unstable/org.pilotlight/presence/@a:x/device", Class::Presence),
            ("/_matrix/client/v3/rooms/!r/send/m.room.message/1", Class::Rooms),
            ("/_matrix/client/v3/login", Class::Client),
            ("/_matrix/client/versions", Class::Client),
            ("/_matrix/client/unstable", Class::Client),
            ("/_matrix/media/v3/upload", Class::Client),
            ("/_matrix/federation/v1/send/1.1", Class::Transaction),
            ("/_matrix/federation/unstable/org.pilotlight/r/1", Class::Transaction),
            ("/_matrix/federation/v1/version", Class::Federation),
            ("/_matrix/key/v2/server", Class::Federation),
            ("/", Class::Web),
            ("", Class::Web),
        ] {
            assert_eq!(Class::of(path), class, "{path}");
        }
        assert!(Class::ALL.iter().enumerate().all(|(row, class)| *class as usize == row));
    }

    #[test]
    fn requests_are_counted_by_class_and_first_digit() {
        let requests = Requests::default();
        for status in [200, 204, 404, 429, 500, 999] {
            requests.count(Class::Sync, http::StatusCode::from_u16(status).expect("a status"));
        }
        requests.count(Class::Web, http::StatusCode::OK);
        let table: Vec<_> = requests.table().collect();
        let row =
            |class: &str, status: &str, count| (format!("class=\"{class}\",status=\"{status}\""), count);
        let expected =
            [row("sync", "2xx", 2), row("sync", "4xx", 2), row("sync", "5xx", 2), row("web", "2xx", 1)];
        assert_eq!(table, expected);
        assert_eq!(requests.limited(), 1);
    }
}
