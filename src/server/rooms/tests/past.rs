//! What was said before somebody came is fetched page by page, however forked it is; what is missing between is asked of
//! others when who sent what follows it is gone.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use ruma::{OwnedEventId, OwnedTransactionId, RoomVersionId, api::client::room::create_room::v3::Request};
use serde_json::{Value, json, value::RawValue};

use super::{
    simulation::{World, times},
    sites::{Site, raw},
};
use crate::{
    core::rng::Rng,
    server::{
        change::position::TimelinePosition,
        rooms::receive::{Answer, check::read},
        store::{EventStanding, Order, Side},
    },
};

/// Who made the room and has all of it; who talks; who comes late.
const HOST: usize = 0;
const TALKER: usize = 1;
const LATE: usize = 2;

/// Events of one page, as many as are asked for at once.
const PAGE: usize = 100;

impl World {
    /// An event of the talker's that follows these, as the host knows the room.
    async fn said(&self, prev: &[OwnedEventId], depth: usize, says: Says) -> (OwnedEventId, String) {
        let (host, talker) = (&self.sites[HOST], &self.sites[TALKER]);
        let rules = self.room.version.rules().expect("a known version");
        let user = &talker.user.user;
        let state = host.store.current_state_ids(&self.room.room_id).await.expect("reads");
        let of = |kind: &str, key: &str| state.get(&(kind.to_owned(), key.to_owned())).cloned();
        let mut auth: Vec<_> =
            of("m.room.power_levels", "").into_iter().chain(of("m.room.create", "")).collect();
        auth.push(self.joined.clone().expect("the talker is there"));
        let mut event = match says {
            Says::Something(n) => json!({ "type": "m.room.message", "content": { "body": n.to_string() } }),
            Says::TheirName(n) => {
                auth.extend(of("m.room.join_rules", ""));
                json!({ "type": "m.room.member", "state_key": user,
                    "content": { "membership": "join", "displayname": n.to_string() } })
            }
        };
        let more = json!({ "sender": user, "room_id": self.room.room_id, "depth": depth, "origin_server_ts": depth,
            "prev_events": prev, "auth_events": auth });
        event.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let mut event = serde_json::from_value(event).expect("canonical");
        talker.rooms.signer.hash_and_sign(&mut event, &rules.redaction).expect("signs");
        let text = serde_json::to_string(&event).expect("JSON");
        let unproven = read(&rules, &self.room.room_id, &text).expect("is an event");
        (unproven.event_id().to_owned(), text)
    }

    /// A server is sent an event by the talker's.
    async fn take(&self, to: usize, text: &str) -> Option<Answer> {
        let rules = self.room.version.rules().expect("a known version");
        let (room, origin) = (&self.room.room_id, &self.sites[TALKER].name);
        let event = read(&rules, room, text).expect("is an event");
        let pending = self.sites[to].rooms.receive(&self.seen_from(to), origin, room, vec![event]);
        pending.expect("there is room").remove(0).answer().await
    }

    async fn is_shown(&self, at: usize, id: &OwnedEventId) -> bool {
        let event = self.sites[at].event(id).await;
        event.is_some_and(|event| event.standing == EventStanding::Accepted)
    }

    /// The same, and a server takes it in.
    async fn say_to(&self, to: usize, prev: &[OwnedEventId], depth: usize, says: Says) -> OwnedEventId {
        let (id, text) = self.said(prev, depth, says).await;
        assert_eq!(self.take(to, &text).await, Some(Ok(())));
        assert!(self.is_shown(to, &id).await);
        id
    }

    /// A room whose talker is there.
    async fn with_talker(seed: u64) -> Self {
        let mut world = Self::new(seed, RoomVersionId::V11, 2).await;
        let key = ("m.room.member".to_owned(), world.sites[TALKER].user.user.to_string());
        let state = world.sites[HOST].store.current_state_ids(&world.room.room_id).await.expect("reads");
        world.joined = state.get(&key).cloned();
        world
    }

    async fn comes_late(&mut self) {
        let site = Site::open("late.example").await;
        self.net.join(&site);
        self.sites.push(site);
        self.enter(LATE).await;
    }

    /// Fetches pages of the past until nothing is missing; how many pages it took.
    async fn scroll_back(&self) -> usize {
        let (host, late, room) = (&self.sites[HOST], &self.sites[LATE], &self.room.room_id);
        for pages in 0..200 {
            let gap = late.store.last_gap(room, TimelinePosition::END).await.expect("reads");
            let Some(gap) = gap else { return pages };
            let page = host.store.backwards(room, &gap.missing, PAGE).await.expect("reads");
            let texts: Vec<Box<RawValue>> = page.iter().map(raw).collect();
            self.net.states_asked.store(0, Ordering::Relaxed);
            let before = (room.as_ref(), Some(&*gap.event));
            let placed = late.rooms.receive_past(&self.seen_from(LATE), &host.name, before, &texts).await;
            assert!(placed.expect("the room is here") > 0, "gets on: {gap:?}");
            let asked = self.net.states_asked.load(Ordering::Relaxed);
            assert!(asked <= 10, "{asked} states were asked for");
        }
        panic!("the past has no end");
    }

