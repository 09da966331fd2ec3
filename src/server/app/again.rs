//! What federation is told of this server's users is looked at again, whether or not a change was told (F5).

use std::{collections::BTreeSet, sync::Arc};

use super::parts::App;
use crate::core::federation::Fingerprint;

/// Into how many parts the users are divided, lest all are looked at at once.
const PARTS: u32 = 60;

impl App {
    /// Within each long watchdog, looks at everybody who has a list, and at every room that others are in: whom they observe on
    /// other servers, who may see them there, and what they show. A change that was lost on its way to the engine of federation is made up for.
    /// Runs until the task is dropped.
    pub async fn look_again(self: Arc<Self>) {
        let Some(federation) = &self.federation else { return };
        for part in (0..PARTS).cycle() {
            self.clock.sleep(self.config.presence.long_watchdog / PARTS).await;
            for owner in self.contacts.owners().iter().filter(|owner| part_of(owner.as_bytes()) == part) {
                self.refresh_across(owner);
                let (position, status) = self.presence.status(owner);
                federation.presence.handle_status(owner, position, &status);
            }
            let members = &self.rooms.members;
            let mut rooms = members.rooms_across(self.server_name());
            rooms.extend(federation.presence.tied_rooms());
            rooms.retain(|room| part_of(room.as_bytes()) == part);
            for room in rooms.iter().collect::<BTreeSet<_>>() {
                self.tie_room(room, members.ties_across(room, self.server_name()));
                for user in members.ours(room) {
                    let (position, status) = self.presence.status(&user);
                    federation.presence.handle_status(&user, position, &status);
                }
            }
        }
    }
}

fn part_of(id: &[u8]) -> u32 {
    u32::try_from(Fingerprint::of(id).0 % u64::from(PARTS)).expect("less than the parts")
}
