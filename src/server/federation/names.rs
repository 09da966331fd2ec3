//! Profiles for what is told of the users of other servers: what [`super::profiles`] wants, asked of their servers.

use std::sync::Arc;

use ruma::UserId;
use tokio::task::JoinSet;

use super::{
    client::Client,
    presence::Presence,
    profile::{ProfileError, ask},
    profiles::{Asked, Wanted},
};
use crate::server::profile::Profile;

impl Presence {
    /// Asks other servers for the profiles of their users, as it becomes necessary, until the task is dropped.
    pub(super) async fn run_profiles(self: &Arc<Self>, client: &Client) {
        let mut under_way = JoinSet::new();
        loop {
            while let Some(wanted) = self.next_profile() {
                let (presence, client) = (Arc::clone(self), client.clone());
                under_way.spawn(async move {
                    let answer = ask(&client, &presence.policy, &wanted.user).await;
                    presence.handle_profile(&wanted, answer);
                });
            }
            tokio::select! {
                () = self.wanted.notified() => {}
                Some(ended) = under_way.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the request for a profile ended before its time");
                    }
                }
            }
        }
    }

    /// How many profiles are asked for, or will be at once.
    pub fn profiles_on_the_way(&self) -> usize {
        self.lock().profiles.busy()
    }

    /// What the users of other servers who are observed here are called, as far as is known.
    pub fn profile(&self, user: &UserId) -> Arc<Profile> {
        self.lock().profiles.profile(user)
    }

    /// Somebody is about to ask for a profile.
    pub(super) fn ask_for_profile(&self) -> Asked {
        self.lock().profiles.ask()
    }

    /// Somebody asked for the profile of `user`, and this is it: whoever observes the user is told.
    pub(super) fn handle_profile_seen(&self, user: &UserId, asked: Asked, profile: &Profile) {
        self.input(|inner, now| {
            if inner.profiles.handle_seen(user, asked, profile, now) {
                inner.again.push(user.to_owned());
            }
        });
    }

    fn next_profile(&self) -> Option<Wanted> {
        let now = self.clock.now();
        self.lock().profiles.take_next(now)
    }

    fn handle_profile(&self, wanted: &Wanted, answer: Result<Profile, ProfileError>) {
        let profile = match answer {
            Ok(profile) => Some(profile),
            // That server does not show it: there is none for us.
            Err(ProfileError::Unknown) => Some(Profile::default()),
            Err(error @ (ProfileError::Refused | ProfileError::Request(_))) => {
                tracing::debug!(server = %wanted.user.server_name(), %error, "a profile cannot be had");
                None
            }
        };
        self.input(|inner, now| {
            if inner.profiles.handle_answer(wanted, profile, now) {
                inner.again.push(wanted.user.clone());
            }
        });
    }
}
