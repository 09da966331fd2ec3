//! Who meets and parts in rooms whose size crosses the limit, and who comes in sight and goes out of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use parking_lot::Mutex;
use ruma::{OwnedUserId, RoomId, UserId, event_id, room_id, server_name};
use serde_json::{Value, value::to_raw_value};

use super::{
    Sight,
    rooms::{Encounters, Newcomers},
    since::Sighted,
};
use crate::{
    core::{
        list::{AutoAccept, Contact, Kind, Relation, Wish},
        time::UnixMillis,
        visibility::{RoomLimit, Share},
    },
    server::{
        change::{
            feed::Change,
            position::{Live, LivePosition, LogPosition, TimelinePosition},
        },
        clock::Clock,
        contacts::lists::Contacts,
        event::stored::{Columns, Replaced, StoredEvent},
        list::{ListRow, Settings},
        rooms::Members,
        store::{Access, Store},
    },
};

pub(super) fn user(name: &str) -> OwnedUserId {
    let name = if name.contains(':') { format!("@{name}") } else { format!("@{name}:x") };
    UserId::parse(name).expect("a user ID")
}

fn names(users: &BTreeSet<OwnedUserId>) -> String {
    users.iter().map(|user| user.localpart()).collect::<Vec<_>>().join(" ")
}

/// `name` is `membership` from the position `at` on; `before`: they were that already.
fn member(at: u64, name: &str, membership: &str, before: Option<&str>) -> Arc<StoredEvent> {
    member_of("!r:x", at, name, membership, before)
}

/// The same in another room.
pub(super) fn member_of(
    room: &str,
    at: u64,
    name: &str,
    membership: &str,
    before: Option<&str>,
) -> Arc<StoredEvent> {
    let content = |membership: &str| serde_json::json!({ "membership": membership });
    let replaces = before.map(|before| Replaced {
        event_id: event_id!("$before").to_owned(),
        sender: user(name),
        content: to_raw_value(&content(before)).expect("JSON"),
    });
    let columns = Columns {
        position: LogPosition::new(at),
        timeline: TimelinePosition::live(LogPosition::new(at)),
        event_id: event_id!("$event").to_owned(),
        room_id: RoomId::parse(room).expect("a room ID"),
        kind: "m.room.member".to_owned(),
        state_key: Some(user(name).to_string()),
        sender: user(name),
        origin_server_ts: 1,
        depth: 1,
        pdu: Value::from_iter([("content", content(membership))]).to_string().into(),
        replaces,
        redacted_because: None,
        transaction: None,
        ours: false,
        unasked: false,
        hidden: false,
        lacks: false,
    };
    Arc::new(columns.into())
}

/// One room, `!r:x`, that counts up to two members, and lists.
pub(super) struct World {
    folder: PathBuf,
    members: Arc<Members>,
    pub(super) contacts: Arc<Contacts>,
    pub(super) live: Arc<Live>,
    pub(super) sight: Sight,
    /// What was kept last: owner, contact.
    rows: Mutex<BTreeMap<(OwnedUserId, OwnedUserId), Relation>>,
}

impl World {
    pub(super) async fn new(name: &str, limit: RoomLimit) -> Self {
        let folder = std::env::temp_dir().join(format!("pilotlight-sight-{name}-{}", std::process::id()));
        let own = server_name!("x").to_owned();
        let store = Store::open(&folder, &own, Access::Sole, Arc::default()).expect("opens");
        let clock = Clock::driven(UnixMillis(1));
        let contacts = Contacts::load(Arc::new(store), clock, own.clone()).await.expect("can be read");
        let (contacts, members) = (Arc::new(contacts), Arc::new(Members::nowhere(&own, limit)));
        let live = Arc::new(Live::new(100));
        let sight = Sight::new(Arc::clone(&contacts), Arc::clone(&members), own, Arc::clone(&live));
        Self { folder, members, contacts, live, sight, rows: Mutex::default() }
    }

    pub(super) fn happens(&self, event: &Arc<StoredEvent>) {
        self.members.follow(&Change::Appended(Arc::clone(event)));
    }

    pub(super) fn changes(&self, change: &Change) {
        self.sight.expect(change);
        self.contacts.follow(change);
        self.sight.follow(change);
    }

    pub(super) fn shares(&self, name: &str, share: Share) {
        let owner = user(name);
        let shared_before = self.contacts.share_of(&owner);
        let settings = Settings { share, ..Settings::default() };
        self.changes(&Change::PresenceSettings { owner, settings, shared_before });
    }

