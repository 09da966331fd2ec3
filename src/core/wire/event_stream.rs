//! Server-sent events, as the WHATWG's HTML defines them, cut into the writes of the held stream.
//!
//! What comes up to an `id` belongs together and is handed out whole, with the `id` of its last event; `hello` and `end`
//! are handed out when they come. Chunks may be cut anywhere, in the middle of a letter too. Bound: [`MAX_WRITE_BYTES`].

use std::borrow::Cow;

/// The longest write that is held while its end has not come: the first one has everything in it.
pub const MAX_WRITE_BYTES: usize = 64 << 20;

/// A write is longer than [`MAX_WRITE_BYTES`], or no UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadStream;

/// What a stream says at one time.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// A comment: the server is there.
    Comment,
    /// The server is there and says how often it will be heard.
    Hello(String),
    /// The last word of the server.
    End(String),
    /// Events that belong together.
    Write {
        /// From where to go on after it.
        id: String,
        /// The events, to be read by [`frames`].
        text: String,
    },
}

/// One event.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Frame<'a> {
    /// `e`, `p`, …; empty where the stream does not say.
    pub kind: &'a str,
    /// Its lines.
    pub data: Cow<'a, str>,
    /// Its `id`.
    id: &'a str,
}

/// Bytes that have come, and how far they have been read.
#[derive(Debug, Default)]
pub struct EventStream {
    /// Lines all end with LF here.
    bytes: Vec<u8>,
    /// Where the write begins.
    write: usize,
    /// Where the event begins.
    event: usize,
    /// Where the line begins.
    line: usize,
    /// How far no end of a line has been found.
    searched: usize,
    after_cr: bool,
    /// The first line has been read: only before it may stand a byte order mark.
    begun: bool,
}

impl EventStream {
    /// Takes a chunk; then drain [`poll_piece`](Self::poll_piece).
    pub fn handle_chunk(&mut self, chunk: &[u8]) -> Result<(), BadStream> {
        self.bytes.drain(..self.write);
        for place in [&mut self.event, &mut self.line, &mut self.searched] {
            *place -= self.write;
        }
        self.write = 0;
        for &byte in chunk {
            let follows_cr = std::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\r' => self.bytes.push(b'\n'),
                b'\n' if follows_cr => (),
                _ => self.bytes.push(byte),
            }
        }
        if self.bytes.len() > MAX_WRITE_BYTES { Err(BadStream) } else { Ok(()) }
    }

    /// Whether nothing is held of a write whose end has not come.
    pub fn is_between_writes(&self) -> bool {
        self.bytes[self.write..].iter().all(|byte| *byte == b'\n')
    }

    /// The next of what has come whole.
    pub fn poll_piece(&mut self) -> Result<Option<Piece>, BadStream> {
        while let Some(end) = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') {
            let end = self.searched + end;
            let start = std::mem::replace(&mut self.line, end + 1);
            self.searched = end + 1;
            let line = &self.bytes[start..end];
            let marked = !std::mem::replace(&mut self.begun, true) && line.starts_with("\u{feff}".as_bytes());
            if marked {
                (self.write, self.event, self.line, self.searched) = (3, 3, 3, 3);
            } else if line.is_empty() {
                if let Some(piece) = self.end_event(end + 1)? {
                    return Ok(Some(piece));
                }
            } else if line[0] == b':' {
                if start == self.write {
                    (self.write, self.event) = (end + 1, end + 1);
                }
                return Ok(Some(Piece::Comment));
            }
        }
        self.searched = self.bytes.len();
        Ok(None)
    }

    /// An event ends at `end`: whether that ends its write, or is to be told at once.
    fn end_event(&mut self, end: usize) -> Result<Option<Piece>, BadStream> {
        let start = std::mem::replace(&mut self.event, end);
        let text = |from: usize| std::str::from_utf8(&self.bytes[from..end]).map_err(|_| BadStream);
        let frame = Frame::read(text(start)?);
        let piece = match frame.kind {
            _ if !frame.id.is_empty() => {
                let piece = Piece::Write { id: frame.id.to_owned(), text: text(self.write)?.to_owned() };
                self.write = end;
                return Ok(Some(piece));
            }
            "hello" => Some(Piece::Hello(frame.data.into_owned())),
            "end" => Some(Piece::End(frame.data.into_owned())),
            _ if !frame.data.is_empty() => return Ok(None),
            _ => None,
        };
        if start == self.write {
            self.write = end;
        }
        Ok(piece)
    }
}

impl<'a> Frame<'a> {
    /// Reads the lines of one event.
    fn read(text: &'a str) -> Self {
        let mut frame = Self::default();
        let mut data: Option<Cow<'a, str>> = None;
        for line in text.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => frame.kind = value,
                "data" => {
                    data = Some(match data {
                        None => Cow::Borrowed(value),
                        Some(before) => Cow::Owned([&*before, "\n", value].concat()),
                    });
                }
                "id" if !value.contains('\0') => frame.id = value,
                _ => (),
            }
        }
        frame.data = data.unwrap_or_default();
        frame
    }
}

/// The events of a write; those without data say nothing.
pub fn frames(text: &str) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    let mut rest = text;
    // Not `split`: the search for a text of several letters is a kilobyte of the package.
    while let Some(at) = rest.as_bytes().windows(2).position(|pair| pair == b"\n\n") {
        let (event, after) = rest.split_at(at + 2);
        frames.push(Frame::read(event));
        rest = after;
    }
    frames.retain(|frame| !frame.data.is_empty());
    frames
}

#[cfg(test)]
mod tests;
