//! The answer to a join, or the state of a room, or what allows an event: which can be far more than fits in memory.
//!
//! It goes into a file without a name as it comes, and is read from there event by event: memory holds one event of
//! it. Server-server API, `PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}`, `GET …/v1/state/{roomId}`,
//! `GET …/v1/event_auth/{roomId}/{eventId}`.

use std::{
    cell::Cell,
    fmt,
    fs::{File, OpenOptions},
    io::{self, BufReader, Read, Seek},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    rc::Rc,
};

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::server::outgoing::shares::Held;

/// Bytes of one event in an answer, at most: what is longer is no event.
const LONGEST: u64 = 256 << 10;

/// Bytes of what is said beside the events, at most.
const BESIDE: u64 = 4 << 20;

/// What of an answer something is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// The join, as the server that took it signed it.
    Event,
    /// State of the room before the event that was asked about.
    State,
    /// What allows the state.
    AuthChain,
}

/// An answer, whole, on the disk.
#[derive(Debug)]
pub struct RoomAnswer {
    file: File,
    len: u64,
    held: Held,
}

impl RoomAnswer {
    /// A file for one, in `folder`, that is gone with whoever holds it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn blank(folder: &Path) -> io::Result<File> {
        let path = folder.join(format!("room-{:016x}.spool", rand::random::<u64>()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        // Without a name it is gone with the process, however that ends.
        std::fs::remove_file(&path)?;
        Ok(file)
    }

    /// What `file` has; `held` is what it takes of what all may take of the disk.
    pub(super) fn new(file: File, len: u64, held: Held) -> Self {
        Self { file, len, held }
    }

    /// Bytes of the answer.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing came.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads the answer from its beginning, and hands each event to `each` as it comes, with the bytes before it. Reads the
    /// disk: not for the asynchronous workers.
    ///
    /// # Errors
    /// Says what is wrong with the answer, or that others needed its room; or that of `each`, after which nothing more is read.
    pub fn walk(
        &mut self,
        mut each: impl FnMut(Part, u64, Box<RawValue>) -> Result<(), String>,
    ) -> Result<(), String> {
        self.file.rewind().map_err(|e| e.to_string())?;
        let held = &self.held;
        walk(BufReader::new(&self.file), |part, at, text| {
            held.check().map_err(|lost| lost.to_string())?;
            each(part, at, text)
        })
    }

    /// The event of `len` bytes before which there are so many. Reads the disk.
    ///
    /// # Errors
    /// Like that.
    pub fn event_at(&self, at: u64, len: usize) -> Result<Box<RawValue>, String> {
        self.held.check().map_err(|lost| lost.to_string())?;
        let mut text = vec![0; len];
        self.file.read_exact_at(&mut text, at).map_err(|e| e.to_string())?;
        serde_json::from_slice(&text).map_err(|e| e.to_string())
    }
}

/// Reads an answer, and hands each event to `each`.
pub(in crate::server) fn walk<R: Read>(
    answer: R,
    each: impl FnMut(Part, u64, Box<RawValue>) -> Result<(), String>,
) -> Result<(), String> {
    let ration = Rc::new(Ration { left: Cell::new(BESIDE), read: Cell::new(0) });
    let mut json =
        serde_json::Deserializer::from_reader(Rationed { from: answer, ration: Rc::clone(&ration) });
    let whole = Whole { ration, each };
    whole.deserialize(&mut json).and_then(|()| json.end()).map_err(|e| e.to_string())
}

/// What may be read before somebody allows more, and what was, in bytes.
struct Ration {
    left: Cell<u64>,
    read: Cell<u64>,
}

impl Ration {
    /// The bytes before something of which the last one was read just now: an event, as it ends with its brace. Of what is none, any.
    fn before(&self, event: &RawValue) -> u64 {
        self.read.get().saturating_sub(event.get().len() as u64)
    }
}

/// Reads no more than is allowed before somebody allows more.
struct Rationed<R> {
    from: R,
    ration: Rc<Ration>,
}

impl<R: Read> Read for Rationed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Ration { left: allowed, read: before } = &*self.ration;
        let left = allowed.get();
        if left == 0 {
            return Err(io::Error::other("a part of the answer is too long"));
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(into.len());
        let read = self.from.read(&mut into[..most])?;
        allowed.set(left - read as u64);
        before.set(before.get() + read as u64);
        Ok(read)
    }
}

/// The outermost value: an object, or one with a status before it.
struct Whole<F> {
    ration: Rc<Ration>,
    each: F,
}

