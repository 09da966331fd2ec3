//! Events of an answer that may be larger than memory, a whole state or an auth chain: those that are wanted and not here are kept.
//!
//! The answer is read once for what there is, where it stands and what rests upon what. Then what is wanted is read by pages, what
//! others rest upon first. Memory holds numbers for everything, and the texts of one page.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedEventId, OwnedRoomId, room_version_rules::RoomVersionRules};

use super::{
    check::read,
    elsewhere::{Elsewhere, Texts, Unanswered},
};
use crate::server::{
    keys::NeededKeys,
    rooms::{parts::Rooms, refusal::Refusal},
    store::RoomRow,
};

/// Bytes, and events, of one page.
const PAGE_BYTES: usize = 8 << 20;
const PAGE: usize = 1_000;

/// Events that allow one, with all that allow those.
const MAX_AUTH_CHAIN: usize = 20_000;

/// Which events of an answer are kept.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'a> {
    /// These.
    Only(&'a [OwnedEventId]),
    /// All that it has: the auth chain of one event.
    AuthChain,
}

/// What there is of what is wanted.
#[derive(Default)]
struct Index {
    numbers: BTreeMap<OwnedEventId, u32>,
    /// By number; `None`: not seen yet.
    found: Vec<Option<Found>>,
    needed: NeededKeys,
}

/// Where an event stands in an answer.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Place {
    /// What is before it.
    at: u64,
    len: usize,
}

/// An event of an answer.
struct Found {
    place: Place,
    auth: Box<[u32]>,
}

impl Rooms {
    /// Keeps what is wanted of an answer, and right, as events that others rest upon; or says what is wrong with the answer.
    pub(super) async fn keep_texts<E: Elsewhere>(
        &self,
        elsewhere: &E,
        (room, rules): (&RoomRow, &RoomVersionRules),
        wanted: Wanted<'_>,
        mut texts: impl Texts,
    ) -> Result<Result<(), Unanswered>, Refusal> {
        let mut index = Index::new(wanted);
        let (its_rules, room_id, takes_all) =
            (rules.clone(), room.room_id.clone(), matches!(wanted, Wanted::AuthChain));
        let indexed = blocking(move || {
            index.fill(&its_rules, &room_id, takes_all, &mut texts)?;
            let pages = index.pages();
            Ok((texts, pages, index.needed))
        });
        let (mut texts, pages, needed) = match indexed.await? {
            Ok(indexed) => indexed,
            Err(wrong) => return Ok(Err(Unanswered(wrong))),
        };
        let keys = Arc::new(self.keys(elsewhere, needed).await);
        for page in pages {
            let read = blocking(move || {
                let some = page
                    .into_iter()
                    .map(|place| texts.text_at(place.at, place.len))
                    .collect::<Result<_, _>>()?;
                Ok((some, texts))
            });
            let some;
            (some, texts) = match read.await? {
                Ok(read) => read,
                Err(wrong) => return Ok(Err(Unanswered(wrong))),
            };
            let events = self.prove_with(&keys, rules, &room.room_id, some).await;
            self.keep_outliers(room, rules, events).await?;
        }
        Ok(Ok(()))
    }
}

/// Work for another thread; what is wrong with the answer is its outcome.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<Result<T, String>, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Refusal::Internal(e.to_string()))
}

impl Index {
    fn new(wanted: Wanted<'_>) -> Self {
        let mut index = Self::default();
        if let Wanted::Only(ids) = wanted {
            for id in ids {
                index.number(id);
            }
        }
        index
    }

    fn number(&mut self, id: &OwnedEventId) -> u32 {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let number = self.found.len() as u32;
        self.numbers.insert(id.clone(), number);
        self.found.push(None);
        number
    }

    fn fill(
        &mut self,
        rules: &RoomVersionRules,
        room: &OwnedRoomId,
        takes_all: bool,
        texts: &mut impl Texts,
    ) -> Result<(), String> {
        texts.walk(&mut |at, text| {
            if let Ok(event) = read(rules, room, text.get()) {
                let id = event.event_id().to_owned();
                if takes_all && self.found.len() < MAX_AUTH_CHAIN {
                    self.number(&id);
                }
                let Some(number) = self.numbers.get(&id).copied() else { return Ok(()) };
                if self.found[number as usize].is_none() {
                    let auth: Vec<OwnedEventId> = event.auth_events().cloned().collect();
                    let auth = auth.iter().filter_map(|id| match takes_all {
                        true if self.found.len() < MAX_AUTH_CHAIN => Some(self.number(id)),
                        _ => self.numbers.get(id).copied(),
                    });
                    let auth = auth.collect();
                    event.need(rules, &mut self.needed);
                    self.found[number as usize] =
                        Some(Found { place: Place { at, len: text.get().len() }, auth });
                }
            }
            Ok(())
        })
    }

    /// Where what was found stands in the answer, by pages, what others rest upon first. What rests upon itself is left out.
    fn pages(&self) -> Vec<BTreeSet<Place>> {
        let mut waits: Vec<usize> = vec![0; self.found.len()];
        let mut allows: Vec<Vec<u32>> = vec![Vec::new(); self.found.len()];
        let mut free = Vec::new();
        for (number, found) in self.found.iter().enumerate() {
            let Some(found) = found else { continue };
            // What is not in the answer may be here.
            let auth: BTreeSet<u32> = found.auth.iter().copied().collect();
            for other in auth.into_iter().filter(|other| self.found[*other as usize].is_some()) {
                waits[number] += 1;
                allows[other as usize].push(number as u32);
            }
            if waits[number] == 0 {
                free.push(number);
            }
        }
        let (mut pages, mut page, mut bytes) = (Vec::new(), BTreeSet::new(), 0);
        while let Some(number) = free.pop() {
            let Some(found) = &self.found[number] else { continue };
            if page.len() >= PAGE || (bytes + found.place.len > PAGE_BYTES && !page.is_empty()) {
                pages.push(std::mem::take(&mut page));
                bytes = 0;
            }
            page.insert(found.place);
            bytes += found.place.len;
            for &other in &allows[number] {
                waits[other as usize] -= 1;
                if waits[other as usize] == 0 {
                    free.push(other as usize);
                }
            }
        }
        if !page.is_empty() {
            pages.push(page);
        }
        pages
    }
}
