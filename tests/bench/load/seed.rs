//! Users who have each other on their lists, and share no room: written into a server's data folder
//! while it does not run, because a million requests and answers would take longer than what is measured.

use std::{path::Path, sync::Arc};

use pilotlight::{
    core::list::{AutoAccept, Contact, Kind, List, Relation},
    server::{
        list::ListRow,
        session::{Token, TokenHash},
        store::{Access, ContactWrite, NewDevice, NewUser, Store},
    },
};
use ruma::{OwnedUserId, ServerName, UserId};

use crate::{
    Error,
    user::{self, User},
};

/// Users who are written at once.
const AT_ONCE: usize = 256;

/// Writes `count` users and their lists into `data_dir`, and how they log in into `file`. Each has `contacts` others on
/// their list at most: those next to them.
pub async fn seed(
    data_dir: &Path,
    server_name: &str,
    count: usize,
    contacts: usize,
    file: &Path,
) -> Result<(), Error> {
    let server = ServerName::parse(server_name)?;
    let ids: Vec<OwnedUserId> =
        (0..count).map(|n| UserId::parse(format!("@user{n}:{server}"))).collect::<Result<_, _>>()?;
    let store = Arc::new(Store::open(data_dir, &server, Access::Sole, Arc::default())?);
    let mut users = Vec::with_capacity(count);
    for some in ids.chunks(AT_ONCE) {
        let made: Vec<_> =
            some.iter().map(|id| tokio::spawn(create(Arc::clone(&store), id.clone()))).collect();
        for one in made {
            users.push(one.await??);
        }
    }
    let friend = friend()?;
    for (at, owner) in ids.iter().enumerate() {
        // In a ring, as many on either side.
        let apart = |other: usize| at.abs_diff(other).min(count - at.abs_diff(other));
        if contacts == 0 {
            break;
        }
        let near =
            ids.iter().enumerate().filter(|(other, _)| (1..=contacts.div_ceil(2)).contains(&apart(*other)));
        let others = near.map(|(_, id)| id);
        let rows = others.map(|other| ListRow {
            owner: owner.clone(),
            contact: other.clone(),
            before: Relation::default(),
            kept: Some(friend.clone()),
        });
        store.put_contacts(ContactWrite { rows: rows.collect(), ..ContactWrite::default() }).await?;
    }
    store.close().await;
    user::save(&user::File { users, ..user::File::default() }, file)
}

async fn create(store: Arc<Store>, id: OwnedUserId) -> Result<User, Error> {
    let token = Token::random();
    let device = NewDevice {
        id: "BENCH".into(),
        display_name: None,
        token_hash: TokenHash::of(token.as_str()),
        seen_ms: 0,
        tokens: None,
    };
    let user = NewUser { id: id.clone(), password_hash: None, created_ms: 0, device: Some(device) };
    store.create_user(user).await.map_err(|error| format!("{id}: {error:?}"))?;
    Ok(User { user_id: id.to_string(), access_token: token.as_str().to_owned(), address: String::new() })
}

/// What is kept of somebody on the list by whom one is observed in turn.
fn friend() -> Result<Contact, Error> {
    let other: Arc<str> = "@other:example".into();
    let mut list = List::restored("@owner:example".into(), AutoAccept::Reverse, []);
    list.handle_add(&other, None)?;
    list.handle_message(&other, Kind::Accept, None);
    // Who is observed may observe in turn: accepted unasked.
    list.handle_message(&other, Kind::Invite, None);
    if !list.observers().any(|observer| *observer == other) {
        return Err("who is observed was not accepted".into());
    }
    Ok(list.contact(&other).ok_or("the other is on the list")?.clone())
}
