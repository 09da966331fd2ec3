//! Finding events by their words: those that the reader may see, in their last version.
//!
//! Client-server API, "Server Side Search".

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};

use super::{
    access::Access,
    aggregate::Audience,
    parts::Rooms,
    read::{Context, Page, Wanted},
    refusal::Refusal,
};
use crate::server::{
    change::position::TimelinePosition,
    event::stored::StoredEvent,
    store::{Found, Hit, Order, Sought},
};

/// Words that are looked for at once, at most.
const MAX_WORDS: usize = 20;

/// Events that are read at once.
const BATCH: usize = 50;

/// Events that are read from the index for one page, at most: who wants what hardly any of them is gets short pages.
const MAX_LOOKED_AT: usize = 1_000;

/// Rooms that one took the place of another, as far back as is looked.
const MAX_BEFORE: usize = 10;

/// What somebody looks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Words {
    /// As the index takes it.
    query: String,
    /// As they were typed, in small letters.
    words: Vec<String>,
}

/// Which events somebody looks for.
#[derive(Debug)]
pub struct Search<'a> {
    /// The words.
    pub words: &'a Words,
    /// The event types.
    pub kinds: Vec<&'static str>,
    /// The rooms; `None`: all in which the user is or was.
    pub rooms: Option<&'a [OwnedRoomId]>,
    /// Whose events; `None`: everybody's.
    pub senders: Option<&'a [OwnedUserId]>,
    /// Whose not.
    pub not_senders: &'a [OwnedUserId],
    /// Whom the user ignores.
    pub ignored: &'a BTreeSet<OwnedUserId>,
    /// Events on a page.
    pub limit: usize,
}

/// A page of what was found.
#[derive(Debug, Default)]
pub struct Results {
    /// The events as they were first, and how well they fit.
    pub events: Vec<(Arc<StoredEvent>, f64)>,
    /// About how many there are on all pages.
    pub count: u64,
    /// Where the next page begins.
    pub next: Option<Found>,
}

impl Words {
    /// Words and "phrases", all of which are to be found; a word also as the beginning of one. `None`: there is no word.
    pub fn parse(term: &str) -> Option<Self> {
        let (mut query, mut words) = (Vec::new(), Vec::new());
        // The index ends what it is asked at a NUL.
        let term = term.replace(char::is_control, " ");
        for (n, part) in term.split('"').enumerate() {
            let is_phrase = n % 2 == 1;
            let parts: Vec<&str> = if is_phrase { vec![part] } else { part.split_whitespace().collect() };
            for part in parts.into_iter().filter(|part| part.chars().any(char::is_alphanumeric)) {
                if query.len() == MAX_WORDS {
                    break;
                }
                // Nothing in it means anything to the index but a quote, and there is none.
                let is_beginning = !is_phrase && split(part).last().is_some_and(|word| begins_words(&word));
                query.push(format!("\"{part}\"{}", if is_beginning { "*" } else { "" }));
                // What is left of a word by its apostrophe begins too many others.
                let alone = split(part).count() == 1;
                words.extend(split(part).filter(|word| alone || word.chars().count() > 1));
            }
        }
        (!query.is_empty()).then(|| Self { query: query.join(" AND "), words })
    }

    /// The words of `text` that are among those looked for, or begin with one of them.
    pub fn in_text<'a>(&'a self, text: &'a str) -> impl Iterator<Item = String> + 'a {
        let fits = |word: &str, sought: &str| match begins_words(sought) {
            true => word.starts_with(sought),
            false => word == sought,
        };
        split(text).filter(move |word| self.words.iter().any(|sought| fits(word, sought)))
    }

    /// As they were typed, in small letters.
    pub fn iter(&self) -> impl Iterator<Item = &String> {
        self.words.iter()
    }
}

/// Whether what is looked for is also found as the beginning of a word. With one letter of an alphabet too many begin.
fn begins_words(word: &str) -> bool {
    !word.is_ascii() || word.len() > 1
}

