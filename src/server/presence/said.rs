//! What a user and their devices say of presence; said faster than the limit, the last of it is taken later.
//!
//! A rate limit never drops a last state, it delays it: what comes beyond the rate waits, merged into one
//! thing for the user, until there is room, and everybody who said a part of it is answered then. So
//! nothing is refused, and what was answered is on the disk.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use ruma::{OwnedDeviceId, OwnedUserId};
use tokio::sync::watch;

use super::device_key;
use crate::{
    core::{
        presence::{Choice, DeviceType, Engine, StatusMsg, UserKey},
        time::Instant,
    },
    server::{
        api::error::{ApiError, ApiResult},
        app::App,
        session::Session,
        store::StoreError,
    },
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
    /// What the user chose last, and on which device (P3).
    choice: Option<(OwnedDeviceId, Choice)>,
    status_msg: StatusMsg,
    /// What each device reported last. Bounded by the devices of a user.
    devices: BTreeMap<OwnedDeviceId, Report>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Report {
    attendance: Option<Attendance>,
    device_type: Option<DeviceType>,
}

impl Said {
    /// The user chose a state and, perhaps, a status message.
    pub fn choice(device: OwnedDeviceId, choice: Choice, status_msg: StatusMsg) -> Self {
        Self { choice: Some((device, choice)), status_msg, devices: BTreeMap::new() }
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
    fn then(&mut self, later: Self) {
        if let Some((device, choice)) = later.choice {
            if is_attended(choice)
                && let Some(report) = self.devices.get_mut(&device)
            {
                // Who chooses to be there is at this device, whatever it said before.
                report.attendance = None;
            }
            self.choice = Some((device, choice));
        }
        if !later.status_msg.is_keep() {
            self.status_msg = later.status_msg;
        }
        for (device, report) in later.devices {
            let kept = self.devices.entry(device).or_default();
            kept.attendance = report.attendance.or(kept.attendance);
            kept.device_type = report.device_type.or(kept.device_type);
        }
    }

    fn hides(&self) -> bool {
        matches!(self.choice, Some((_, Choice::Hidden | Choice::Offline)))
    }

    /// Tells the engine.
    fn apply(self, engine: &mut Engine, user: UserKey, now: Instant) {
        if let Some((device, choice)) = self.choice {
            let device = device_key(&device);
            engine.handle_touch(user, device, now);
            if is_attended(choice) {
                engine.handle_active(user, device, None, now);
            }
            engine.handle_choice(user, choice, self.status_msg, now);
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
}

/// Whether somebody who chooses this is at the device.
fn is_attended(choice: Choice) -> bool {
    !matches!(choice, Choice::Unavailable | Choice::Offline)
}

/// What waits for the rate limit. Bounded: one thing for each user, as long as a request of theirs is held.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<HashMap<OwnedUserId, Held>>);

#[derive(Debug)]
struct Held {
    said: Said,
    /// Whether it was taken.
    taken: watch::Sender<Option<bool>>,
}

/// What becomes of something that is said.
enum Turn {
    /// It is taken at once.
    Now(Said),
    /// It waits with what was said before; who began to wait has it taken after this time.
    Later(watch::Receiver<Option<bool>>, Option<Duration>),
}

impl Waiting {
    fn turn(&self, user: &OwnedUserId, said: Said, room: impl FnOnce() -> Result<(), Duration>) -> Turn {
        let mut held = self.lock();
        if let Some(held) = held.get_mut(user) {
            held.said.then(said);
            return Turn::Later(held.taken.subscribe(), None);
        }
        match room() {
            Ok(()) => Turn::Now(said),
            Err(wait) => {
                let (taken, receiver) = watch::channel(None);
                held.insert(user.clone(), Held { said, taken });
                Turn::Later(receiver, Some(wait))
            }
        }
    }

    fn take(&self, user: &OwnedUserId) -> Option<Held> {
        self.lock().remove(user)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OwnedUserId, Held>> {
        self.0.lock()
    }
}

impl App {
    /// Takes what a user or device says of presence: at once, or when the rate limit has room for it, and
    /// then together with what else was said meanwhile. On the disk when this returns.
    pub async fn take_said(self: &Arc<Self>, session: &Session, said: Said) -> ApiResult<()> {
        let user = &session.user;
        let room = || self.limits.presence(user, self.unix_ms());
        match self.presence.waiting.turn(user, said, room) {
            Turn::Now(said) => Ok(self.apply_said(user, said).await?),
            Turn::Later(mut taken, wait) => {
                if let Some(wait) = wait {
                    // Goes on though the client goes away: what it said was its last state.
                    tokio::spawn(Arc::clone(self).take_later(user.clone(), wait));
                }
                match taken.wait_for(Option::is_some).await.as_deref() {
                    Ok(Some(true)) => Ok(()),
                    Ok(_) | Err(_) => Err(ApiError::internal("presence that had to wait was not taken")),
                }
            }
        }
    }

    async fn take_later(self: Arc<Self>, user: OwnedUserId, wait: Duration) {
        let mut wait = wait;
        loop {
            tokio::time::sleep(wait).await;
            match self.limits.presence(&user, self.unix_ms()) {
                Ok(()) => break,
                Err(longer) => wait = longer,
            }
        }
        let Some(Held { said, taken }) = self.presence.waiting.take(&user) else { return };
        let stored = self.apply_said(&user, said).await;
        if let Err(e) = &stored {
            tracing::error!(error = %e, "presence could not be taken");
        }
        taken.send_replace(Some(stored.is_ok()));
    }

    async fn apply_said(&self, user: &OwnedUserId, said: Said) -> Result<(), StoreError> {
        let (now, hides, is_choice) = (self.now(), said.hides(), said.choice.is_some());
        self.presence.introduce(user, &self.store, now).await?;
        let ticket = self.presence_input(user, |engine, user| said.apply(engine, user, now));
        if hides {
            self.typing.stop_everywhere(user);
        }
        // What a device reports is not kept over a restart: nobody waits for the disk.
        match ticket {
            Some(ticket) if is_choice => self.presence.written(ticket).await,
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::presence::{Record, SetPresence, Settings};

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
            (0..3_u8, prop::sample::select(choices.to_vec()), message)
                .prop_map(|(d, choice, message)| Said::choice(device(d), choice, message)),
            (0..3_u8, attendance, kind).prop_map(|(d, attendance, kind)| {
                Said::report(device(d), attendance, kind.map(|kind| kind.parse().expect("a kind")))
            }),
        ]
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

    #[test]
    fn what_comes_beyond_the_rate_waits_as_one_and_the_first_has_it_taken() {
        let waiting = Waiting::default();
        let user = ruma::user_id!("@a:x").to_owned();
        let busy = || Said::choice(device(0), Choice::Busy, StatusMsg::Keep);
        let wait = Duration::from_secs(1);
        assert!(matches!(waiting.turn(&user, busy(), || Ok(())), Turn::Now(_)));
        assert!(matches!(waiting.turn(&user, busy(), || Err(wait)), Turn::Later(_, Some(_))));
        let last = Said::choice(device(1), Choice::Online, StatusMsg::Set("x".into()));
        assert!(matches!(waiting.turn(&user, last, || panic!("not asked")), Turn::Later(_, None)));
        let held = waiting.take(&user).expect("is held");
        assert_eq!(held.said.choice, Some((device(1), Choice::Online)));
        assert_eq!(held.said.status_msg, StatusMsg::Set("x".into()));
        assert!(waiting.take(&user).is_none());
    }
}
