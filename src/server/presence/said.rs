//! What a user and their devices say of presence, and what it comes to when it is taken together.

use std::collections::BTreeMap;

use ruma::{DeviceId, OwnedDeviceId};

use crate::core::{
    federation::Fingerprint,
    presence::{Attended, Choice, Decision, DeviceKey, DeviceType, Engine, StatusMsg, UserKey, Wish, Words},
    time::Instant,
};

/// What a device reports of the person at it (P6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Attendance {
    /// Somebody is there.
    Active,
    /// Nobody has been there since then.
    IdleSince(Instant),
}

/// What was said, by any of a user's devices, and is to be taken together.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// What was said of the user's choice (P3).
    pub(super) decision: Decision,
    /// The device on which the user chose last.
    chose_on: Option<OwnedDeviceId>,
    pub(super) status_msg: StatusMsg,
    /// What each device reported last. Bounded by the devices of a user.
    devices: BTreeMap<OwnedDeviceId, Report>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Report {
    attendance: Option<Attendance>,
    device_type: Option<DeviceType>,
}

impl Said {
    /// A `PUT …/status` of `word` and, perhaps, a status message, by a device that uses these words.
    pub fn put(
        device: OwnedDeviceId,
        words: Words,
        word: Choice,
        status_msg: StatusMsg,
        now: Instant,
    ) -> Self {
        let wish = Wish::new(words, word);
        let decision = wish.decision();
        let attendance = match wish {
            Wish::Chosen(_) => {
                return Self { decision, chose_on: Some(device), status_msg, ..Self::default() };
            }
            Wish::SignedOff => None,
            Wish::Attended(Attended::Active) => Some(Attendance::Active),
            Wish::Attended(Attended::Idle) => Some(Attendance::IdleSince(now)),
        };
        Self { decision, status_msg, ..Self::report(device, attendance, None) }
    }

    /// Words, and nothing of a state.
    pub fn message(status_msg: StatusMsg) -> Self {
        Self { status_msg, ..Self::default() }
    }

    /// A device reported whether somebody is there (P6), or what kind it is (P7).
    pub fn report(
        device: OwnedDeviceId,
        attendance: Option<Attendance>,
        device_type: Option<DeviceType>,
    ) -> Self {
        let report = Report { attendance, device_type };
        Self { devices: BTreeMap::from([(device, report)]), ..Self::default() }
    }

    /// Adds what was said after this.
    pub(super) fn then(&mut self, later: Self) {
        if let Some(device) = later.chose_on {
            if later.decision.choice.is_some_and(is_attended)
                && let Some(report) = self.devices.get_mut(&device)
            {
                // Who chooses to be there is at this device, whatever it said before.
                report.attendance = None;
            }
            self.chose_on = Some(device);
        }
        self.decision = self.decision.then(later.decision);
        if !later.status_msg.is_keep() {
            self.status_msg = later.status_msg;
        }
        for (device, report) in later.devices {
            let kept = self.devices.entry(device).or_default();
            kept.attendance = report.attendance.or(kept.attendance);
            kept.device_type = report.device_type.or(kept.device_type);
        }
    }

    /// Whether the user wants to look offline (P4).
    pub(super) fn hides(&self) -> bool {
        self.decision.signed_off == Some(true)
            || matches!(self.decision.choice, Some(Choice::Hidden | Choice::Offline))
    }

    /// Whether anything was said of the user's choice or message: that is written before it is shown.
    pub(super) fn chooses(&self) -> bool {
        self.decision != Decision::default() || !self.status_msg.is_keep()
    }

    /// Whether a device said something of itself.
    pub(super) fn reports(&self) -> bool {
        !self.devices.is_empty()
    }

    /// Tells the engine.
    pub(super) fn apply(self, engine: &mut Engine, user: UserKey, now: Instant) {
        // Who hides while away is not seen to come back for it.
        let hides = self.hides();
        if !hides {
            self.touch_where_chosen(engine, user, now);
        }
        if self.chooses() {
            engine.handle_decision(user, self.decision, self.status_msg.clone(), now);
        }
        if hides {
            self.touch_where_chosen(engine, user, now);
        }
        for (device, report) in self.devices {
            let device = device_key(&device);
            engine.handle_touch(user, device, now);
            if report.device_type.is_some() {
                engine.handle_device_type(user, device, report.device_type);
            }
            match report.attendance {
                Some(Attendance::Active) => engine.handle_active(user, device, None, now),
                Some(Attendance::IdleSince(since)) => {
                    engine.handle_idle(user, device, None, now.since(since), now);
                }
                None => {}
            }
        }
    }

