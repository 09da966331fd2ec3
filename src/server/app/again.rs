//! What federation is told of this server's users is looked at again, whether or not a change was told (F5).

use std::sync::Arc;

use ruma::UserId;

use super::parts::App;
use crate::core::federation::Fingerprint;

/// Into how many parts the users are divided, lest all are looked at at once.
const PARTS: u32 = 60;

impl App {
    /// Within each long watchdog, looks at everybody who has a list: whom they observe on other servers, who may see
    /// them there, and what they show. A change that was lost on its way to the engine of federation is made up for.
    /// Runs until the task is dropped.
    pub async fn look_again(self: Arc<Self>) {
        let Some(federation) = &self.federation else { return };
        for part in (0..PARTS).cycle() {
            self.clock.sleep(self.config.presence.long_watchdog / PARTS).await;
            for owner in self.contacts.owners().iter().filter(|owner| part_of(owner) == part) {
                self.refresh_across(owner);
                let (position, status) = self.presence.status(owner);
                federation.presence.handle_status(owner, position, &status);
            }
        }
    }
}

fn part_of(user: &UserId) -> u32 {
    u32::try_from(Fingerprint::of(user.as_bytes()).0 % u64::from(PARTS)).expect("less than the parts")
}
