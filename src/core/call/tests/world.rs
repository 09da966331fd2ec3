//! Two people with two clients each, who call, answer and hang up at random, while the server loses answers, tells late, out of
//! order and twice, and leaves gaps: nobody is ever in a call alone for long, no two are in two calls, and every call ends.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::collections::VecDeque;

use super::*;
use crate::core::call::one::Path;
use crate::core::call::phase::Phase;
use crate::core::call::signal::Party;
use crate::core::rng::Rng;

/// What a page does some time after it was asked to.
struct Job {
    due: Instant,
    call: String,
    kind: DescriptionKind,
}

struct Device {
    phone: Phone,
    /// Events on their way, each with the instant from which it may be told.
    coming: VecDeque<(Instant, Event)>,
    jobs: Vec<Job>,
}

struct World {
    devices: Vec<Device>,
    rng: Rng,
    now: Instant,
    /// Whether anything is lost, late or out of order.
    unruly: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let device = |user: &str, rng: &mut Rng| Device {
            phone: Phone::new(user, rng.next_u64(), START),
            coming: VecDeque::new(),
            jobs: Vec::new(),
        };
        let users = ["@ann:hs", "@ann:hs", "@ben:hs", "@ben:hs"];
        let devices = users.iter().map(|user| device(user, &mut rng)).collect();
        Self { devices, rng, now: START, unruly: true }
    }

    fn step(&mut self, acts: bool) {
        self.now = self.now + Duration::from_millis(self.rng.range(20..400));
        for at in 0..self.devices.len() {
            self.devices[at].phone.now = self.now;
            self.wake(at);
            self.tell(at);
            self.work(at);
            if acts && self.rng.chance(1, 25) {
                self.act(at);
            }
            self.post(at);
            self.look_at_paths(at);
            self.check(at);
        }
    }

    fn wake(&mut self, at: usize) {
        let phone = &mut self.devices[at].phone;
        if phone.calls.poll_timeout().is_some_and(|wake| wake <= self.now) {
            phone.act(|calls, now| calls.handle_timeout(now));
        }
    }

    /// The next sync of a device.
    fn tell(&mut self, at: usize) {
        let mut batch = Vec::new();
        while let Some((due, _)) = self.devices[at].coming.front()
            && *due <= self.now
        {
            let (_, event) = self.devices[at].coming.pop_front().expect("is there");
            // A gap, or the same twice.
            if self.unruly && self.rng.chance(1, 60) {
                continue;
            }
            if self.unruly && self.rng.chance(1, 30) {
                batch.push(event.clone());
            }
            batch.push(event);
        }
        if self.unruly && batch.len() > 1 && self.rng.chance(1, 4) {
            let swapped = self.rng.range(1..batch.len() as u64) as usize;
            batch.swap(swapped - 1, swapped);
        }
        let device = &mut self.devices[at];
        if !batch.is_empty() {
            device.phone.hear(&batch);
        }
    }

    /// The page does what it was asked to, after a while; sometimes it fails.
    fn work(&mut self, at: usize) {
        let (rng, now) = (&mut self.rng, self.now);
        let device = &mut self.devices[at];
        for (call, media) in device.phone.asked() {
            let kind = match media {
                Media::Offer { .. } => DescriptionKind::Offer,
                Media::Answer { .. } => DescriptionKind::Answer,
                Media::Remote(other) if other.kind == DescriptionKind::Offer => DescriptionKind::Answer,
                Media::Restart => {
                    if !device.phone.act(|calls, now| calls.begin_change(now, &call)).unwrap_or(false) {
                        continue;
                    }
                    DescriptionKind::Offer
                }
                Media::Close => {
                    device.jobs.retain(|job| job.call != call);
                    continue;
                }
                Media::Remote(_) | Media::Candidates(_) | Media::Streams(_) | Media::Rollback => continue,
            };
            let due = now + Duration::from_millis(rng.range(10..2_000));
            device.jobs.push(Job { due, call, kind });
        }
        let (ready, rest) = std::mem::take(&mut device.jobs).into_iter().partition(|job| job.due <= now);
        device.jobs = rest;
        let ready: Vec<Job> = ready;
        for Job { call, kind, .. } in ready {
            let own = description(kind);
            // The call may be over by now.
            if self.unruly && rng.chance(1, 40) {
                device.phone.act(|calls, now| calls.handle_media_failed(now, &call)).ok();
                continue;
            }
            device.phone.act(|calls, now| calls.handle_described(now, &call, &own)).ok();
            for n in 0..rng.range(0..4) {
                let candidate = format!(r#"{{"candidate":"candidate:{n}"}}"#);
                device.phone.act(|calls, now| calls.handle_candidate(now, &call, Some(&candidate))).ok();
            }
            device.phone.act(|calls, now| calls.handle_candidate(now, &call, None)).ok();
        }
    }

    fn act(&mut self, at: usize) {
        let views: Vec<View> = self.devices[at].phone.calls.views().collect();
        let (rng, phone) = (&mut self.rng, &mut self.devices[at].phone);
        let other = if phone.user == "@ann:hs" { "@ben:hs" } else { "@ann:hs" };
        let pick = |rng: &mut Rng| views[rng.range(0..views.len() as u64) as usize].call.clone();
        match rng.range(0..10) {
            0..=2 => drop(phone.act(|calls, now| calls.place(now, ROOM, Some(other), false))),
            3..=6 if !views.is_empty() => {
                let call = pick(rng);
                phone.act(|calls, now| calls.accept(now, &call, false)).ok();
            }
            7 if !views.is_empty() => {
                let call = pick(rng);
                phone.act(|calls, now| calls.hang_up(now, &call)).ok();
            }
            8 if !views.is_empty() => {
                let call = pick(rng);
                if phone.act(|calls, now| calls.begin_change(now, &call)).unwrap_or(false) {
                    let own = description(DescriptionKind::Offer);
                    phone.act(|calls, now| calls.handle_described(now, &call, &own)).ok();
                }
            }
            _ => (),
        }
    }

    /// The server takes what is sent, says so or not, and tells everybody sooner or later.
    fn post(&mut self, at: usize) {
        let letters = std::mem::take(&mut self.devices[at].phone.letters);
        for Letter { token, kind, content, .. } in letters {
            let lost = self.unruly && self.rng.chance(1, 10);
            let delivery = if lost { Delivery::Lost(Duration::from_secs(1)) } else { Delivery::Sent };
            // It may have come through all the same, and the repetition is not told again.
            let arrived = !lost;
            let content = serde_json::from_str(&content).expect("JSON");
            let sender = self.devices[at].phone.user.clone();
            let event = Event { sender, kind: kind.to_owned(), content, at: self.now };
            self.devices[at].phone.act(|calls, now| calls.handle_sent(now, token, delivery));
            for device in self.devices.iter_mut().filter(|_| arrived) {
                let after = device.coming.back().map_or(self.now, |(due, _)| *due).max(self.now);
                let late = if self.unruly { self.rng.range(10..3_000) } else { 50 };
                device.coming.push_back((after.max(self.now + Duration::from_millis(late)), event.clone()));
            }
        }
    }

    /// The connection between two clients stands while both know of each other.
    fn look_at_paths(&mut self, at: usize) {
        let live: Vec<(String, Party, Option<Party>, Phase)> = self.devices[at].phone.calls.parties();
        for (call, me, partner, phase) in live {
            let meets = self.devices.iter().any(|device| {
                device.phone.calls.parties().iter().any(|(other_call, them, theirs, phase)| {
                    let is_up = matches!(phase, Phase::Connecting | Phase::Connected);
                    *other_call == call
                        && Some(them) == partner.as_ref()
                        && theirs.as_ref() == Some(&me)
                        && is_up
                })
            });
            if matches!(phase, Phase::Connecting | Phase::Connected) {
                let path = if meets { Path::Up } else { Path::Failed };
                let phone = &mut self.devices[at].phone;
                if phase == Phase::Connecting && !meets {
                    continue; // it has not come about so far
                }
                phone.act(|calls, now| calls.handle_path(now, &call, path)).ok();
            }
        }
    }

    fn check(&self, at: usize) {
        let phone = &self.devices[at].phone;
        let live = phone.calls.views().filter(|view| view.phase.is_live()).count();
        assert!(live <= 1, "one call has the microphone");
        assert!(phone.calls.views().count() <= 8, "calls are bounded");
    }

    fn run(&mut self, steps: u32, acts: bool) {
        for _ in 0..steps {
            self.step(acts);
        }
    }

    fn live(&self) -> Vec<(usize, String, Phase)> {
        let of = |(at, device): (usize, &Device)| {
            let views: Vec<_> = device.phone.calls.views().map(|view| (at, view.call, view.phase)).collect();
            views
        };
        self.devices.iter().enumerate().flat_map(of).collect()
    }
}

