//! All application services of a server.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use ruma::{RoomAliasId, ServerName, UserId};

use super::{error::RegistrationError, file, one::Registration};
use crate::server::session::TokenHash;

/// Every application service that the operator registered, in the order of the configuration.
#[derive(Debug, Default)]
pub struct Registrations {
    all: Vec<Arc<Registration>>,
    by_token: BTreeMap<TokenHash, Arc<Registration>>,
}

impl Registrations {
    /// Reads the files.
    ///
    /// # Errors
    /// [`RegistrationError`] for the first thing that cannot be so.
    pub fn read(paths: &[PathBuf], server: &ServerName) -> Result<Self, RegistrationError> {
        let mut read = Vec::new();
        for path in paths {
            let text =
                std::fs::read_to_string(path).map_err(|e| RegistrationError::Unreadable(path.clone(), e))?;
            read.push((path.as_path(), file::parse(path, &text, server)?));
        }
        Self::new(read)
    }

    fn new(read: Vec<(&Path, Registration)>) -> Result<Self, RegistrationError> {
        for (n, (second, one)) in read.iter().enumerate() {
            for (first, other) in &read[..n] {
                let same = [
                    ("id", one.id == other.id),
                    ("as_token", one.as_token == other.as_token),
                    ("sender_localpart", one.sender == other.sender),
                ];
                if let Some((what, _)) = same.into_iter().find(|(_, is_same)| *is_same) {
                    let (first, second) = ((*first).to_owned(), (*second).to_owned());
                    return Err(RegistrationError::Twice { first, second, what });
                }
            }
        }
        let all: Vec<_> = read.into_iter().map(|(_, one)| Arc::new(one)).collect();
        let by_token = all.iter().map(|one| (one.as_token, Arc::clone(one))).collect();
        Ok(Self { all, by_token })
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Registration>> {
        self.all.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The networks that they are bridges to, each once.
    pub fn protocols(&self) -> BTreeSet<String> {
        self.all.iter().flat_map(|one| one.protocols.iter().cloned()).collect()
    }

    /// Whose token this is.
    pub fn of_token(&self, token: &str) -> Option<&Arc<Registration>> {
        if self.all.is_empty() { None } else { self.by_token.get(&TokenHash::of(token)) }
    }

    /// Whether `user` belongs to an application service alone, and that is not `asking`.
    pub fn keep_user_from(&self, user: &UserId, asking: Option<&Registration>) -> bool {
        self.others(asking).any(|one| one.has_user_exclusively(user))
    }

    /// Whether `alias` belongs to an application service alone, and that is not `asking`.
    pub fn keep_alias_from(&self, alias: &RoomAliasId, asking: Option<&Registration>) -> bool {
        self.others(asking).any(|one| one.aliases.have_exclusively(alias.as_str()))
    }

    fn others<'a>(&'a self, asking: Option<&'a Registration>) -> impl Iterator<Item = &'a Registration> {
        let is_other = move |one: &&Registration| asking.is_none_or(|asking| asking.id != one.id);
        self.all.iter().map(|one| &**one).filter(is_other)
    }
}

#[cfg(test)]
mod tests {
    use ruma::{owned_user_id, room_alias_id, server_name, user_id};

    use super::*;

    fn one(id: &str, rest: &str) -> Registration {
        let text = format!(
            "id: {id}\nurl: null\nas_token: as-{id}\nhs_token: hs-{id}\nsender_localpart: {id}bot\n\
             namespaces:\n  users:\n    - {{exclusive: true, regex: '@_{id}_.*'}}\n    \
             - {{exclusive: false, regex: '@all_.*'}}\n  aliases:\n    - {{exclusive: true, regex: '#_{id}_.*'}}\n{rest}"
        );
        file::parse(Path::new("x.yaml"), &text, server_name!("x")).expect("is a registration")
    }

    fn all() -> Registrations {
        let paths = [Path::new("irc.yaml"), Path::new("xmpp.yaml")];
        Registrations::new(paths.into_iter().zip([one("irc", ""), one("xmpp", "")]).collect())
            .expect("differ")
    }

    #[test]
    fn what_is_exclusive_is_kept_from_everybody_else_and_nothing_more() {
        let all = all();
        let irc = all.of_token("as-irc").expect("is known");
        assert!(all.of_token("hs-irc").is_none() && all.of_token("").is_none());
        // Columns: kept from people, from the one, from the other.
        for (user, kept) in [
            (user_id!("@_irc_a:x"), [true, false, true]),
            (user_id!("@_xmpp_a:x"), [true, true, false]),
            (user_id!("@ircbot:x"), [true, false, true]),
            (user_id!("@all_a:x"), [false; 3]),
            (user_id!("@a:x"), [false; 3]),
            (user_id!("@_irc_a:elsewhere"), [false; 3]),
        ] {
            let asking = [None, all.of_token("as-irc"), all.of_token("as-xmpp")];
            assert_eq!(asking.map(|by| all.keep_user_from(user, by.map(|by| &**by))), kept, "{user}");
        }
        assert!(all.keep_alias_from(room_alias_id!("#_irc_a:x"), None));
        assert!(!all.keep_alias_from(room_alias_id!("#_irc_a:x"), Some(irc)));
        assert!(!all.keep_alias_from(room_alias_id!("#a:x"), None));
        assert!(irc.has_user(user_id!("@all_a:x")) && !irc.has_user(user_id!("@_xmpp_a:x")));
        assert_eq!(irc.sender, owned_user_id!("@ircbot:x"));
    }

    #[test]
    fn names_tokens_and_senders_are_told_apart() {
        let paths = [Path::new("a.yaml"), Path::new("b.yaml")];
        let mut like = one("xmpp", "");
        like.id = "irc".into();
        let error = Registrations::new(paths.into_iter().zip([one("irc", ""), like]).collect());
        assert_eq!(error.expect_err("same").to_string(), "a.yaml and b.yaml have the same id");
        let mut like = one("xmpp", "");
        like.as_token = TokenHash::of("as-irc");
        let error = Registrations::new(paths.into_iter().zip([one("irc", ""), like]).collect());
        assert_eq!(error.expect_err("same").to_string(), "a.yaml and b.yaml have the same as_token");
    }
}