    pub(super) fn row(&self, owner: &str, contact: &str, after: Relation) {
        let (owner, contact) = (user(owner), user(contact));
        let before = self.rows.lock().insert((owner.clone(), contact.clone()), after).unwrap_or_default();
        let kept = Some(Contact { relation: after, ..Contact::default() });
        let row = ListRow { owner, contact, before, kept };
        self.changes(&Change::PresenceList { rows: vec![row], outbox: Vec::new() });
    }

    /// What `name` is told, who was told everything up to `told`: who came / who went.
    fn since(&self, name: &str, encounters: &Encounters, told: Option<LivePosition>) -> String {
        let upto = (LogPosition::END, self.live.position());
        let Sighted { came, went } = self.sight.since(&user(name), encounters, told, upto);
        format!("{} / {}", names(&came), names(&went))
    }

    /// In words: met, parted, dimmed, crossed.
    fn stayed(&self, events: &[Arc<StoredEvent>], since: u64) -> [String; 4] {
        let mut encounters = Encounters::default();
        let (room, since) = (room_id!("!r:x"), LogPosition::new(since));
        let mut newcomers = Newcomers::new();
        self.sight.stayed((&user("reader"), room), events, since, &mut newcomers, &mut encounters);
        self.sight.crossed(room, since, &newcomers, &mut encounters);
        said(&encounters)
    }
}

fn said(Encounters { met, parted, dimmed, crossed }: &Encounters) -> [String; 4] {
    [met, parted, dimmed, crossed].map(names)
}

impl Drop for World {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).expect("can be removed");
    }
}

/// Who asked to observe, and was accepted: the observed's side.
pub(super) fn observer() -> Relation {
    let mut relation = Relation::default();
    relation.handle_message(Kind::Invite, Some(1), AutoAccept::Everybody);
    relation
}

#[tokio::test]
async fn l6_who_meets_parts_and_is_dimmed_where_a_room_crosses_the_limit() {
    let world = World::new("crossing", RoomLimit::Members(2)).await;
    let room = room_id!("!r:x");
    let all = [
        member(1, "a", "join", None),
        member(2, "b", "join", None),
        member(3, "c", "join", Some("invite")),
        member(4, "c", "leave", Some("join")),
        member(5, "b", "ban", Some("join")),
    ];
    let [_, b_joins, c_joins, c_leaves, b_goes] = &all;
    all[..2].iter().for_each(|event| world.happens(event));
    let of = |what: [&str; 4]| what.map(str::to_owned);
    assert_eq!(world.stayed(std::slice::from_ref(b_joins), 1), of(["b", "", "", ""]));
    world.happens(c_joins);
    assert_eq!(world.stayed(std::slice::from_ref(c_joins), 2), of(["c", "", "a b", "a b c"]));
    assert_eq!(world.stayed(&[], 3), of(["", "", "", ""]), "it had crossed by then");
    world.happens(c_leaves);
    assert_eq!(world.stayed(std::slice::from_ref(c_leaves), 3), of(["", "c", "", "a b"]), "too large then");
    assert_eq!(world.stayed(&all[2..4], 2), of(["c", "c", "a b c", "a b"]), "small before and after");
    world.happens(b_goes);
    assert_eq!(world.stayed(std::slice::from_ref(b_goes), 4), of(["", "b", "b", ""]));
    let mut entered = Encounters::default();
    world.sight.entered(room, &mut entered);
    assert_eq!(said(&entered), of(["a", "", "", ""]));
}

#[tokio::test]
async fn who_says_their_name_is_invited_or_knocks_is_not_met() {
    let world = World::new("quiet", RoomLimit::None).await;
    let events = [
        member(1, "a", "join", Some("join")),
        member(2, "b", "invite", None),
        member(3, "c", "knock", None),
        member(4, "d", "join", Some("leave")),
    ];
    assert_eq!(world.stayed(&events, 0), ["d", "", "", ""].map(str::to_owned));
}

#[tokio::test]
async fn l2_who_leaves_parts_from_those_who_were_there_at_the_token_or_came_since() {
    let world = World::new("left", RoomLimit::Members(3)).await;
    let state = [
        member(1, "a", "join", None),
        member(2, "b", "leave", Some("join")),
        member(6, "c", "leave", Some("join")),
        member(7, "d", "join", None),
    ];
    let left = |since| {
        let mut encounters = Encounters::default();
        world.sight.left(room_id!("!r:x"), &state, LogPosition::new(since), &mut encounters);
        said(&encounters)
    };
    assert_eq!(left(5), ["", "a c d", "a c d", ""].map(str::to_owned));
    for (at, name) in ["m", "n", "o", "p"].into_iter().enumerate() {
        world.happens(&member(1 + at as u64, name, "join", None));
    }
    assert_eq!(left(5), ["", "a c d", "", ""].map(str::to_owned), "the room was too large");
}

