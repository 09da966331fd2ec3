//! What servers tell each other of a room beside its events: who types there, and who has read how far.
//!
//! The EDUs `m.typing` and `m.receipt` of Matrix. A server speaks for its own users; whether they are in the room is for the
//! rooms to say.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use ruma::{OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use super::{
    edu::{Edu, Key},
    outbox::Servers,
    queue::Queue,
};
use crate::{
    core::time::Instant,
    server::{clock::Clock, config::servers::Policy, event::receipt::Receipt},
};

/// The type of EDUs that say who types.
pub const TYPING: &str = "m.typing";

/// The type of EDUs that say who has read how far.
pub const RECEIPT: &str = "m.receipt";

/// How long somebody of another server types who is not said to have ceased.
pub const TYPES_FOR: Duration = Duration::from_secs(60);

/// After this time it is said again that somebody types who goes on.
const SAID_AGAIN: Duration = Duration::from_secs(40);

/// How long receipts wait for others, so that they are said together.
const RECEIPTS_WAIT: Duration = Duration::from_secs(2);

/// The receipts of one EDU that are read; what is beyond is passed over.
const MAX_RECEIPTS: usize = 1_000;

/// The kind of receipts that others are told of.
const READ: &str = "m.read";

/// Somebody types in a room, or does so no longer.
#[derive(Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Typing {
    /// Where.
    pub room_id: OwnedRoomId,
    /// Who.
    pub user_id: OwnedUserId,
    /// Whether they do.
    pub typing: bool,
}

impl Typing {
    /// Reads the content of an `m.typing` of the server `origin`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judged(origin: &ServerName, content: &RawValue) -> Result<Self, &'static str> {
        let typing: Self =
            serde_json::from_str(content.get()).map_err(|_| "the content is not that of a typing notice")?;
        if typing.user_id.server_name() == origin {
            Ok(typing)
        } else {
            Err("a server speaks for its own users only")
        }
    }
}

#[derive(Deserialize, Serialize)]
struct ReceiptData {
    #[serde(default)]
    ts: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    thread_id: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct UserReceipt {
    data: ReceiptData,
    event_ids: Vec<OwnedEventId>,
}

/// Reads the content of an `m.receipt` of the server `origin`: what it says of its own users that others may know. A user
/// or a room that cannot be read is passed over alone.
///
/// # Errors
/// What is wrong with it.
pub fn read_receipts(origin: &ServerName, content: &RawValue) -> Result<Vec<Receipt>, &'static str> {
    type Kinds<'a> = BTreeMap<String, BTreeMap<String, &'a RawValue>>;
    let rooms: BTreeMap<String, &RawValue> =
        serde_json::from_str(content.get()).map_err(|_| "the content is not that of receipts")?;
    let mut receipts = Vec::new();
    for (room, kinds) in rooms {
        let (Ok(room), Ok(mut kinds)) =
            (OwnedRoomId::try_from(room), serde_json::from_str::<Kinds<'_>>(kinds.get()))
        else {
            continue;
        };
        for (user, said) in kinds.remove(READ).unwrap_or_default() {
            if receipts.len() >= MAX_RECEIPTS {
                return Ok(receipts);
            }
            receipts.extend(receipt(origin, &room, user, said));
        }
    }
    Ok(receipts)
}

fn receipt(origin: &ServerName, room: &RoomId, user: String, said: &RawValue) -> Option<Receipt> {
    let user = OwnedUserId::try_from(user).ok().filter(|user| user.server_name() == origin)?;
    let said: UserReceipt = serde_json::from_str(said.get()).ok()?;
    let thread = said.data.thread_id.unwrap_or_default();
    let event = said.event_ids.into_iter().next_back()?;
    (thread.len() <= 255).then(|| Receipt {
        room: room.to_owned(),
        user,
        kind: READ.to_owned(),
        thread,
        event: event.to_string(),
        ts_ms: said.data.ts.min(1 << 53),
        shown: true,
    })
}

/// The content of the EDU that says `receipt`.
fn receipt_content(receipt: &Receipt) -> serde_json::Value {
    let thread_id = (!receipt.thread.is_empty()).then(|| receipt.thread.clone());
    let data = ReceiptData { ts: receipt.ts_ms, thread_id };
    json!({ &receipt.room: { &receipt.kind: { &receipt.user: { "data": data, "event_ids": [receipt.event] } } } })
}

/// The contents of EDUs that say receipts, put together: as many EDUs as there are receipts of one user in one room.
pub(super) fn together<'a>(
    contents: impl IntoIterator<Item = &'a RawValue>,
) -> Result<Vec<Box<RawValue>>, serde_json::Error> {
    type Kinds<'a> = BTreeMap<String, BTreeMap<String, &'a RawValue>>;
    let mut edus: Vec<BTreeMap<String, Kinds<'a>>> = Vec::new();
    for content in contents {
        for (room, kinds) in serde_json::from_str::<BTreeMap<String, Kinds<'a>>>(content.get())? {
            for (kind, users) in kinds {
                for (user, said) in users {
                    let says = |edu: &BTreeMap<String, Kinds<'a>>| {
                        edu.get(&room)
                            .and_then(|kinds| kinds.get(&kind))
                            .is_some_and(|of| of.contains_key(&user))
                    };
                    let at = edus.iter().position(|edu| !says(edu)).unwrap_or_else(|| {
                        edus.push(BTreeMap::new());
                        edus.len() - 1
                    });
                    let of_room = edus[at].entry(room.clone()).or_default();
                    of_room.entry(kind.clone()).or_default().insert(user, said);
                }
            }
        }
    }
    edus.iter().map(serde_json::value::to_raw_value).collect()
}