impl<'de, F: FnMut(Part, u64, Box<RawValue>) -> Result<(), String>> DeserializeSeed<'de> for Whole<F> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, F: FnMut(Part, u64, Box<RawValue>) -> Result<(), String>> Visitor<'de> for Whole<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the state of a room")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let wrong = || serde::de::Error::custom("the answer is a list, and not of a status and an object");
        list.next_element::<u16>()?.ok_or_else(wrong)?;
        list.next_element_seed(self)?.ok_or_else(wrong)?;
        if list.next_element::<IgnoredAny>()?.is_some() { Err(wrong()) } else { Ok(()) }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        while let Some(key) = object.next_key::<String>()? {
            self.ration.left.set(BESIDE);
            let part = match key.as_str() {
                "state" | "pdus" => Part::State,
                "auth_chain" => Part::AuthChain,
                "event" => {
                    if let Some(event) = object.next_value::<Option<Box<RawValue>>>()? {
                        (self.each)(Part::Event, self.ration.before(&event), event)
                            .map_err(serde::de::Error::custom)?;
                    }
                    continue;
                }
                _ => {
                    object.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            object.next_value_seed(List { part, ration: &self.ration, each: &mut self.each })?;
            self.ration.left.set(BESIDE);
        }
        Ok(())
    }
}

/// Events of one part.
struct List<'a, F> {
    part: Part,
    ration: &'a Ration,
    each: &'a mut F,
}

impl<'de, F: FnMut(Part, u64, Box<RawValue>) -> Result<(), String>> DeserializeSeed<'de> for List<'_, F> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(Part, u64, Box<RawValue>) -> Result<(), String>> Visitor<'de> for List<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        loop {
            self.ration.left.set(LONGEST);
            let Some(event) = list.next_element::<Box<RawValue>>()? else { return Ok(()) };
            (self.each)(self.part, self.ration.before(&event), event).map_err(serde::de::Error::custom)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(answer: &str) -> Result<Vec<(Part, String)>, String> {
        let mut found = Vec::new();
        walk(answer.as_bytes(), |part, at, event| {
            let rest = &answer[at as usize..];
            assert!(!event.get().starts_with('{') || rest.starts_with(event.get()), "at {at}");
            found.push((part, event.get().to_owned()));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn an_answer_is_handed_over_event_by_event_in_either_version() {
        let body = r#"{"origin":"x","state":[{"a":1},{"b":[2]}],"members_omitted":false,
            "event":{"c":3},"auth_chain":[ {"d":"\u00e9"} ],"more":{"state":[9]}}"#;
        let expected = [
            (Part::State, r#"{"a":1}"#),
            (Part::State, r#"{"b":[2]}"#),
            (Part::Event, r#"{"c":3}"#),
            (Part::AuthChain, r#"{"d":"\u00e9"}"#),
        ];
        let expected: Vec<_> = expected.map(|(part, json)| (part, json.to_owned())).into();
        assert_eq!(parts(body).unwrap(), expected);
        assert_eq!(parts(&format!("[200, {body}]")).unwrap(), expected);
        let state = r#"{"pdus":[{"a":1}],"auth_chain":[{"b":2}]}"#;
        let expected = [(Part::State, r#"{"a":1}"#.to_owned()), (Part::AuthChain, r#"{"b":2}"#.to_owned())];
        assert_eq!(parts(state).unwrap(), expected);
        assert_eq!(parts(r#"{"event":null,"state":[],"auth_chain":[]}"#).unwrap(), []);
    }

    #[test]
    fn what_is_no_answer_is_refused_and_so_is_what_is_too_long() {
        let long = format!(r#"{{"state":["{}"]}}"#, "x".repeat(1 << 20));
        let deep = format!(r#"{{"auth_chain":[{}"#, "[".repeat(1 << 20));
        let beside = format!(r#"{{"more":"{}"}}"#, "x".repeat(8 << 20));
        let bad = [
            "",
            "1",
            "[]",
            "[200]",
            "[200,{},1]",
            "{",
            r#"{"state":{}}"#,
            r#"{"state":[1}"#,
            "{}{}",
            &long,
            &deep,
            &beside,
        ];
        for bad in bad {
            assert!(parts(bad).is_err(), "{}", &bad[..bad.len().min(40)]);
        }
        let stopped = walk(&br#"{"state":[1,2,3]}"#[..], |_, _, _| Err("enough".to_owned()));
        assert!(stopped.unwrap_err().starts_with("enough"));
    }

    #[test]
    fn an_answer_may_be_long_if_its_events_are_not() {
        let event = format!(r#"{{"text":"{}"}}"#, "x".repeat(60_000));
        let answer = format!(r#"{{"state":[{}]}}"#, vec![event; 200].join(","));
        assert_eq!(parts(&answer).unwrap().len(), 200);
    }
}
