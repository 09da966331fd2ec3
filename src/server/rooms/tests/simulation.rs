//! Several servers share a room over a network that loses, doubles, delays and swaps what is sent, and is cut now and
//! then; some are killed. What they make of the room in the end is the same.
//!
//! Everything but the network is real: stores on the disk, signatures, the rules. What happens follows from a seed.

use std::{collections::BTreeSet, sync::Arc};

use ruma::{
    OwnedEventId, OwnedTransactionId, RoomVersionId, UserId,
    api::client::room::create_room::v3::{Request, RoomPreset},
};
use serde_json::{json, value::RawValue};

use super::sites::{Net, Seen, Site, raw};
use crate::{
    core::rng::Rng,
    server::{
        change::position::TimelinePosition,
        rooms::{
            receive::{
                Each, Outcome, Piece,
                check::{Checked, read},
            },
            refusal::Refusal,
        },
        store::{
            Entered, EventStanding, Order, RoomChange, RoomCommit, RoomRow, Side, StateAtEntry, StateIds,
        },
    },
};

/// A room that some servers share.
pub(super) struct World {
    pub(super) net: Arc<Net>,
    pub(super) sites: Vec<Site>,
    pub(super) room: RoomRow,
    rng: Rng,
    /// What is on its way: to whom, from whom, which event.
    sent: Vec<(usize, usize, OwnedEventId)>,
    acts: usize,
    /// By which the second one's user is in the room, where that is looked at.
    pub(super) joined: Option<OwnedEventId>,
}

impl World {
    pub(super) async fn new(seed: u64, version: RoomVersionId, count: usize) -> Self {
        let (net, mut sites) = (Arc::new(Net::default()), Vec::new());
        for n in 0..count {
            let site = Site::open(&format!("s{n}.example")).await;
            net.join(&site);
            sites.push(site);
        }
        let mut request = Request::new();
        request.preset = Some(RoomPreset::PublicChat);
        request.room_version = Some(version.clone());
        let room_id = sites[0].rooms.create(&sites[0].user, request).await.expect("is made");
        let room = RoomRow { room_id, version, listed: false };
        let (rng, sent) = (Rng::new(seed), Vec::new());
        let mut world = Self { net, sites, room, rng, sent, acts: 0, joined: None };
        for n in 1..count {
            world.enter(n).await;
        }
        world
    }

    pub(super) fn seen_from(&self, n: usize) -> Arc<Seen> {
        Arc::new(Seen { net: Arc::clone(&self.net), from: self.sites[n].name.clone() })
    }