    /// Tells the engine of the device on which the user chose.
    fn touch_where_chosen(&self, engine: &mut Engine, user: UserKey, now: Instant) {
        let Some(device) = &self.chose_on else { return };
        let device = device_key(device);
        engine.handle_touch(user, device, now);
        if self.decision.choice.is_some_and(is_attended) {
            engine.handle_active(user, device, None, now);
        }
    }
}

/// Whether somebody who chooses this is at the device.
fn is_attended(choice: Choice) -> bool {
    !matches!(choice, Choice::Unavailable | Choice::Offline)
}

/// The engine's handle of a device, the same after a restart. Two devices of one user share one with a chance of
/// 2^-64.
pub(super) fn device_key(device: &DeviceId) -> DeviceKey {
    DeviceKey(Fingerprint::of(device.as_str().as_bytes()).0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::presence::{Change, Output, Record, SetPresence, Settings};

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(1_000_000 + seconds * 1000)
    }

    fn device(n: u8) -> OwnedDeviceId {
        format!("D{n}").into()
    }

    fn something() -> impl Strategy<Value = Said> {
        let choices = [Choice::Online, Choice::Busy, Choice::Unavailable, Choice::Hidden, Choice::Offline];
        let message = prop_oneof![
            Just(StatusMsg::Keep),
            Just(StatusMsg::Clear),
            Just(StatusMsg::Set("a".into())),
            Just(StatusMsg::Set("b".into())),
        ];
        let attendance = prop_oneof![
            Just(None),
            Just(Some(Attendance::Active)),
            (0..50_u64).prop_map(|s| Some(Attendance::IdleSince(at(s)))),
        ];
        let kind = prop::option::of(prop::sample::select(vec!["web", "mobile"]));
        prop_oneof![
            (0..3_u8, prop::sample::select(choices.to_vec()), message, any::<bool>()).prop_map(
                |(d, word, message, ours)| {
                    let words = if ours { Words::Ours } else { Words::Matrix };
                    Said::put(device(d), words, word, message, at(60))
                }
            ),
            (0..3_u8, attendance, kind).prop_map(|(d, attendance, kind)| {
                Said::report(device(d), attendance, kind.map(|kind| kind.parse().expect("a kind")))
            }),
        ]
    }

    #[test]
    fn p4_who_hides_while_away_leaves_no_trace_whatever_the_words_and_the_device() {
        for (words, word) in
            [(Words::Ours, Choice::Hidden), (Words::Ours, Choice::Offline), (Words::Matrix, Choice::Offline)]
        {
            let mut engine = Engine::new(Settings::default());
            let user = engine.insert_user(Record::default(), at(0));
            engine.handle_connected(user, device_key(&device(0)), SetPresence::Online, at(0));
            engine.handle_choice(user, Choice::Online, StatusMsg::Set("here".into()), at(1));
            engine.handle_disconnected(user, device_key(&device(0)), at(2));
            engine.handle_timeout(at(100));
            while engine.poll_output(at(100)).is_some() {}
            let before = engine.view(user, at(10_000));
            for device in [device(0), device(1)] {
                let secret = StatusMsg::Set("secret".into());
                Said::put(device, words, word, secret, at(5_000)).apply(&mut engine, user, at(5_000));
            }
            assert_eq!(engine.view(user, at(10_000)), before, "{words:?} {word:?}");
            let changes: Vec<_> = std::iter::from_fn(|| engine.poll_output(at(5_000))).collect();
            let seen = changes.iter().any(|output| {
                matches!(
                    output,
                    Output::Changed { change: Change::Visible | Change::Quiet | Change::Times, .. }
                )
            });
            assert!(!seen, "{changes:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_together_is_what_was_said_one_after_the_other(
            all in prop::collection::vec(something(), 1..12),
        ) {
            let engine = || {
                let mut engine = Engine::new(Settings::default());
                let user = engine.insert_user(Record::default(), at(60));
                for n in 0..3 {
                    engine.handle_connected(user, device_key(&device(n)), SetPresence::Absent, at(60));
                }
                (engine, user)
            };
            let (mut one_by_one, user) = engine();
            let mut together = Said::default();
            for said in all {
                said.clone().apply(&mut one_by_one, user, at(60));
                together.then(said);
            }
            let (mut at_once, _) = engine();
            together.apply(&mut at_once, user, at(60));
            let (one_by_one, at_once) = (one_by_one.own_view(user, at(60)), at_once.own_view(user, at(60)));
            prop_assert_eq!(
                (one_by_one.choice, one_by_one.state, one_by_one.status_msg, one_by_one.idle_for),
                (at_once.choice, at_once.state, at_once.status_msg, at_once.idle_for),
            );
        }
    }
}