/// Tells other servers who of this one types where, and who has read how far. Bounded by those who type.
#[derive(Debug)]
pub struct RoomEdus {
    own: OwnedServerName,
    clock: Clock,
    queue: Arc<Queue>,
    policy: Arc<Policy>,
    /// Who was said to type, and when last.
    typing: Mutex<BTreeMap<OwnedRoomId, BTreeMap<OwnedUserId, Instant>>>,
}

impl RoomEdus {
    /// Nobody types.
    pub(super) fn new(own: &ServerName, clock: Clock, queue: Arc<Queue>, policy: Arc<Policy>) -> Self {
        Self { own: own.to_owned(), clock, queue, policy, typing: Mutex::default() }
    }

    /// These users type in `room`, and nobody else does: the servers in it are told of those of this one, once when they begin,
    /// from time to time while they go on, and when they cease.
    pub fn handle_typing(&self, room: &RoomId, users: &[OwnedUserId], servers: &Servers) {
        let now = self.clock.now();
        let ours: BTreeSet<&OwnedUserId> =
            users.iter().filter(|user| user.server_name() == self.own).collect();
        let mut said = Vec::new();
        {
            let mut rooms = self.typing.lock();
            let before = rooms.entry(room.to_owned()).or_default();
            before.retain(|user, _| {
                let goes_on = ours.contains(user);
                if !goes_on {
                    said.push((user.clone(), false));
                }
                goes_on
            });
            for user in ours {
                if before.get(user).is_none_or(|last| now.since(*last) >= SAID_AGAIN) {
                    before.insert(user.clone(), now);
                    said.push((user.clone(), true));
                }
            }
            if before.is_empty() {
                rooms.remove(room);
            }
        }
        for (user, typing) in said {
            let key = Key::Typing { room: room.to_owned(), user: user.clone() };
            let content = Typing { room_id: room.to_owned(), user_id: user, typing };
            self.tell(servers, TYPING, &key, &content, None);
        }
    }

    /// Somebody has read so far: if that is a user of this server, and others may know, the servers in the room are told.
    pub fn handle_receipt(&self, receipt: &Receipt, servers: &Servers) {
        if !receipt.shown || receipt.kind != READ || receipt.user.server_name() != self.own {
            return;
        }
        let (room, user, thread) = (receipt.room.clone(), receipt.user.clone(), receipt.thread.clone());
        let (key, until) = (Key::Receipt { room, user, thread }, self.clock.now() + RECEIPTS_WAIT);
        self.tell(servers, RECEIPT, &key, &receipt_content(receipt), Some(until));
    }

