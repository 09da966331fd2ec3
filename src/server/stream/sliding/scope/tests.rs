use ruma::RoomId;

use super::*;
use crate::{
    core::{rng::Rng, testing::seeds},
    server::stream::sliding::request::{Filters, List as WantedList},
};

/// Each list with its rooms, and each room with where it stands and what is told of it.
type Shape = (Vec<(Arc<str>, Vec<OwnedRoomId>)>, Vec<(OwnedRoomId, LogPosition, Option<Scoped>)>);

impl Scope {
    /// What can be told apart of it.
    pub(in crate::server::stream::sliding) fn shape(&self) -> Shape {
        let id = |number: &u32| self.id(*number as usize).clone();
        let lists =
            self.lists.iter().map(|list| (Arc::clone(&list.name), list.order.iter().map(id).collect()));
        let rooms = self.rooms.iter().enumerate().map(|(n, room)| (room.id.clone(), room.at, self.scoped(n)));
        (lists.collect(), rooms.collect())
    }
}

fn id(n: u64) -> OwnedRoomId {
    RoomId::parse(format!("!{n:02}:x")).expect("a room ID")
}

/// Any lists with these filters.
fn any_wanted(rng: &mut Rng, filters: &[Filters]) -> Arc<Wanted> {
    let mut range = || {
        let first = rng.range(0..12) as usize;
        (first, first + rng.range(0..6) as usize)
    };
    let mut wanted = Wanted::default();
    for (n, filters) in filters.iter().enumerate() {
        let ranges = [range(), range(), range()];
        let of = match n % 3 {
            0 => None,
            1 => Some(ranges[..1].to_vec()),
            _ => Some(ranges.to_vec()),
        };
        let config = Config { timeline_limit: ranges[0].0 % 3, ..Config::default() };
        let list = WantedList { ranges: of, filters: filters.clone(), config };
        wanted.lists.insert(format!("list{n}"), list);
    }
    for _ in 0..rng.range(0..3) {
        wanted.subscriptions.insert(id(rng.range(0..30)), Config::default());
    }
    Arc::new(wanted)
}

fn any_rooms(rng: &mut Rng, lists: usize) -> Vec<Found> {
    let mut found = Vec::new();
    for n in (0..20).filter(|n| n % 7 != 3) {
        let mut of = Lists::default();
        (0..lists).for_each(|list| of.set(list, rng.chance(2, 3)));
        let at = LogPosition::new(rng.range(1..50));
        found.push(Found { id: id(n), at, moves: rng.chance(4, 5), is_dm: rng.chance(1, 3), lists: of });
    }
    found
}

#[test]
fn what_is_kept_is_what_a_fresh_look_at_all_rooms_finds_and_every_difference_is_noted() {
    for seed in 0..seeds(60) {
        let mut rng = Rng::new(seed);
        let asked = Extensions::default();
        let filters = vec![Filters::default(); rng.range(0..5) as usize];
        let mut found = any_rooms(&mut rng, filters.len());
        let mut wanted = any_wanted(&mut rng, &filters);
        let fresh = |wanted: &Arc<Wanted>, found: &[Found]| {
            Scope::new((Arc::clone(wanted), &asked), found.to_vec(), Vec::new(), LogPosition::START)
        };
        let mut kept = fresh(&wanted, &found);
        for step in 0..60 {
            let before = fresh(&wanted, &found);
            kept.take_untold();
            if rng.chance(1, 8) {
                wanted = any_wanted(&mut rng, &filters);
                assert!(kept.ask(&wanted, &asked), "the same filters");
            }
            for _ in 0..rng.range(0..3) {
                let n = rng.range(0..found.len() as u64) as usize;
                // Also what is known of the room already, and what is older than what others were found at.
                let at = LogPosition::new(rng.range(1..60 + step));
                assert!(kept.follow(&found[n].id, at));
                if found[n].moves {
                    found[n].at = found[n].at.max(at);
                }
            }
            let after = fresh(&wanted, &found);
            assert_eq!(kept.shape(), after.shape(), "seed {seed}, step {step}");
            let Untold::These(noted) = &kept.untold else { panic!("it is known what is untold") };
            let told =
                |scope: &Scope, n: usize| scope.scoped(n).map(|s| (s.config, s.lists, s.is_subscribed));
            for n in (0..kept.rooms.len()).filter(|n| told(&before, *n) != told(&after, *n)) {
                assert!(noted.contains(&n), "seed {seed}, step {step}: {}", kept.id(n));
            }
        }
    }
}

#[test]
fn other_filters_or_a_room_that_is_not_known_ask_for_all_rooms_anew() {
    let filters = Filters { is_dm: Some(true), ..Filters::default() };
    let mut rng = Rng::new(1);
    let found = any_rooms(&mut rng, 1);
    let one = any_wanted(&mut rng, &[Filters::default()]);
    let asked = Extensions::default();
    let scope = || Scope::new((Arc::clone(&one), &asked), found.clone(), Vec::new(), LogPosition::START);
    assert!(scope().ask(&one, &asked));
    assert!(!scope().ask(&any_wanted(&mut rng, &[filters]), &asked));
    assert!(!scope().ask(&any_wanted(&mut rng, &[Filters::default(), Filters::default()]), &asked));
    assert!(!scope().follow(&id(99), LogPosition::new(5)));
    // Other extensions may have to tell of any room.
    let typing = Extensions { typing: Some(Default::default()), ..Extensions::default() };
    let mut other = scope();
    other.take_untold();
    assert!(other.ask(&one, &typing) && other.untold == Untold::All);
}
