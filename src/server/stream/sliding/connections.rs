//! The connections of all devices: where each is, and what it was sent of each room.
//!
//! A client that is given a position and comes back with it has what came with it; until then the server keeps what was so
//! before, and answers the same request again. All of it lives in memory only: after a restart, or when there were too many,
//! a connection has expired, and its client begins anew.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use parking_lot::Mutex;
use ruma::{OwnedDeviceId, OwnedRoomId, OwnedUserId, UserId};

use super::{
    kept::Kept,
    scope::KnownTo,
    sent::{Sent, Upto},
    weights::Weights,
};
use crate::server::{
    change::{feed::Change, position::LogPosition},
    session::Session,
    stream::token::{Pos, Token},
};

/// Connections of one device at most; for one more, the one that was used longest ago goes.
pub const MAX_OF_DEVICE: usize = 16;

/// Of one user's devices together.
pub const MAX_OF_USER: usize = 64;

/// Of all devices.
pub const MAX_CONNECTIONS: usize = 100_000;

/// Bytes that are remembered for all connections together, about: for more, the one that was used longest ago goes.
pub const MAX_BYTES: usize = 512 << 20;

/// Bytes of a connection that was sent nothing, about.
const EMPTY: usize = 1 << 10;

/// The connections of all devices.
#[derive(Debug)]
pub struct Connections(Mutex<All>);

#[derive(Debug)]
struct All {
    devices: BTreeMap<(OwnedUserId, OwnedDeviceId), BTreeMap<String, Connection>>,
    /// By when they were used: never twice at the same time.
    by_use: BTreeMap<u64, (OwnedUserId, OwnedDeviceId, String)>,
    uses: u64,
    answers: u64,
    bytes: usize,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Connection {
    /// What the client has.
    has: Arc<State>,
    /// What it was answered last, and does not surely have.
    answered: Option<(Pos, Changed)>,
    /// Which rooms it is about.
    kept: Arc<Kept>,
    /// Where it said it was when it was refused: it begins anew, and may show presence from before, or nothing.
    refused_at: Option<Token>,
    used: u64,
    /// It was counted to take so many.
    bytes: usize,
}

/// Where a connection is.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// The position that the client has; `None`: none yet.
    pub(super) pos: Option<Pos>,
    /// Up to where it was told; also of an earlier connection that expired.
    pub(super) token: Option<Token>,
    /// What it was sent.
    pub(super) rooms: BTreeMap<OwnedRoomId, Sent>,
    /// How far it was told of what the user keeps for all rooms.
    pub(super) account_data: Upto,
    /// How far it was told whose devices changed.
    pub(super) device_lists: Upto,
    /// Of the rooms.
    weights: Weights,
}

/// What an answer changes.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// `None`: nothing is remembered of the room any longer.
    pub(super) rooms: BTreeMap<OwnedRoomId, Option<Sent>>,
    /// `None`: as before.
    pub(super) account_data: Option<Upto>,
    pub(super) device_lists: Option<Upto>,
}

/// A request's place on its connection.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) state: Arc<State>,
    pub(super) kept: Arc<Kept>,
    /// Which of all requests it has.
    used: u64,
}

/// The position is not one that the connection goes on from.
#[derive(Debug)]
pub(super) struct UnknownPos;

impl State {
    fn apply(&mut self, pos: Pos, changed: Changed) {
        let Changed { rooms, account_data, device_lists } = changed;
        for (room, sent) in rooms {
            if let Some(before) = self.rooms.get(&room) {
                self.weights.remove(&room, before);
            }
            match sent {
                Some(sent) => {
                    self.weights.add(&room, &sent);
                    self.rooms.insert(room, sent);
                }
                None => drop(self.rooms.remove(&room)),
            }
        }
        self.token = Some(pos.token.clone());
        self.pos = Some(pos);
        self.account_data = account_data.unwrap_or(self.account_data);
        self.device_lists = device_lists.unwrap_or(self.device_lists);
    }
}

impl Changed {
    fn bytes(&self) -> usize {
        let mut weights = Weights::default();
        for (room, sent) in self.rooms.iter().filter_map(|(room, sent)| Some((room, sent.as_ref()?))) {
            weights.add(room, sent);
        }
        weights.bytes()
    }
}

impl Place {
    /// Who asks at this place, and was told `changed` since their position.
    pub(super) fn known_to(&self, changed: &Changed) -> KnownTo {
        match &self.state.pos {
            Some(pos) if changed.rooms.is_empty() => KnownTo::Answer(pos.answer),
            _ => KnownTo::Request(self.used),
        }
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self::with(MAX_BYTES)
    }
}

impl Connections {
    /// That are remembered in `max_bytes`.
    fn with(max_bytes: usize) -> Self {
        let (devices, by_use) = Default::default();
        Self(Mutex::new(All { devices, by_use, uses: 0, answers: 0, bytes: 0, max_bytes }))
    }

    /// Where a request begins that is at `pos`, in a log that ends at `log`.
    ///
    /// # Errors
    /// [`UnknownPos`] for one that is neither the last that was given out on the connection nor the one before it.
    pub(super) fn begin(
        &self,
        session: &Session,
        conn_id: &str,
        pos: Option<&Pos>,
        log: LogPosition,
    ) -> Result<Place, UnknownPos> {
        let mut all = self.0.lock();
        let place = all.begin(session, conn_id, pos, log);
        all.keep_bounds();
        place
    }