#[tokio::test]
async fn l2_a_tie_by_list_is_told_when_it_comes_and_when_it_goes() {
    let world = World::new("by-list", RoomLimit::None).await;
    let (quiet, start) = (Encounters::default(), world.live.position());
    world.row("bob", "alice", observer());
    assert_eq!(world.since("alice", &quiet, Some(start)), "bob / ");
    let seen = world.live.position();
    assert_eq!(world.since("alice", &quiet, Some(seen)), " / ");
    world.row("bob", "alice", Relation::default());
    assert_eq!(world.since("alice", &quiet, Some(seen)), " / bob");
    assert_eq!(world.since("bob", &quiet, Some(start)), " / ", "what bob sees is the same");
    assert_eq!(world.since("alice", &quiet, None), " / ", "who was told nothing has nobody to forget");
}

#[tokio::test]
async fn l2_of_users_elsewhere_the_observers_own_list_counts() {
    let world = World::new("elsewhere", RoomLimit::None).await;
    let (quiet, start) = (Encounters::default(), world.live.position());
    let mut relation = Relation::default();
    relation.handle_wish(Wish::Add, AutoAccept::Reverse);
    world.row("alice", "eve:y", relation);
    assert_eq!(world.since("alice", &quiet, Some(start)), " / ", "only asked");
    relation.handle_message(Kind::Accept, Some(1), AutoAccept::Reverse);
    world.row("alice", "eve:y", relation);
    assert_eq!(world.since("alice", &quiet, Some(start)), "eve / ");
    let across = world.sight.across(&user("alice"));
    assert_eq!((names(&across.observed), across.servers.len()), ("eve".to_owned(), 0));
    relation.handle_wish(Wish::Remove, AutoAccept::Reverse);
    world.row("alice", "eve:y", relation);
    assert_eq!(world.since("alice", &quiet, Some(start)), " / eve");
    world.row("alice", "eve:y", observer());
    assert_eq!(world.sight.across(&user("alice")).servers.len(), 1);
    world.shares("alice", Share::Nobody);
    assert_eq!(world.sight.across(&user("alice")), Default::default());
}

#[tokio::test]
async fn l2_l6_who_shares_with_fewer_goes_out_of_sight_and_with_more_comes_back() {
    let world = World::new("by-share", RoomLimit::None).await;
    ["alice", "bob"].iter().for_each(|name| world.happens(&member(1, name, "join", None)));
    let (quiet, start) = (Encounters::default(), world.live.position());
    world.shares("bob", Share::List);
    assert_eq!(world.since("alice", &quiet, Some(start)), " / bob");
    let lost = world.live.position();
    world.shares("bob", Share::SharedRooms);
    assert_eq!(world.since("alice", &quiet, Some(lost)), "bob / ");
    assert_eq!(world.since("alice", &quiet, Some(start)), "bob / ", "what he showed can have been left out");
    let mut woken = BTreeSet::new();
    world.sight.each_observer(&user("bob"), |user| {
        woken.insert(user.to_owned());
    });
    assert_eq!(names(&woken), "alice bob");
}

#[tokio::test]
async fn l2_of_those_dimmed_who_shared_with_rooms_at_the_token_are_lost() {
    let world = World::new("dimmed", RoomLimit::None).await;
    world.shares("carol", Share::List);
    let parted = Encounters { dimmed: [user("bob"), user("carol")].into(), ..Encounters::default() };
    assert_eq!(world.since("alice", &parted, Some(world.live.position())), " / bob");
    assert_eq!(world.since("alice", &parted, None), " / ");
}

#[tokio::test]
async fn l2_a_reader_from_before_the_start_is_told_whom_of_their_list_they_cannot_see() {
    let world = World::new("before", RoomLimit::None).await;
    let mut relation = Relation::default();
    relation.handle_wish(Wish::Add, AutoAccept::Reverse);
    world.row("alice", "bob", relation);
    let quiet = Encounters::default();
    assert_eq!(world.since("alice", &quiet, Some(LivePosition::START)), " / bob");
    world.row("bob", "alice", observer());
    assert_eq!(world.since("alice", &quiet, Some(LivePosition::START)), "bob / ");
}
