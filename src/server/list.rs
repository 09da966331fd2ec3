//! What is kept of presence lists, and said of them to other servers: plain values.

use std::collections::{BTreeMap, BTreeSet};

use ruma::{OwnedUserId, UserId};
use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::core::{
    list::{AutoAccept, Contact, Message, Observed, Observing, Relation},
    policy::Policy,
    visibility::Share,
};

/// How a user shares presence and takes invites.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// With whom the user shares their presence. Default: everyone in shared rooms, and the list.
    pub share: Share,
    /// Whose requests are accepted unasked. Default: of those the user observes.
    pub auto_accept: AutoAccept,
    /// Who may begin a private chat, by the state the user chose. Default: everybody.
    pub invites: Policy,
}

/// The type of the account data that says whom its user ignores.
pub const IGNORED_USERS: &str = "m.ignored_user_list";

/// Whom a piece of account data of the type [`IGNORED_USERS`] says that its user ignores; nobody if it is not of that
/// shape. Nobody ignores themselves.
pub fn ignored_users(user: &UserId, content: Option<&str>) -> BTreeSet<OwnedUserId> {
    #[derive(Deserialize)]
    struct Content {
        ignored_users: BTreeMap<String, IgnoredAny>,
    }
    let content = content.and_then(|content| serde_json::from_str::<Content>(content).ok());
    let named = content.into_iter().flat_map(|content| content.ignored_users.into_keys());
    named.filter_map(|named| UserId::parse(named).ok()).filter(|named| named != user).collect()
}

/// The types of the account data in which a user says that they take no invites: as the specification calls it, and as
/// clients did before.
pub const INVITE_PERMISSION: [&str; 2] =
    ["m.invite_permission_config", "org.matrix.msc4380.invite_permission_config"];

/// Whether a piece of account data of one of the types [`INVITE_PERMISSION`] says that its user takes no invites.
pub fn blocks_invites(content: &str) -> bool {
    #[derive(Deserialize)]
    struct Content {
        default_action: String,
    }
    serde_json::from_str::<Content>(content).is_ok_and(|content| content.default_action == "block")
}

/// What a user keeps about another one is different.
#[derive(Clone, Debug)]
pub struct ListRow {
    /// The user of this server.
    pub owner: OwnedUserId,
    /// The other one, of whichever server.
    pub contact: OwnedUserId,
    /// Who of the two observed whom until now.
    pub before: Relation,
    /// What is kept from here on; `None`: nothing.
    pub kept: Option<Contact>,
}

impl ListRow {
    /// Who of the two observes whom from here on.
    pub fn after(&self) -> Relation {
        self.kept.as_ref().map(|kept| kept.relation).unwrap_or_default()
    }

    /// Whether the contact came to observe the owner, or ceased to.
    pub fn changes_observer(&self) -> bool {
        let accepted = |relation: Relation| relation.observed() == Observed::Yes;
        accepted(self.before) != accepted(self.after())
    }

    /// Whether the owner came to observe the contact, or ceased to; also when they only asked to until now.
    pub fn changes_observed(&self) -> bool {
        let (before, after) = (self.before.observing(), self.after().observing());
        before != after && (before == Observing::Yes || after != Observing::Asked)
    }
}

/// A message about a presence list that the contact's server has not acknowledged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListMessage {
    /// The user of this server.
    pub owner: OwnedUserId,
    /// The user of the server that is to be told.
    pub contact: OwnedUserId,
    /// What it is to be told.
    pub message: Message,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::list::{Kind, Wish};

    fn row(before: Relation, after: Relation) -> ListRow {
        ListRow {
            owner: "@a:x".try_into().expect("a user ID"),
            contact: "@b:y".try_into().expect("a user ID"),
            before,
            kept: Some(Contact { relation: after, ..Contact::default() }),
        }
    }

    fn wish(mut relation: Relation, wish: Wish) -> Relation {
        relation.handle_wish(wish, AutoAccept::Reverse);
        relation
    }

    fn message(mut relation: Relation, kind: Kind) -> Relation {
        relation.handle_message(kind, None, AutoAccept::Reverse);
        relation
    }

    #[test]
    fn who_is_ignored_is_read_as_far_as_it_is_understood() {
        let me: OwnedUserId = "@a:x".try_into().expect("a user ID");
        let read = |content: &str| ignored_users(&me, Some(content)).into_iter().map(|u| u.to_string());
        let rows: [(&str, &[&str]); 6] = [
            (r#"{"ignored_users":{"@b:x":{},"@c:y":{"more":1}}}"#, &["@b:x", "@c:y"]),
            (r#"{"ignored_users":{"@b:x":null,"nobody":{},"@a:x":{}},"k":[]}"#, &["@b:x"]),
            (r#"{"ignored_users":{}}"#, &[]),
            (r#"{"ignored_users":["@b:x"]}"#, &[]),
            ("{}", &[]),
            ("[", &[]),
        ];
        for (content, expected) in rows {
            assert_eq!(read(content).collect::<Vec<_>>(), expected, "{content}");
        }
        assert!(ignored_users(&me, None).is_empty());
    }

    #[test]
    fn who_takes_no_invites_says_so_in_one_word() {
        for (content, blocks) in [
            (r#"{"default_action":"block"}"#, true),
            (r#"{"default_action":"block","more":[]}"#, true),
            (r#"{"default_action":"allow"}"#, false),
            (r#"{"default_action":true}"#, false),
            (r#"{"block_all":true}"#, false),
            ("{}", false),
            ("[", false),
        ] {
            assert_eq!(blocks_invites(content), blocks, "{content}");
        }
    }

    #[test]
    fn l2_what_a_row_means_for_who_sees_whom() {
        let none = Relation::default();
        let asked = wish(none, Wish::Add);
        let sees = message(asked, Kind::Accept);
        let is_asked = message(none, Kind::Invite);
        let seen = wish(is_asked, Wish::Accept);
        for (before, after, observed, observer) in [
            (none, asked, false, false),
            (asked, sees, true, false),
            (asked, message(asked, Kind::Deny), true, false),
            (asked, wish(asked, Wish::Remove), true, false),
            (sees, wish(sees, Wish::Remove), true, false),
            (sees, asked, true, false),
            (sees, sees, false, false),
            (none, is_asked, false, false),
            (is_asked, seen, false, true),
            (seen, wish(seen, Wish::Deny), false, true),
            (seen, message(seen, Kind::Drop), false, true),
            (is_asked, wish(is_asked, Wish::Deny), false, false),
        ] {
            let row = row(before, after);
            let what = (row.changes_observed(), row.changes_observer());
            assert_eq!(what, (observed, observer), "{before:?} {after:?}");
        }
        assert!(ListRow { kept: None, ..row(seen, none) }.changes_observer());
    }
}
