//! Everybody's pushers, and who of them has something to be told.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    sync::Arc,
};

use parking_lot::Mutex;
use ruma::{OwnedUserId, UserId};
use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinSet},
};

use super::{
    courier::Courier,
    notification::Device,
    shared::{OfUser, Shared},
};
use crate::server::{
    config,
    event::{receipt::Receipt, stored::StoredEvent},
    http::Connections,
    outgoing::{
        addresses::Allowed,
        client::{Client, Reach},
        tls::Trust,
    },
    store::{Pusher, StoreError},
    stream::Parts,
};

/// Requests to one gateway under way at a time: most users of an application have the same.
const FOR_ONE: usize = 16;

/// Whom gateways are to wake.
#[derive(Debug)]
pub struct Push {
    shared: Arc<Shared>,
    users: Mutex<BTreeMap<OwnedUserId, Arc<OfUser>>>,
    due: Mutex<BTreeSet<OwnedUserId>>,
    changed: Notify,
}

/// The couriers under way, by the numbers of their pushers. As many as there are pushers at most.
#[derive(Debug, Default)]
struct UnderWay {
    tasks: JoinSet<i64>,
    handles: HashMap<i64, (Pusher, AbortHandle)>,
    /// Those for which there is more than they knew of.
    again: BTreeSet<i64>,
}

impl Push {
    /// Reads from the store who has pushers.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(
        parts: Arc<Parts>,
        config: &config::Push,
        trust: Arc<Trust>,
    ) -> Result<Self, StoreError> {
        let allowed = Allowed(config.allow_addresses.clone());
        let lines = Connections::allowed().gateways;
        // One that does not answer leaves room for another.
        let for_one = FOR_ONE.min(lines.div_ceil(2));
        let client = Client::new(Reach::Public(allowed), trust, lines, for_one);
        let users: BTreeMap<_, _> =
            parts.store.pushers().await?.into_iter().map(|pusher| (pusher.user, Arc::default())).collect();
        Ok(Self {
            shared: Arc::new(Shared::new(client, parts)),
            due: Mutex::new(users.keys().cloned().collect()),
            users: Mutex::new(users),
            changed: Notify::new(),
        })
    }

    /// Something happened in a room: those of its members who have pushers are looked at.
    pub fn handle_event(&self, event: &StoredEvent) {
        let users = self.users.lock();
        if users.is_empty() {
            return;
        }
        let members = &self.shared.sources.parts().members;
        let mut due = Vec::new();
        if let Some((whose, _)) = event.membership()
            && let Some((user, _)) = UserId::parse(whose).ok().and_then(|user| users.get_key_value(&user))
        {
            due.push(user.clone());
        }
        if users.len() < members.count_ours(&event.room_id) {
            due.extend(users.keys().filter(|user| members.is_joined(user, &event.room_id)).cloned());
        } else {
            members.each_of_ours(&event.room_id, |user| {
                if users.contains_key(user) {
                    due.push(user.clone());
                }
            });
        }
        drop(users);
        due.retain(|user| *user != event.sender);
        self.look_at(due);
    }

    /// Somebody is invited to a room that is not here.
    pub fn handle_invite(&self, user: &UserId) {
        let user = self.users.lock().get_key_value(user).map(|(user, _)| user.clone());
        self.look_at(user);
    }

    /// Somebody has read: what their applications show of it may be less.
    pub fn handle_receipt(&self, receipt: &Receipt) {
        let Some(of_user) = self.users.lock().get(&receipt.user).cloned() else { return };
        {
            let mut reads = of_user.reads.lock();
            reads.count += 1;
            reads.rooms.insert(receipt.room.clone());
        }
        self.look_at([receipt.user.clone()]);
    }

    /// A user has other pushers than before.
    pub fn handle_pushers(&self, user: &UserId) {
        self.users.lock().entry(user.to_owned()).or_default();
        self.look_at([user.to_owned()]);
    }

    /// Tells gateways what they are to be told, until the task is dropped.
    pub async fn run(&self) {
        let mut under_way = UnderWay::default();
        loop {
            let due = std::mem::take(&mut *self.due.lock());
            for user in due {
                if let Err(error) = self.send_out(&user, &mut under_way).await {
                    tracing::warn!(%error, "the pushers of a user cannot be read");
                }
            }
            tokio::select! {
                () = self.changed.notified() => {}
                Some(ended) = under_way.tasks.join_next() => match ended {
                    Ok(id) => self.handle_end(id, &mut under_way),
                    Err(e) if e.is_cancelled() => {}
                    Err(e) => tracing::error!(error = %e, "a pusher's task ended before its time"),
                },
            }
        }
    }

    /// How much gateways are being told.
    pub fn on_the_way(&self) -> usize {
        self.shared.on_the_way()
    }

    /// Before the end: see [`Shared::settle`].
    pub async fn settle(&self) {
        self.shared.settle().await;
    }

    fn look_at(&self, users: impl IntoIterator<Item = OwnedUserId>) {
        let mut due = self.due.lock();
        let before = due.len();
        due.extend(users);
        if due.len() > before {
            self.changed.notify_one();
        }
    }

    /// Sends a courier for each pusher of `user` that has none, and ends those of pushers that are gone or changed.
    async fn send_out(
        &self,
        user: &UserId,
        UnderWay { tasks, handles, again }: &mut UnderWay,
    ) -> Result<(), StoreError> {
        let pushers = self.shared.sources.parts().store.pushers_of(user).await?;
        handles.retain(|_, (known, handle)| {
            // Clients say at each start what they said before: what is on its way is not said a second time for that.
            let is_same = |pusher: &Pusher| {
                Pusher { told: known.told, set_ms: known.set_ms, ..pusher.clone() } == *known
            };
            let stays = known.user != *user || pushers.iter().any(is_same);
            if !stays {
                handle.abort();
            }
            stays
        });
        if pushers.is_empty() {
            self.users.lock().remove(user);
            return Ok(());
        }
        let Some(of_user) = self.users.lock().get(user).cloned() else { return Ok(()) };
        of_user.known.lock().retain(|id, _| pushers.iter().any(|pusher| pusher.id == *id));
        for pusher in pushers {
            match handles.entry(pusher.id) {
                Entry::Occupied(_) => {
                    again.insert(pusher.id);
                }
                Entry::Vacant(place) => {
                    if let Some(device) = Device::of(&pusher) {
                        let (shared, of_user) = (Arc::clone(&self.shared), Arc::clone(&of_user));
                        let courier = Courier::new(shared, of_user, pusher.clone(), device);
                        place.insert((pusher, tasks.spawn(courier.run())));
                    }
                }
            }
        }
        Ok(())
    }

    fn handle_end(&self, id: i64, UnderWay { handles, again, .. }: &mut UnderWay) {
        let ended = handles.remove(&id);
        if again.remove(&id)
            && let Some((pusher, _)) = ended
        {
            self.look_at([pusher.user]);
        }
    }
}