#[test]
fn m14_clients_that_call_at_random_agree_in_the_end_and_every_call_ends() {
    let mut connected = 0;
    for seed in 0..crate::core::testing::seeds(150) {
        let mut world = World::new(seed);
        world.run(400, true);
        world.unruly = false;
        // Long enough for everything that waits for an end.
        world.run(1_200, false);
        let live = world.live();
        assert!(live.len() <= 4 && live.len().is_multiple_of(2), "seed {seed}: {live:?}");
        for (_, call, phase) in &live {
            assert_eq!(*phase, Phase::Connected, "seed {seed}: who is in a call is not alone in it");
            assert_eq!(live.iter().filter(|(_, other, _)| other == call).count(), 2, "seed {seed}: {live:?}");
        }
        connected += live.len();
        for (at, call, _) in live {
            world.devices[at].phone.act(|calls, now| calls.hang_up(now, &call)).ok();
        }
        world.run(500, false);
        assert!(world.live().is_empty(), "seed {seed}");
        for device in &world.devices {
            assert_eq!(device.phone.calls.poll_timeout(), None, "seed {seed}: nothing is left to wait for");
        }
    }
    assert!(connected > 0, "some did connect");
}

#[test]
fn m14_on_a_quiet_network_two_who_call_each_other_at_once_are_in_one_call() {
    for seed in 0..crate::core::testing::seeds(100) {
        let mut world = World::new(seed);
        world.unruly = false;
        let lag = world.rng.range(0..6) as u32;
        world.devices[0]
            .phone
            .act(|calls, now| calls.place(now, ROOM, Some("@ben:hs"), false))
            .expect("free");
        world.run(lag, false);
        let ben = &mut world.devices[2].phone;
        // Whoever hears it ring before takes it by calling back.
        ben.act(|calls, now| calls.place(now, ROOM, Some("@ann:hs"), false)).expect("free");
        world.run(100, false);
        let live = world.live();
        let calls: std::collections::BTreeSet<&String> = live.iter().map(|(_, call, _)| call).collect();
        assert_eq!((live.len(), calls.len()), (2, 1), "seed {seed}: {live:?}");
        assert!(live.iter().all(|(_, _, phase)| *phase == Phase::Connected), "seed {seed}: {live:?}");
        assert_eq!((live[0].0, live[1].0), (0, 2), "seed {seed}");
    }
}
