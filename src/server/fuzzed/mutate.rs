//! Makes inputs out of a corpus: a few random edits each.

use crate::core::rng::Rng;

/// The longest mutated input, in bytes.
const LONGEST: usize = 8 * 1024;

/// Edits of one input, at most.
const MOST_EDITS: u64 = 6;

/// What parsers have opinions about.
const WORDS: [&str; 40] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-1",
    "1.5",
    "1e400",
    "01",
    "9007199254740991",
    "9007199254740992",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "\"\"",
    "{}",
    "[]",
    "[[[[[[[[[[[[[[[[",
    "{\"a\":",
    "\\u0000",
    "\\ud83d",
    "\\",
    "\"",
    "\n",
    "\r\n",
    "\0",
    "\u{fffd}",
    "\u{202e}",
    "%00",
    "%2F",
    ":",
    "@",
    "@a:b",
    "!",
    "::1",
    "[::1]",
    "~",
    "..",
    "*",
];

/// Mutates the entries of a corpus.
pub(super) struct Mutator {
    rng: Rng,
    entries: Vec<Vec<u8>>,
    /// Strings and numbers of the corpus.
    words: Vec<Vec<u8>>,
}

impl Mutator {
    /// `dictionary`: libFuzzer's, a word in quotes in each line.
    pub(super) fn new(seed: u64, entries: Vec<Vec<u8>>, dictionary: &str) -> Self {
        let is_edge = |byte: &u8| b"\"{}[],:\n =&;._".contains(byte);
        let found = entries.iter().flat_map(|entry| entry.split(is_edge)).filter(|word| !word.is_empty());
        let mut words: Vec<Vec<u8>> = found.map(<[u8]>::to_vec).collect();
        words.extend(WORDS.iter().map(|word| word.as_bytes().to_vec()));
        let known = dictionary.lines().filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'));
        words.extend(known.map(|word| word.as_bytes().to_vec()));
        words.sort();
        words.dedup();
        Self { rng: Rng::new(seed), entries, words }
    }

    /// An entry with some edits.
    pub(super) fn mutated(&mut self) -> Vec<u8> {
        let mut input = self.entry();
        for _ in 0..self.rng.range(1..MOST_EDITS + 1) {
            self.edit(&mut input);
        }
        input.truncate(LONGEST);
        input
    }

    /// An entry in which a piece is repeated until it is `length` bytes long.
    pub(super) fn large(&mut self, length: usize) -> Vec<u8> {
        let mut input = self.entry();
        let (from, to) = self.piece(&input);
        let piece = input[from..to].to_vec();
        let times = length.saturating_sub(input.len()) / piece.len().max(1);
        input.splice(from..to, piece.repeat(times.max(1)));
        input
    }

    fn entry(&mut self) -> Vec<u8> {
        let at = self.below(self.entries.len());
        self.entries[at].clone()
    }

    fn edit(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let (from, to) = self.piece(input);
        match self.rng.range(0..10) {
            0 if at < input.len() => input[at] ^= 1 << self.rng.range(0..8),
            1 if at < input.len() => input[at] = self.rng.range(0..256) as u8,
            2 => drop(input.splice(from..to, [])),
            3 => {
                let piece = input[from..to].to_vec();
                drop(input.splice(at..at, piece));
            }
            4 => {
                let other = self.entry();
                let (other_from, other_to) = self.piece(&other);
                drop(input.splice(from..to, other[other_from..other_to].iter().copied()));
            }
            5 => self.number(input, at),
            // A word in the place of another, or between two.
            6 => {
                let word = self.word();
                drop(input.splice(from..to, word));
            }
            7 => {
                let word = self.word();
                drop(input.splice(at..at, word));
            }
            _ => self.value(input, at),
        }
    }

    /// The first JSON value behind a place becomes another one of the corpus, or a word.
    fn value(&mut self, input: &mut Vec<u8>, at: usize) {
        let Some((from, to)) = value_behind(input, at) else { return };
        let other = self.entry();
        let at = self.below(other.len() + 1);
        let new = match value_behind(&other, at) {
            Some((from, to)) if self.rng.chance(2, 3) => other[from..to].to_vec(),
            _ => self.word(),
        };
        drop(input.splice(from..to, new));
    }

    /// The first number behind a place becomes another one.
    fn number(&mut self, input: &mut Vec<u8>, at: usize) {
        let Some(from) = input[at..].iter().position(u8::is_ascii_digit).map(|found| at + found) else {
            return;
        };
        let digits = input[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = self.rng.next_u64() >> self.rng.range(0..64);
        drop(input.splice(from..from + digits, number.to_string().into_bytes()));
    }

    fn word(&mut self) -> Vec<u8> {
        let at = self.below(self.words.len());
        self.words[at].clone()
    }

    /// A piece of an input, mostly a short one.
    fn piece(&mut self, input: &[u8]) -> (usize, usize) {
        let from = self.below(input.len() + 1);
        let most = if self.rng.chance(3, 4) { 12 } else { input.len() };
        (from, (from + self.below(most + 1)).min(input.len()))
    }

    /// A number below a bound that is not zero.
    fn below(&mut self, bound: usize) -> usize {
        self.rng.range(0..bound as u64) as usize
    }
}

/// Where the first JSON value lies that begins after a colon, a comma or a bracket, in what need not be JSON.
fn value_behind(input: &[u8], at: usize) -> Option<(usize, usize)> {
    let before = input[at..].iter().position(|byte| b":,[".contains(byte))? + at + 1;
    let from = input[before..].iter().position(|byte| *byte != b' ')? + before;
    let (mut depth, mut is_text, mut to) = (0_usize, false, from);
    while let Some(&byte) = input.get(to) {
        match byte {
            b'\\' if is_text => to += 1,
            b'"' => is_text = !is_text,
            _ if is_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 0 => break,
            b'}' | b']' => depth -= 1,
            b'\n' => break,
            _ => {}
        }
        to += 1;
    }
    Some((from, to.min(input.len())))
}