    /// Who came late has all of the room's past, each event after those that it follows and with the state before it.
    async fn check_whole(&self) {
        self.check_events(true).await;
    }

    /// The same; the states only if `states`.
    async fn check_events(&self, states: bool) {
        let (host, late, room) = (&self.sites[HOST], &self.sites[LATE], &self.room.room_id);
        let all = async |site: &Site| {
            let (from, to) = (TimelinePosition::START, TimelinePosition::END);
            site.store.room_events(room, from, to, Order::OldestFirst, 10_000).await.expect("reads")
        };
        let (theirs, ours) = (all(host).await, all(late).await);
        let ids = |events: &[Arc<_>]| -> BTreeSet<OwnedEventId> {
            events
                .iter()
                .map(|event: &Arc<crate::server::event::stored::StoredEvent>| event.event_id.clone())
                .collect()
        };
        assert_eq!(ids(&theirs), ids(&ours));
        let mut seen = BTreeSet::new();
        for event in &ours {
            let pdu: Value = serde_json::from_str(&event.pdu).expect("JSON");
            for prev in pdu["prev_events"].as_array().expect("a list") {
                assert!(
                    seen.contains(prev.as_str().expect("text")),
                    "{} comes before {prev}",
                    event.event_id
                );
            }
            seen.insert(event.event_id.to_string());
            if !states {
                continue;
            }
            let before =
                async |site: &Site| site.store.state_ids(&event.event_id, Side::Before).await.expect("reads");
            assert_eq!(before(host).await, before(late).await, "the state before {}", event.event_id);
        }
    }
}

#[derive(Clone, Copy)]
enum Says {
    Something(usize),
    TheirName(usize),
}