    /// A site's user joins by the first site.
    pub(super) async fn enter(&mut self, n: usize) {
        let (host, guest) = (&self.sites[0], &self.sites[n]);
        let rules = self.room.version.rules().expect("a known version");
        let state = host.store.current_state_ids(&self.room.room_id).await.expect("reads");
        let of = |kind: &str| state.get(&(kind.to_owned(), String::new())).cloned();
        let mut auth: Vec<OwnedEventId> =
            [of("m.room.power_levels"), of("m.room.join_rules")].into_iter().flatten().collect();
        if self.room.version != RoomVersionId::V12 {
            auth.extend(of("m.room.create"));
        }
        let mut join = serde_json::from_value(json!({
            "type": "m.room.member", "state_key": guest.user.user, "sender": guest.user.user,
            "room_id": self.room.room_id, "content": { "membership": "join" }, "depth": 20 + n,
            "origin_server_ts": 1, "prev_events": host.ends(&self.room.room_id).await, "auth_events": auth,
        }))
        .expect("canonical");
        guest.rooms.signer.hash_and_sign(&mut join, &rules.redaction).expect("signs");
        let text = serde_json::to_string(&join).expect("JSON");
        let unproven = read(&rules, &self.room.room_id, &text).expect("is an event");
        let seen = self.seen_from(n);
        let keys = guest.rooms.keys(&*seen, unproven.needs(&rules)).await;
        let join: Checked = unproven.prove(&rules, &keys).expect("is signed");
        // The host takes it, and answers with the room.
        let outcome = host.rooms.receive_one(&self.room.room_id, join.clone()).await;
        assert!(matches!(outcome, Ok(Outcome::Accepted)), "{outcome:?}");
        let ids: Vec<OwnedEventId> = state.into_values().collect();
        let chain: Vec<OwnedEventId> =
            host.store.auth_chain(&ids, 10_000).await.expect("reads").into_iter().collect();
        let texts = async |ids: &[OwnedEventId]| -> Vec<Box<RawValue>> {
            host.store.graph_events(ids).await.expect("reads").values().map(raw).collect()
        };
        let (state, chain) = (texts(&ids).await, texts(&chain).await);
        let read = move |each: &mut Each<'_>| {
            state.iter().try_for_each(|text| each(Piece::State, text.clone()))?;
            chain.iter().try_for_each(|text| each(Piece::AuthChain, text.clone()))
        };
        let version = self.room.version.clone();
        let state = guest
            .rooms
            .check_join_answer(&*seen, (&self.room.room_id, &version), &join, read)
            .await
            .expect("is sound");
        let event = join.row(&self.room.room_id, false, None);
        let (version, state) = (self.room.version.clone(), StateAtEntry::Whole(state));
        let entered = Entered { room: self.room.room_id.clone(), version, state, event };
        let commit =
            RoomCommit { changes: vec![RoomChange::Enter(Box::new(entered))], ..RoomCommit::default() };
        guest.store.commit_rooms(commit).await.expect("queues").await.expect("is written");
        for other in 1..n {
            self.deliver(other, 0, &[join.event_id().to_owned()]).await;
        }
    }

    /// Events of one site come to another one.
    pub(super) async fn deliver(&self, to: usize, from: usize, ids: &[OwnedEventId]) {
        let (to_site, from_site) = (&self.sites[to], &self.sites[from]);
        if self.net.is_cut(&to_site.name, &from_site.name) {
            return;
        }
        let rules = self.room.version.rules().expect("a known version");
        let mut pdus = Vec::new();
        for id in ids {
            if let Some(event) = from_site.event(id).await {
                pdus.push(read(&rules, &self.room.room_id, &event.pdu).expect("is an event"));
            }
        }
        let seen = self.seen_from(to);
        let pending = to_site.rooms.receive(&seen, &from_site.name, &self.room.room_id, pdus);
        for mut event in pending.expect("room") {
            let answer = event.answer().await;
            assert_eq!(answer, Some(Ok(())), "what a site sends is right");
        }
    }

    /// Somebody does something; what they sent goes on its way.
    async fn act(&mut self) {
        let n = self.pick(self.sites.len());
        // Who made the room stays in it, to say the last word.
        let whom = 1 + self.pick(self.sites.len() - 1);
        self.acts += 1;
        let (site, acts) = (&self.sites[n], self.acts);
        let (rooms, user, room) = (&site.rooms, &site.user, &self.room.room_id);
        let before: BTreeSet<OwnedEventId> = site.ends(room).await.into_iter().collect();
        let target = self.sites[whom].user.user.clone();
        let transaction = OwnedTransactionId::from(format!("t{acts}"));
        let what = self.rng.range(0..12);
        let done: Result<(), Refusal> = match what {
            0 | 1 => {
                let name = json!({ "name": format!("name {acts}") }).to_string();
                rooms.send_state(user, room, "m.room.name", "", &name).await.map(drop)
            }
            2 => {
                let topic = json!({ "topic": format!("topic {acts}") }).to_string();
                rooms.send_state(user, room, "m.room.topic", "", &topic).await.map(drop)
            }
            3 => {
                let level = [0, 50, 100][self.rng.range(0..3) as usize];
                let levels = self.levels(n, &target, level).await;
                rooms.send_state(user, room, "m.room.power_levels", "", &levels).await.map(drop)
            }
            4 => rooms.ban(user, room, &target, None).await,
            5 => rooms.unban(user, room, &target, None).await,
            6 => rooms.kick(user, room, &target, None).await,
            7 if n > 0 => rooms.leave(user, room, None).await,
            8 | 9 => rooms.join(user, room, "{}").await.map(drop),
            10 => {
                let last = before.first().cloned();
                let Some(last) = last else { return };
                rooms.redact(user, room, &last, &transaction, None).await.map(drop)
            }
            _ => {
                let text = json!({ "msgtype": "m.text", "body": format!("message {acts}") }).to_string();
                rooms.send_message(user, room, "m.room.message", &transaction, &text).await.map(drop)
            }
        };
        if let Err(refusal @ (Refusal::Store(_) | Refusal::Internal(_))) = done {
            panic!("{refusal:?}");
        }
        let after = site.ends(room).await;
        for id in after.into_iter().filter(|id| !before.contains(id)) {
            for to in (0..self.sites.len()).filter(|to| *to != n) {
                self.sent.push((to, n, id.clone()));
            }
        }
    }

    async fn levels(&self, n: usize, target: &UserId, level: i64) -> String {
        let known = self.sites[n].store.state_event(&self.room.room_id, "m.room.power_levels", "").await;
        let known = known.expect("reads").expect("is there");
        let mut content: serde_json::Value = known.content_as().expect("JSON");
        content["users"][target.as_str()] = level.into();
        content.to_string()
    }

    fn pick(&mut self, of: usize) -> usize {
        usize::try_from(self.rng.range(0..of as u64)).expect("small")
    }

    /// Something happens on the way: an event comes, or is lost, or comes and will come again.
    async fn travel(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let at = self.pick(self.sent.len());
        let (to, from, id) = self.sent.swap_remove(at);
        if self.rng.chance(1, 5) {
            return;
        }
        if self.rng.chance(1, 5) {
            self.sent.push((to, from, id.clone()));
        }
        // More of what goes the same way may come in the same transaction, in any order.
        let mut ids = vec![id];
        while self.rng.chance(1, 2)
            && let Some(at) = self.sent.iter().position(|(t, f, _)| (*t, *f) == (to, from))
        {
            ids.push(self.sent.swap_remove(at).2);
        }
        self.deliver(to, from, &ids).await;
    }

    async fn step(&mut self) {
        match self.rng.range(0..20) {
            0 => {
                let (a, b) = (self.pick(self.sites.len()), self.pick(self.sites.len()));
                let pair = (self.sites[a].name.clone(), self.sites[b].name.clone());
                self.net.cut.lock().insert(pair);
            }
            1 => self.net.cut.lock().clear(),
            2 => {
                let n = self.pick(self.sites.len());
                let site = self.sites.remove(n).restart().await;
                self.net.join(&site);
                self.sites.insert(n, site);
            }
            3..=10 => self.act().await,
            _ => self.travel().await,
        }
    }

    /// Everybody tells everybody how the room ends for them, until nobody learns anything new; then one of them says
    /// something that follows all of it.
    async fn settle(&mut self) {
        self.net.cut.lock().clear();
        let mut before = Vec::new();
        for _ in 0..20 {
            for to in 0..self.sites.len() {
                for from in (0..self.sites.len()).filter(|from| *from != to) {
                    let ends = self.sites[from].ends(&self.room.room_id).await;
                    self.deliver(to, from, &ends).await;
                }
            }
            let mut now = Vec::new();
            for site in &self.sites {
                now.push(site.ends(&self.room.room_id).await);
            }
            if now == before {
                break;
            }
            before = now;
        }
        let closing = OwnedTransactionId::from("closing");
        let first = &self.sites[0];
        first
            .rooms
            .send_message(&first.user, &self.room.room_id, "m.room.message", &closing, r#"{"body":"end"}"#)
            .await
            .expect("the room's creator may always speak");
        let ends = first.ends(&self.room.room_id).await;
        for to in 1..self.sites.len() {
            self.deliver(to, 0, &ends).await;
        }
    }

    /// All sites have the same room.
    async fn check(&self) {
        let room = &self.room.room_id;
        let end = self.sites[0].ends(room).await;
        let state = self.sites[0].store.current_state_ids(room).await.expect("reads");
        for site in &self.sites {
            // Beside the end a site can have what it holds good and the others, who knew more, show nobody.
            let own: BTreeSet<OwnedEventId> = site.ends(room).await.into_iter().collect();
            let mut other = own.clone();
            other.retain(|id| !end.contains(id));
            let mut shown = Vec::new();
            for id in &other {
                let known = self.sites[0].event(id).await;
                shown.extend(
                    known.is_none_or(|event| event.standing != EventStanding::SoftFailed).then_some(id),
                );
            }
            if !shown.is_empty() || own.len() != other.len() + end.len() {
                let about = self.described(own.iter().chain(&end)).await;
                panic!("{}: the room ends with {own:?} instead of {end:?}\n{about}", site.name);
            }
            let own = site.store.current_state_ids(room).await.expect("reads");
            // With what nobody else shows, a site makes something else of the room: then only the past is the same.
            if other.is_empty() && own != state {
                let differ = own
                    .iter()
                    .chain(&state)
                    .filter(|(key, id)| own.get(*key) != Some(*id) || state.get(*key) != Some(*id));
                let about = self.described(differ.map(|(_, id)| id)).await;
                panic!("{}: the state differs\n{about}", site.name);
            }
            let after = site.store.state_ids(&end[0], Side::After).await.expect("reads");
            assert_eq!(after.as_ref(), Some(&state), "{}: the state is not that of the end", site.name);
            self.check_members(site, &own).await;
        }
        self.check_past(&end).await;
    }

    /// What the sites know of some events.
    async fn described(&self, ids: impl Iterator<Item = &OwnedEventId>) -> String {
        let mut text = String::new();
        for id in ids.collect::<BTreeSet<_>>() {
            for site in &self.sites {
                let event = site.event(id).await;
                let known = event.map(|event| (event.standing, event.has_state, event.pdu));
                text += &format!("{id} at {}: {known:?}\n", site.name);
            }
        }
        text
    }

    /// Whoever is in the room by its state is in it by what is asked for every event.
    async fn check_members(&self, site: &Site, state: &StateIds) {
        let mut expected = BTreeSet::new();
        for ((kind, key), id) in state {
            let event = site.event(id).await.expect("state is here");
            let pdu: serde_json::Value = serde_json::from_str(&event.pdu).expect("JSON");
            if kind == "m.room.member" && pdu["content"]["membership"] == "join" {
                expected.insert(key.clone());
            }
        }
        let joined = site.rooms.members.joined(&self.room.room_id);
        let joined: BTreeSet<String> = joined.iter().map(ToString::to_string).collect();
        assert_eq!(joined, expected, "{}: who is in the room", site.name);
    }

    /// Everything that the end follows is here everywhere, as good or as bad, with the same state before it.
    async fn check_past(&self, end: &[OwnedEventId]) {
        let (mut open, mut seen) = (end.to_vec(), BTreeSet::new());
        while let Some(id) = open.pop() {
            if !seen.insert(id.clone()) {
                continue;
            }
            let mut known = Vec::new();
            for site in &self.sites {
                let Some(event) = site.event(&id).await.filter(|event| event.has_state) else { continue };
                let is_rejected = event.standing == EventStanding::Rejected;
                let before = site.store.state_ids(&id, Side::Before).await.expect("reads");
                known.push((is_rejected, before, event.pdu.clone()));
            }
            for other in &known[1..] {
                assert_eq!(other.0, known[0].0, "{id} is rejected by some");
                assert_eq!(other.1, known[0].1, "the state before {id} differs");
            }
            let pdu: serde_json::Value = serde_json::from_str(&known[0].2).expect("JSON");
            let prev = pdu["prev_events"].as_array().expect("a list").iter();
            open.extend(prev.map(|id| OwnedEventId::try_from(id.as_str().expect("text")).expect("an ID")));
        }
        assert!(seen.len() > 5, "the walk ended early: {}", seen.len());
    }
}

