//! How many users of another server are kept here though nobody here wants them: who asked and was not
//! answered, who was denied, who withdrew. Bounded, so that a server cannot fill our memory with names.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};

use crate::core::list::{Contact, Observed, Observing};

/// How many strangers of one server one user has at most.
const MAX_OF_USER: usize = 1_000;

/// How many strangers of one server all users together have at most.
const MAX_OF_SERVER: usize = 20_000;

/// How many strangers of all servers there are at most.
const MAX_OF_ALL: usize = 200_000;

/// A user here and a user there.
type Pair = (Arc<str>, Arc<str>);

/// The strangers of each server.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    of: BTreeMap<OwnedServerName, BTreeSet<Pair>>,
    count: usize,
}

impl Strangers {
    /// Takes what is kept about a contact, if anything is. Users of the same server are no strangers.
    pub(super) fn handle_contact(&mut self, owner: &Arc<str>, user: &Arc<str>, kept: Option<&Contact>) {
        let server = |user: &Arc<str>| UserId::parse(&**user).map(|id| id.server_name().to_owned());
        let (Ok(ours), Ok(server)) = (server(owner), server(user)) else { return };
        if server == ours {
            return;
        }
        let pair = (Arc::clone(owner), Arc::clone(user));
        if kept.is_some_and(is_stranger) {
            let added = self.of.entry(server).or_default().insert(pair);
            self.count += usize::from(added);
        } else if let Some(strangers) = self.of.get_mut(&server) {
            self.count -= usize::from(strangers.remove(&pair));
            if strangers.is_empty() {
                self.of.remove(&server);
            }
        }
    }

    /// Whether there is room for one more stranger of `server` with `owner`, beside `more` that are about to be
    /// kept.
    pub(super) fn has_room(
        &self,
        owner: &UserId,
        server: &ServerName,
        more: &[(OwnedUserId, OwnedServerName)],
    ) -> bool {
        let of_server = more.iter().filter(|(_, of)| of == server);
        let more_of_server = of_server.clone().count();
        let more_of_owner = of_server.filter(|(with, _)| with == owner).count();
        let strangers = self.of.get(server);
        let from = (Arc::from(owner.as_str()), Arc::from(""));
        let of_owner = strangers.into_iter().flat_map(|strangers| strangers.range(from.clone()..));
        let of_owner = of_owner.take_while(|(other, _)| **other == *owner.as_str());
        self.count + more.len() < MAX_OF_ALL
            && strangers.map_or(0, BTreeSet::len) + more_of_server < MAX_OF_SERVER
            && of_owner.take(MAX_OF_USER).count() + more_of_owner < MAX_OF_USER
    }
}

/// Whether nobody wants whom this is kept of: they ask and were not answered, were denied, or withdrew.
pub(super) fn is_stranger(contact: &Contact) -> bool {
    let relation = &contact.relation;
    relation.observing() == Observing::No && relation.observed() != Observed::Yes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::list::{AutoAccept, Kind, Wish};

    fn asker(wish: Option<Wish>) -> Contact {
        let mut contact = Contact::default();
        contact.relation.handle_message(Kind::Invite, Some(1), AutoAccept::Reverse);
        if let Some(wish) = wish {
            contact.relation.handle_wish(wish, AutoAccept::Reverse);
        }
        contact
    }

    #[test]
    fn one_server_cannot_fill_one_users_list_nor_everybodys() {
        let mut strangers = Strangers::default();
        let (spam, other) = (ServerName::parse("spam").unwrap(), ServerName::parse("other").unwrap());
        let asks = |strangers: &mut Strangers, owner: usize, n: usize, contact: Option<&Contact>| {
            let (owner, user) = (Arc::from(format!("@u{owner:02}:here")), Arc::from(format!("@{n}:spam")));
            strangers.handle_contact(&owner, &user, contact);
        };
        let owner = |owner: usize| UserId::parse(format!("@u{owner:02}:here")).unwrap();
        let room = |strangers: &Strangers, of, server| strangers.has_room(&owner(of), server, &[]);
        let more = |of, server: &ServerName| (owner(of), server.to_owned());
        for n in 0..MAX_OF_USER {
            assert!(room(&strangers, 0, &spam));
            asks(&mut strangers, 0, n, Some(&asker(None)));
        }
        assert!(!room(&strangers, 0, &spam));
        let few = |of| vec![more(of, &spam); MAX_OF_USER];
        assert!(
            !strangers.has_room(&owner(1), &spam, &few(1)) && strangers.has_room(&owner(1), &spam, &few(2))
        );
        assert!(room(&strangers, 0, &other) && room(&strangers, 1, &spam));
        for (end, has_room) in [
            (Some(asker(Some(Wish::Accept))), true),
            (Some(asker(Some(Wish::Deny))), false),
            (None, true),
            (Some(asker(Some(Wish::Add))), true),
            (Some(asker(None)), false),
        ] {
            asks(&mut strangers, 0, 7, end.as_ref());
            assert_eq!(room(&strangers, 0, &spam), has_room, "{end:?}");
        }
        for owner in 1..MAX_OF_SERVER / MAX_OF_USER {
            (0..MAX_OF_USER).for_each(|n| asks(&mut strangers, owner, n, Some(&asker(None))));
        }
        assert!(!room(&strangers, 99, &spam) && room(&strangers, 99, &other));
        assert_eq!(strangers.count, MAX_OF_SERVER);
    }
}