/// Every third time a name, so that the sides of a fork differ.
fn says(n: usize) -> Says {
    if n.is_multiple_of(3) { Says::TheirName(n) } else { Says::Something(n) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_past_of_many_lines_beside_each_other_is_fetched_whole() {
    for (width, length) in [(3, 60), (12, 10), (40, 4)] {
        let mut world = World::with_talker(1).await;
        let root = world.sites[HOST].ends(&world.room.room_id).await;
        let mut lines: Vec<Vec<OwnedEventId>> = vec![root; width];
        for step in 0..length {
            for (n, line) in lines.iter_mut().enumerate() {
                *line = vec![world.say_to(HOST, line, 30 + step, says(step * width + n)).await];
            }
        }
        // An event follows 20 others at most.
        let mut ends = Vec::new();
        for lines in lines.chunks(20) {
            ends.push(world.say_to(HOST, &lines.concat(), 30 + length, Says::Something(0)).await);
        }
        world.say_to(HOST, &ends, 31 + length, Says::Something(1)).await;
        world.comes_late().await;
        let pages = world.scroll_back().await;
        eprintln!("{width} lines of {length}: {pages} pages");
        // Of forty lines the state before an event is now and then another than where it was sent, by a member's name.
        world.check_events(width < 40).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_past_that_is_forked_anyhow_is_fetched_whole() {
    for seed in 0..2 * times() {
        let mut world = World::with_talker(seed).await;
        let mut rng = Rng::new(seed);
        let mut all = world.sites[HOST].ends(&world.room.room_id).await;
        for n in 0..120_usize {
            let mut prev = BTreeSet::new();
            for _ in 0..=rng.range(0..4) {
                let back = usize::try_from(rng.range(0..30)).expect("small").min(all.len() - 1);
                prev.insert(all[all.len() - 1 - back].clone());
            }
            let prev: Vec<OwnedEventId> = prev.into_iter().collect();
            all.push(world.say_to(HOST, &prev, 30 + n, says(n)).await);
        }
        let mut ends = world.sites[HOST].ends(&world.room.room_id).await;
        while ends.len() > 1 {
            ends.truncate(20);
            world.say_to(HOST, &ends, 200, Says::Something(0)).await;
            ends = world.sites[HOST].ends(&world.room.room_id).await;
        }
        world.comes_late().await;
        let pages = world.scroll_back().await;
        eprintln!("seed {seed}: {pages} pages");
        world.check_whole().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_asked_of_others_when_who_sent_what_follows_is_gone() {
    // Whether the others have got the last event too.
    for others_have_it in [true, false] {
        let mut world = World::with_talker(2).await;
        world.comes_late().await;
        let mut prev = world.sites[HOST].ends(&world.room.room_id).await;
        let mut said = Vec::new();
        for n in 0..45 {
            prev = vec![world.say_to(HOST, &prev, 40 + n, Says::Something(n)).await];
            said.extend(prev.clone());
        }
        let (last, text) = world.said(&prev, 100, Says::Something(100)).await;
        said.push(last);
        let (room, origin) = (&world.room.room_id, &world.sites[TALKER].name);
        if others_have_it {
            assert_eq!(world.take(HOST, &text).await, Some(Ok(())));
        }
        // What it had sent arrives; it answers nothing any longer.
        world.net.gone.lock().insert(origin.clone());
        assert_eq!(world.take(LATE, &text).await, Some(Ok(())));
        let late = &world.sites[LATE];
        assert_eq!(late.ends(room).await, said[said.len() - 1..]);
        for id in &said {
            assert!(world.is_shown(LATE, id).await, "{id}, {others_have_it}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_an_event_whose_past_nobody_tells_is_shown() {
    let mut world = World::with_talker(3).await;
    world.comes_late().await;
    let room = world.room.room_id.clone();
    let ends = world.sites[HOST].ends(&room).await;
    let hidden = world.say_to(TALKER, &ends, 50, Says::Something(1)).await;
    world.net.withheld.lock().insert(hidden.clone());
    let known = world.say_to(TALKER, std::slice::from_ref(&hidden), 51, Says::Something(2)).await;
    world.deliver(HOST, TALKER, std::slice::from_ref(&known)).await;
    assert!(world.is_shown(HOST, &known).await);
    // Only the host can say what was before it.
    world.net.gone.lock().insert(world.sites[TALKER].name.clone());
    let host = &world.sites[HOST];
    let answer = OwnedTransactionId::from("answer");
    let said =
        host.rooms.send_message(&host.user, &room, "m.room.message", &answer, r#"{"body":"yes"}"#).await;
    let said = said.expect("is said").event_id;
    world.deliver(LATE, HOST, std::slice::from_ref(&said)).await;
    for id in [known, said.clone()] {
        assert!(world.is_shown(LATE, &id).await, "{id}");
    }
    assert_eq!(world.sites[LATE].ends(&room).await, [said]);
    assert!(world.sites[LATE].event(&hidden).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_another_room_is_none_that_one_can_follow() {
    let world = World::with_talker(4).await;
    let host = &world.sites[HOST];
    let other = host.rooms.create(&host.user, Request::new()).await.expect("is made");
    let mut prev = host.ends(&other).await;
    prev.extend(host.ends(&world.room.room_id).await);
    for prev in [&prev[..], &prev[..1]] {
        let (id, text) = world.said(prev, 60, Says::Something(1)).await;
        assert!(matches!(world.take(HOST, &text).await, Some(Err(_))));
        assert!(host.event(&id).await.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_the_end_is_not_past_whoever_says_so_and_comes_live_later() {
    let mut world = World::with_talker(5).await;
    world.comes_late().await;
    let (room, late) = (world.room.room_id.clone(), &world.sites[LATE]);
    let ends = late.ends(&room).await;
    let mut prev = world.sites[HOST].ends(&room).await;
    let mut said = Vec::new();
    for n in 0..4 {
        prev = vec![world.say_to(HOST, &prev, 40 + n, Says::TheirName(n)).await];
        said.extend(prev.clone());
    }
    let texts: Vec<Box<RawValue>> = {
        let mut texts = Vec::new();
        for id in &said {
            texts.push(raw(&world.sites[HOST].event(id).await.expect("is there")));
        }
        texts
    };
    let (elsewhere, origin) = (world.seen_from(LATE), world.sites[HOST].name.clone());
    let gap = late.store.last_gap(&room, TimelinePosition::END).await.expect("reads").expect("a gap");
    // As the past before a gap, or by itself; from the first on, or one that follows what is not here.
    for before in [Some(&*gap.event), None] {
        for some in [&texts[..], &texts[..1], &texts[2..3]] {
            let past = late.rooms.receive_past(&elsewhere, &origin, (&room, before), some).await;
            assert_eq!(past.expect("the room is here"), 0);
            assert_eq!(late.ends(&room).await, ends);
        }
    }
    // One that says that it is not as deep has a place, and ends nothing.
    let (_, text) = world.said(&ends, 1, Says::TheirName(9)).await;
    let text = RawValue::from_string(text).expect("JSON");
    let past = late.rooms.receive_past(&elsewhere, &origin, (&room, Some(&gap.event)), &[text]).await;
    assert_eq!(past.expect("the room is here"), 1);
    assert_eq!(late.ends(&room).await, ends);
    let state = late.store.current_state_ids(&room).await.expect("reads");
    assert!(state.contains_key(&("m.room.create".to_owned(), String::new())));
    world.deliver(LATE, HOST, &said).await;
    for id in &said {
        assert!(world.is_shown(LATE, id).await, "{id}");
    }
    assert_eq!(world.sites[LATE].ends(&room).await, said[3..]);
}