impl World {
    /// Whoever has what was before fetched comes to the room's first event, which is there once.
    async fn check_beginning(&self) {
        let room = &self.room.room_id;
        let (start, end) = (TimelinePosition::START, TimelinePosition::END);
        for (n, site) in self.sites.iter().enumerate().skip(1) {
            let elsewhere = self.seen_from(n);
            for _ in 0..100 {
                let Some(gap) = site.store.last_gap(room, end).await.expect("reads") else { break };
                let mut placed = 0;
                for other in self.sites.iter().filter(|other| other.name != site.name) {
                    let events = other.store.backwards(room, &gap.missing, 100).await.expect("reads");
                    let texts: Vec<_> = events.iter().map(raw).collect();
                    let before = (room.as_ref(), Some(&*gap.event));
                    let past = site.rooms.receive_past(&elsewhere, &other.name, before, &texts).await;
                    placed += past.expect("is taken");
                }
                if placed == 0 {
                    break;
                }
            }
            let all = site.store.room_events(room, start, end, Order::OldestFirst, 1_000).await;
            let kinds: Vec<String> = all.expect("reads").iter().map(|event| event.kind.clone()).collect();
            assert_eq!(kinds[0], "m.room.create", "{}: the room begins with something else", site.name);
            assert_eq!(kinds.iter().filter(|kind| *kind == "m.room.create").count(), 1, "{}", site.name);
        }
    }
}

/// How much longer chances are taken than usual.
pub(super) fn times() -> u64 {
    std::env::var("TEST_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

async fn run(seed: u64, version: RoomVersionId, sites: usize) {
    let mut world = World::new(seed, version, sites).await;
    for _ in 0..60 {
        world.step().await;
    }
    world.settle().await;
    world.check().await;
    world.check_beginning().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_share_a_room_agree_whatever_the_network_does() {
    let versions = [RoomVersionId::V11, RoomVersionId::V12, RoomVersionId::V6];
    let only = std::env::var("SIMULATION_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    for seed in only.map_or(0..6 * times(), |seed| seed..seed + 1) {
        let version = versions[usize::try_from(seed % 3).expect("small")].clone();
        eprintln!("seed {seed}, version {version}");
        run(seed, version, 2 + usize::try_from(seed % 3).expect("small")).await;
    }
}
