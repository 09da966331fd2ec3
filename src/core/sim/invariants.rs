//! What has to be so after every step.

use super::reference::Shown;
use super::script::{Step, USERS};
use super::world::{World, key, known, name};
use crate::core::idle::IdleTimeout;
use crate::core::list::Observing;
use crate::core::presence::View;
use crate::core::presence::activity::coarse;
use crate::core::visibility::Share;

impl World {
    pub(super) fn check(&mut self, step: &Step) {
        let (seed, now) = (self.seed, self.now);
        assert!(self.engine.poll_timeout().is_none_or(|at| at > now), "seed {seed}: a timer is left");
        for user in 0..USERS {
            let view = self.engine.view(key(user), now);
            let expected = self.reference[user].shown(now);
            let seen = Shown {
                state: view.state,
                status_msg: view.status_msg.clone(),
                last_active_ago: view.last_active_ago,
                currently_active: view.currently_active,
                device_type: view.device_type,
                seen_ago: view.last_seen_ago,
                idle_for: view.idle_for,
            };
            let expected = Shown { seen_ago: expected.seen_ago.map(coarse), ..expected };
            assert_eq!(seen, expected, "seed {seed}, after {step:?}: what others see of {user}");
            let own = self.engine.own_view(key(user), now);
            let reference = &self.reference[user];
            assert_eq!(
                (own.state, own.choice, &own.status_msg),
                (reference.own_state(), reference.choice(), &reference.status_msg),
                "seed {seed}, after {step:?}: what {user} sees"
            );
            self.check_devices(user);
            self.check_observers(user, &view, step);
        }
    }

    /// A device that polls is idle to the server exactly when nobody has been at it for the timeout.
    fn check_devices(&self, user: usize) {
        for device in self.devices[user].iter().filter(|device| device.tabs > 0) {
            let told = self.reference[user].devices[&device.key].idle().is_ok();
            assert_eq!(told, device.idle.is_idle(), "seed {}: {user}'s {}", self.seed, device.key);
            let idle = device.idle.idle_for(self.now) >= IdleTimeout::default().duration();
            assert_eq!(told, idle, "seed {}: {user}'s {}", self.seed, device.key);
        }
    }

    /// Every observer agrees with the observed, and nobody knows what they may not.
    fn check_observers(&mut self, user: usize, view: &View, step: &Step) {
        for observer in (0..USERS).filter(|&observer| observer != user) {
            let counts = self.shared_rooms(observer, user).any(|members| members <= 3);
            let listed = self.lists[observer]
                .contact(&name(user))
                .is_some_and(|contact| contact.relation.observing() == Observing::Yes);
            let allowed = match self.share[user] {
                Share::Nobody => false,
                Share::List => listed,
                Share::SharedRooms => listed || counts,
            };
            let expected = allowed.then(|| known(view));
            let got = self.known.get(&(observer, user));
            assert_eq!(got, expected.as_ref(), "seed {}, after {step:?}: {observer} of {user}", self.seed);
            if allowed {
                self.trace[user].push_str(&format!("{observer} asks: {view:?}\n"));
            }
        }
    }
}