    /// Tells the servers, at once or together with others like it `until` then.
    fn tell(
        &self,
        servers: &Servers,
        kind: &'static str,
        key: &Key,
        content: &impl Serialize,
        until: Option<Instant>,
    ) {
        let others = servers.keys().filter(|server| **server != self.own && self.policy.speaks_with(server));
        let mut encoded = None;
        for server in others {
            let Some(content) =
                encoded.get_or_insert_with(|| serde_json::value::to_raw_value(content).ok()).clone()
            else {
                return;
            };
            let edu = Edu { kind, content, brief: None, key: key.clone(), seq: 0 };
            let pushed = match until {
                Some(until) => self.queue.push_receipt(server, edu, until),
                None => self.queue.push(server, edu),
            };
            if let Err(error) = pushed {
                tracing::debug!(%server, kind, %error, "is not told");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ruma::server_name;
    use serde_json::value::to_raw_value;

    use super::*;

    fn raw(json: &serde_json::Value) -> Box<RawValue> {
        to_raw_value(json).expect("JSON")
    }

    #[test]
    fn a_server_says_of_its_own_users_that_they_type_and_of_nobody_else() {
        let judged = |json| Typing::judged(server_name!("b"), &raw(&json)).map(|typing| typing.typing);
        assert_eq!(
            judged(json!({ "room_id": "!r:a", "user_id": "@u:b", "typing": true, "more": 1 })),
            Ok(true)
        );
        assert_eq!(judged(json!({ "room_id": "!r:a", "user_id": "@u:b", "typing": false })), Ok(false));
        for bad in [
            json!({ "room_id": "!r:a", "user_id": "@u:a", "typing": true }),
            json!({ "room_id": "!r:a", "user_id": "@u:c", "typing": true }),
            json!({ "room_id": "r", "user_id": "@u:b", "typing": true }),
            json!({ "room_id": "!r:a", "user_id": "u", "typing": true }),
            json!({ "room_id": "!r:a", "user_id": "@u:b", "typing": "yes" }),
            json!({ "room_id": "!r:a", "user_id": "@u:b" }),
            json!([]),
        ] {
            assert!(judged(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn of_receipts_what_can_be_read_and_is_for_the_server_to_say_is_taken() {
        let data = |ts: u64| json!({ "data": { "ts": ts }, "event_ids": ["$1"] });
        let content = json!({
            "!r:a": {
                "m.read": {
                    "@u:b": { "data": { "ts": 7, "thread_id": "main" }, "event_ids": ["$0", "$1"] },
                    "@other:c": data(1), "nobody": data(1),
                    "@none:b": { "data": {}, "event_ids": [] },
                    "@long:b": { "data": { "thread_id": "x".repeat(256) }, "event_ids": ["$1"] },
                    "@odd:b": 1,
                },
                "m.read.private": { "@secret:b": data(1) },
            },
            "no room": { "m.read": { "@u:b": data(1) } },
            "!odd:a": 5,
        });
        let read = read_receipts(server_name!("b"), &raw(&content)).expect("can be read");
        let expected = Receipt {
            room: "!r:a".try_into().expect("a room ID"),
            user: "@u:b".try_into().expect("a user ID"),
            kind: READ.to_owned(),
            thread: "main".to_owned(),
            event: "$1".to_owned(),
            ts_ms: 7,
            shown: true,
        };
        assert_eq!(read, std::slice::from_ref(&expected));
        let again = read_receipts(server_name!("b"), &raw(&receipt_content(&expected)));
        assert_eq!(again, Ok(vec![expected.clone()]), "what is written is read again");
        assert!(read_receipts(server_name!("b"), &raw(&json!([]))).is_err());
        let mut in_thread = expected.clone();
        in_thread.thread = "$root".to_owned();
        let mut of_other = expected.clone();
        of_other.user = "@v:b".try_into().expect("a user ID");
        let mut elsewhere = expected.clone();
        elsewhere.room = "!s:a".try_into().expect("a room ID");
        let receipts = [expected, in_thread, of_other, elsewhere];
        let contents: Vec<_> = receipts.iter().map(|receipt| raw(&receipt_content(receipt))).collect();
        let edus = together(contents.iter().map(|content| &**content)).expect("can be read");
        assert_eq!(edus.len(), 2, "one user's two in one room stand in two");
        let mut read: Vec<_> =
            edus.iter().flat_map(|edu| read_receipts(server_name!("b"), edu).expect("can be read")).collect();
        read.sort_by_key(|receipt| receipts.iter().position(|one| one == receipt));
        assert_eq!(read, receipts);
        let users: BTreeMap<_, _> = (0..MAX_RECEIPTS + 9).map(|n| (format!("@u{n}:b"), data(1))).collect();
        let many = read_receipts(server_name!("b"), &raw(&json!({ "!r:a": { "m.read": users } })));
        assert_eq!(many.map(|many| many.len()), Ok(MAX_RECEIPTS));
    }
}