    /// Takes note of an answer to the request that has `place`, up to `token`. Answers with the position to go on from; `None`:
    /// the client has sent another request on the connection meanwhile.
    pub(super) fn answered(
        &self,
        session: &Session,
        conn_id: &str,
        place: &Place,
        (token, changed): (Token, Changed),
    ) -> Option<Pos> {
        let mut all = self.0.lock();
        all.answers += 1;
        let pos = Pos { answer: all.answers, token };
        let device = (session.user.clone(), session.device.clone());
        let connection = all.devices.get_mut(&device)?.get_mut(conn_id)?;
        if connection.used != place.used {
            return None;
        }
        connection.kept.answered(place.known_to(&changed), pos.answer);
        connection.answered = Some((pos.clone(), changed));
        let added = connection.count();
        all.bytes = all.bytes.saturating_add_signed(added);
        all.keep_bounds();
        Some(pos)
    }

    /// Devices that are gone have no connections; who forgets a room has other lists.
    pub fn follow(&self, change: &Change) {
        let mut all = self.0.lock();
        match change {
            Change::SessionsEnded { user, devices, .. } => {
                for device in devices {
                    let device = (user.clone(), device.clone());
                    let gone = all.devices.remove(&device).unwrap_or_default();
                    gone.into_values().for_each(|connection| all.forget(&connection));
                }
            }
            Change::Forgotten { user } => {
                all.of_user(user).for_each(|connection| connection.kept.drop_scope())
            }
            _ => {}
        }
    }
}

impl All {
    fn begin(
        &mut self,
        session: &Session,
        conn_id: &str,
        pos: Option<&Pos>,
        log: LogPosition,
    ) -> Result<Place, UnknownPos> {
        self.uses += 1;
        let used = self.uses;
        let device = (session.user.clone(), session.device.clone());
        let connections = self.devices.entry(device).or_default();
        let connection = match connections.entry(conn_id.to_owned()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Connection::default()),
        };
        self.by_use.remove(&connection.used);
        connection.used = used;
        let begun = connection.begin(pos, log);
        let added = connection.count();
        let (state, kept) = (Arc::clone(&connection.has), Arc::clone(&connection.kept));
        self.bytes = self.bytes.saturating_add_signed(added);
        self.by_use.insert(used, (session.user.clone(), session.device.clone(), conn_id.to_owned()));
        let of_device = surplus(connections.values(), MAX_OF_DEVICE);
        of_device.into_iter().for_each(|oldest| self.expire(oldest));
        let of_user = surplus(self.of_user(&session.user), MAX_OF_USER);
        of_user.into_iter().for_each(|oldest| self.expire(oldest));
        begun.map(|()| Place { state, kept, used })
    }

    fn of_user(&self, user: &UserId) -> impl Iterator<Item = &Connection> {
        let first = (user.to_owned(), OwnedDeviceId::from(""));
        let devices = self.devices.range(first..).take_while(move |((other, _), _)| other == user);
        devices.flat_map(|(_, connections)| connections.values())
    }

    /// What used to be remembered of a connection that is gone.
    fn forget(&mut self, connection: &Connection) {
        self.by_use.remove(&connection.used);
        self.bytes = self.bytes.saturating_sub(connection.bytes);
    }

    fn keep_bounds(&mut self) {
        while self.by_use.len() > MAX_CONNECTIONS || self.bytes > self.max_bytes && self.by_use.len() > 1 {
            let Some((&oldest, _)) = self.by_use.first_key_value() else { break };
            self.expire(oldest);
        }
    }

    /// The connection that was used then is gone.
    fn expire(&mut self, used: u64) {
        let Some((user, device, conn_id)) = self.by_use.remove(&used) else { return };
        let device = (user, device);
        let Some(connections) = self.devices.get_mut(&device) else { return };
        let gone = connections.remove(&conn_id);
        if connections.is_empty() {
            self.devices.remove(&device);
        }
        gone.iter().for_each(|connection| self.forget(connection));
    }
}

/// When the one was used that has to go where there is one more than `most`.
fn surplus<'a>(connections: impl Iterator<Item = &'a Connection>, most: usize) -> Option<u64> {
    let uses: Vec<_> = connections.map(|connection| connection.used).collect();
    uses.iter().min().copied().filter(|_| uses.len() > most)
}

impl Connection {
    fn begin(&mut self, pos: Option<&Pos>, log: LogPosition) -> Result<(), UnknownPos> {
        let Some(pos) = pos else {
            // Who begins has nothing, whatever was sent before; but for who was told to begin.
            self.has = Arc::new(State { token: self.refused_at.clone(), ..State::default() });
            self.answered = None;
            self.kept = Arc::default();
            return Ok(());
        };
        match self.answered.take() {
            Some((answered, changed)) if answered == *pos => {
                Arc::make_mut(&mut self.has).apply(answered, changed);
                self.refused_at = None;
                Ok(())
            }
            // What was answered did not arrive, or the client asks for something else instead.
            _ if self.has.pos.as_ref() == Some(pos) => Ok(()),
            answered => {
                self.answered = answered;
                // The furthest of all that it had: nobody has less than they said before.
                let said = Some(&pos.token).filter(|token| token.is_reached(log));
                let had = [said, self.has.token.as_ref(), self.refused_at.as_ref()];
                let furthest = had.into_iter().flatten().max_by_key(|token| token.log());
                self.refused_at = furthest.map(Token::lives_anew);
                Err(UnknownPos)
            }
        }
    }

    /// By how many bytes it takes more than when it was counted last.
    fn count(&mut self) -> isize {
        let answered = self.answered.as_ref().map_or(0, |(_, changed)| changed.bytes());
        let bytes = EMPTY + self.has.weights.bytes() + answered + self.kept.weight();
        let added = bytes.cast_signed() - self.bytes.cast_signed();
        self.bytes = bytes;
        added
    }
}

#[cfg(test)]
mod tests;