/// The words of a text, in small letters.
fn split(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

impl Rooms {
    /// A page of the events that are looked for, those to `keep` of them.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub async fn search(
        &self,
        user: &UserId,
        search: &Search<'_>,
        mut from: Found,
        keep: impl Fn(&StoredEvent) -> bool,
    ) -> Result<Results, Refusal> {
        let mut parts = Vec::new();
        for room in self.searched(user, search.rooms).await? {
            let until = match self.access(user, &room).await {
                Ok(Access::Joined | Access::Peek) => TimelinePosition::END,
                Ok(Access::Until(position)) => position,
                Err(Refusal::Forbidden(_)) => continue,
                Err(e) => return Err(e),
            };
            let seen = self.parts_seen(user, &room, until).await?;
            parts.extend((!seen.is_empty()).then_some((room, seen)));
        }
        if parts.is_empty() {
            return Ok(Results::default());
        }
        let sought = Sought {
            words: search.words.query.clone(),
            kinds: search.kinds.clone(),
            senders: search.senders.map(<[_]>::to_vec),
            not_senders: search.not_senders.to_vec(),
            parts,
        };
        let mut results = Results { count: self.store.count_found(&sought).await?, ..Results::default() };
        // Once for the page: to put them into their order all that fit are looked at.
        let rows = self.store.search(&sought, from, MAX_LOOKED_AT).await?;
        let mut left = rows.len();
        let is_all = left < MAX_LOOKED_AT;
        for batch in rows.chunks(BATCH) {
            let hits = self.store.hits(batch).await?;
            let stand = self.last_versions(user, search.ignored, &sought, hits).await?;
            for ((number, _), found) in batch.iter().zip(stand) {
                left -= 1;
                from = match from {
                    Found::Recent(_) => Found::Recent(*number),
                    Found::Ranked(after) => Found::Ranked(after + 1),
                };
                results.events.extend(found.filter(|(event, _)| keep(event)));
                if results.events.len() == search.limit {
                    results.next = (left > 0 || !is_all).then_some(from);
                    return Ok(results);
                }
            }
        }
        results.next = (!is_all).then_some(from);
        Ok(results)
    }

    /// The rooms that are looked through: those that were named, with what they took the place of, or all of the user.
    async fn searched(
        &self,
        user: &UserId,
        named: Option<&[OwnedRoomId]>,
    ) -> Result<BTreeSet<OwnedRoomId>, Refusal> {
        let Some(named) = named else {
            return Ok(self.store.memberships(user).await?.into_iter().map(|row| row.room_id).collect());
        };
        let mut rooms: BTreeSet<OwnedRoomId> = named.iter().cloned().collect();
        for room in named {
            let mut before = self.replaced_by(room).await?;
            for _ in 0..MAX_BEFORE {
                let Some(room) = before.filter(|room| rooms.insert(room.clone())) else { break };
                before = self.replaced_by(&room).await?;
            }
        }
        Ok(rooms)
    }

    /// Of each hit the event that it is found for: the original, if the hit is its last version that the reader sees.
    async fn last_versions(
        &self,
        user: &UserId,
        ignored: &BTreeSet<OwnedUserId>,
        sought: &Sought,
        hits: Vec<Hit>,
    ) -> Result<Vec<Option<(Arc<StoredEvent>, f64)>>, Refusal> {
        let mut found = Vec::with_capacity(hits.len());
        let mut of_rooms: BTreeMap<OwnedRoomId, Vec<Arc<StoredEvent>>> = BTreeMap::new();
        for Hit { event, rank } in hits {
            let original = match event.relation() {
                Some((original, how)) if how == "m.replace" => {
                    let seen = |original: &Arc<StoredEvent>| is_seen(sought, &event.room_id, original);
                    self.store.event(&original).await?.filter(seen)
                }
                _ => Some(Arc::clone(&event)),
            };
            if let Some(original) = &original {
                of_rooms.entry(event.room_id.clone()).or_default().push(Arc::clone(original));
            }
            found.push((event.event_id.clone(), rank, original));
        }
        let mut last: BTreeMap<OwnedEventId, OwnedEventId> = BTreeMap::new();
        for (room, events) in &of_rooms {
            let audience = Audience { reader: user, ignored, until: self.sees_until(user, room).await? };
            for (original, gathered) in self.aggregations(audience, room, events).await? {
                last.extend(gathered.replacement.map(|edit| (original, edit.event_id.clone())));
            }
        }
        let of_hit = |(id, rank, original): (OwnedEventId, f64, Option<Arc<StoredEvent>>)| {
            let original = original?;
            let is_last = *last.get(&original.event_id).unwrap_or(&original.event_id) == id;
            is_last.then_some((original, rank))
        };
        Ok(found.into_iter().map(of_hit).collect())
    }

    /// So many events before one that the user sees, and after it.
    ///
    /// # Errors
    /// As for [`Rooms::messages`].
    pub async fn around(
        &self,
        user: &UserId,
        event: Arc<StoredEvent>,
        (before, after): (usize, usize),
        keep: impl Fn(&StoredEvent) -> bool,
    ) -> Result<Context, Refusal> {
        let side = async |order, from, limit: usize| {
            if limit == 0 {
                return Ok(Page { events: Vec::new(), start: from, end: Some(from) });
            }
            let wanted = Wanted { from: Some(from), to: None, order, limit };
            self.messages(user, &event.room_id, wanted, &keep).await
        };
        let before = side(Order::NewestFirst, event.timeline.before(), before).await?;
        let after = side(Order::OldestFirst, event.timeline, after).await?;
        Ok(Context { event, before, after })
    }
}

