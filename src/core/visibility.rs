//! Who may see a user's presence (L6): one pure function, asked at every exit.
//!
//! The rule of `presence.md`: those whom the user accepted on their list, and those they share a room with.
//! Two limits tighten it: the operator's on the size of rooms that count, and the user's own on whom to
//! share with. Users always see themselves; that is not asked here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What ties an observer to the user they would see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ties {
    /// The user accepted the observer on their list.
    pub accepted: bool,
    /// The members of the smallest room that both are joined to, if there is any.
    pub smallest_shared_room: Option<usize>,
}

/// With whom a user shares their presence: the user's own choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// With nobody: even those accepted are told nothing, and who could see the user before is told that
    /// nothing is known.
    Nobody,
    /// With those accepted on the list.
    List,
    /// With those, and everyone in shared rooms.
    #[default]
    SharedRooms,
}

/// Up to which size a room makes its members visible to each other: the operator's choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RoomLimit {
    /// Every room does, as in Matrix.
    #[default]
    None,
    /// A room with more joined members than this does not.
    Members(usize),
}

impl RoomLimit {
    /// Whether a room with so many joined members makes them visible to each other.
    pub const fn counts(self, members: usize) -> bool {
        match self {
            Self::None => true,
            Self::Members(most) => members <= most,
        }
    }
}

/// Whether an observer may see a user's presence.
pub fn may_see(ties: Ties, share: Share, limit: RoomLimit) -> bool {
    let by_room = ties.smallest_shared_room.is_some_and(|members| limit.counts(members));
    match share {
        Share::Nobody => false,
        Share::List => ties.accepted,
        Share::SharedRooms => ties.accepted || by_room,
    }
}

/// A user's sharing in the terms of MSC4495 (the content of its `m.presence.sharing`): the users and the
/// rooms that may see. What is not named may not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sharing {
    /// Single users.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<String, Verdict>,
    /// All members of a room.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rooms: BTreeMap<String, Verdict>,
}

/// MSC4495's word for a user or room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// May see.
    Allow,
    /// May not, whatever else allows it.
    Deny,
}

/// A user's sharing as MSC4495 has it, from those accepted and the rooms with their sizes.
pub fn to_msc4495<'a>(
    share: Share,
    limit: RoomLimit,
    accepted: impl IntoIterator<Item = &'a str>,
    rooms: impl IntoIterator<Item = (&'a str, usize)>,
) -> Sharing {
    let allow = |name: &str| (name.to_owned(), Verdict::Allow);
    let users = match share {
        Share::Nobody => BTreeMap::new(),
        Share::List | Share::SharedRooms => accepted.into_iter().map(allow).collect(),
    };
    let rooms = match share {
        Share::Nobody | Share::List => BTreeMap::new(),
        Share::SharedRooms => {
            let counting = rooms.into_iter().filter(|&(_, members)| limit.counts(members));
            counting.map(|(room, _)| allow(room)).collect()
        }
    };
    Sharing { users, rooms }
}

impl Sharing {
    /// MSC4495's own rule, for an observer and the rooms they share with the user.
    pub fn allows<'a>(&self, observer: &str, shared: impl IntoIterator<Item = &'a str>) -> bool {
        match self.users.get(observer) {
            Some(Verdict::Deny) => false,
            Some(Verdict::Allow) => true,
            None => shared.into_iter().any(|room| self.rooms.get(room) == Some(&Verdict::Allow)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing;
    use proptest::prelude::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    /// Ties × share × limit, all of them.
    #[test]
    fn l6_the_table_of_visibility() {
        use Share::{List, Nobody, SharedRooms};
        let (any, ten) = (RoomLimit::None, RoomLimit::Members(10));
        for (accepted, room, share, limit, seen) in [
            (false, None, SharedRooms, any, false),
            (false, None, List, any, false),
            (false, None, Nobody, any, false),
            (false, Some(2), SharedRooms, any, true),
            (false, Some(2), List, any, false),
            (false, Some(2), Nobody, any, false),
            (true, None, SharedRooms, any, true),
            (true, None, List, any, true),
            (true, None, Nobody, any, false),
            (true, Some(2), SharedRooms, any, true),
            (true, Some(2), List, any, true),
            (true, Some(2), Nobody, any, false),
            (false, Some(10), SharedRooms, ten, true),
            (false, Some(11), SharedRooms, ten, false),
            (true, Some(11), SharedRooms, ten, true),
            (false, Some(100_000), SharedRooms, any, true),
        ] {
            let ties = Ties { accepted, smallest_shared_room: room };
            assert_eq!(may_see(ties, share, limit), seen, "{ties:?} {share:?} {limit:?}");
        }
    }

    #[test]
    fn l6_words_of_the_setting() {
        for (share, word) in
            [(Share::Nobody, "nobody"), (Share::List, "list"), (Share::SharedRooms, "shared_rooms")]
        {
            assert_eq!(serde_json::to_string(&share).expect("a word"), format!("{word:?}"));
        }
        assert!(serde_json::from_str::<Share>("\"everybody\"").is_err());
    }

    #[test]
    fn l6_a_denial_of_msc4495_stands_above_its_rooms() {
        let json = r#"{"users":{"@mallory:example.com":"deny"},"rooms":{"!family":"allow"}}"#;
        let sharing: Sharing = serde_json::from_str(json).expect("its own JSON");
        assert!(sharing.allows("@bob:example.com", ["!other", "!family"]));
        assert!(!sharing.allows("@mallory:example.com", ["!family"]));
        assert!(!sharing.allows("@bob:example.com", ["!other"]));
        assert_eq!(serde_json::to_string(&sharing).expect("JSON"), json);
    }

    proptest! {
        #![proptest_config(testing::config())]

        #[test]
        fn l6_msc4495_says_the_same(
            accepted: bool,
            sizes in prop::collection::vec((2usize..20, any::<bool>()), 0..5),
            share in prop::sample::select(vec![Share::Nobody, Share::List, Share::SharedRooms]),
            limit in prop::sample::select(vec![RoomLimit::None, RoomLimit::Members(10)]),
        ) {
            let names: Vec<String> = (0..sizes.len()).map(|n| format!("!room{n}")).collect();
            let rooms = names.iter().map(String::as_str).zip(sizes.iter().map(|&(size, _)| size));
            let shared: Vec<(&str, usize)> =
                rooms.clone().zip(&sizes).filter(|(_, (_, shared))| *shared).map(|(room, _)| room).collect();
            let sharing = to_msc4495(share, limit, accepted.then_some("@bob:example.org"), rooms);
            let ties = Ties { accepted, smallest_shared_room: shared.iter().map(|&(_, size)| size).min() };
            let by_msc = sharing.allows("@bob:example.org", shared.iter().map(|&(room, _)| room));
            prop_assert_eq!(may_see(ties, share, limit), by_msc);
        }
    }
}