/// Whether an event is in a part of the room that may be looked at.
fn is_seen(sought: &Sought, room: &RoomId, event: &StoredEvent) -> bool {
    let in_part =
        |(low, high): &(TimelinePosition, TimelinePosition)| *low < event.timeline && event.timeline <= *high;
    *event.room_id == *room && sought.parts.iter().any(|(of, parts)| of == room && parts.iter().any(in_part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_types_becomes_words_and_phrases_that_mean_nothing_else() {
        for (term, query) in [
            ("martians", Some(r#""martians"*"#)),
            ("Martians and  men", Some(r#""Martians"* AND "and"* AND "men"*"#)),
            (r#"of "little green" men"#, Some(r#""of"* AND "little green" AND "men"*"#)),
            (r#"don't "unclosed"#, Some(r#""don't" AND "unclosed""#)),
            ("a OR b NOT (c)", Some(r#""a" AND "OR"* AND "b" AND "NOT"* AND "(c)""#)),
            ("room : r1 ^x*", Some(r#""room"* AND "r1"* AND "^x*""#)),
            ("a\u{0} b\u{7}cd \"e\u{0}f\"", Some(r#""a" AND "b" AND "cd"* AND "e f""#)),
            ("ж 日", Some(r#""ж"* AND "日"*"#)),
            ("", None),
            ("  \" \" !! ", None),
        ] {
            assert_eq!(Words::parse(term).map(|words| words.query).as_deref(), query, "{term}");
        }
        let many = Words::parse(&"x ".repeat(100)).expect("has words");
        assert_eq!(many.query.matches("AND").count(), MAX_WORDS - 1);
    }

    #[test]
    fn highlighted_are_the_words_of_a_text_that_were_looked_for_or_begin_so() {
        let words = Words::parse("Test don't").expect("has words");
        let found: Vec<_> = words.in_text("Testing the tests: I don't, detest").collect();
        assert_eq!(found, ["testing", "tests", "don"]);
        let letter = Words::parse("a").expect("has words");
        assert_eq!(letter.in_text("A bat and a cat").collect::<Vec<_>>(), ["a", "a"]);
    }
}
