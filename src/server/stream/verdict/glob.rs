//! Patterns of push rules: `*` stands for any characters, `?` for one, and capital letters do not count.
//!
//! Each character of a text is looked at once, for as many steps as the pattern has words of 64 characters.

use std::collections::HashMap;

/// The longest pattern, in characters: one that is longer matches nothing.
pub(super) const MAX_PATTERN: usize = 1024;

/// Whether a pattern describes all of a text.
pub(super) fn is_all_of(text: &str, pattern: &str) -> bool {
    Glob::new(pattern).is_some_and(|glob| glob.matches(text, Part::Whole))
}

/// Whether a pattern describes words of a text: from one boundary of a word to another. An empty one does not.
pub(super) fn is_in(text: &str, pattern: &str) -> bool {
    !pattern.is_empty() && Glob::new(pattern).is_some_and(|glob| glob.matches(text, Part::Words))
}

/// Whether words of a text are these, in which no character stands for others.
pub(super) fn has_words(text: &str, words: &str) -> bool {
    !words.is_empty() && Glob::literal(words).is_some_and(|glob| glob.matches(text, Part::Words))
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Part {
    Whole,
    Words,
}

/// Sets of places in a pattern, as bits. Place `n` is behind its first `n` characters.
struct Glob {
    /// How many characters it has beside `*`.
    len: usize,
    /// By character, the places that it leads on from.
    steps: HashMap<char, Vec<u64>>,
    /// The places that any character leads on from.
    any: Vec<u64>,
    /// The places at which any character may be passed over.
    gaps: Vec<u64>,
}

impl Glob {
    fn new(pattern: &str) -> Option<Self> {
        Self::of(pattern, true)
    }

    fn literal(words: &str) -> Option<Self> {
        Self::of(words, false)
    }

    fn of(pattern: &str, has_wildcards: bool) -> Option<Self> {
        let length = pattern.chars().flat_map(char::to_lowercase).count();
        if length > MAX_PATTERN {
            return None;
        }
        let words = length / 64 + 1;
        let mut glob = Self { len: 0, steps: HashMap::new(), any: vec![0; words], gaps: vec![0; words] };
        for character in pattern.chars().flat_map(char::to_lowercase) {
            let (word, bit) = (glob.len / 64, 1 << (glob.len % 64));
            match character {
                '*' if has_wildcards => {
                    glob.gaps[word] |= bit;
                    continue;
                }
                '?' if has_wildcards => glob.any[word] |= bit,
                character => glob.steps.entry(character).or_insert_with(|| vec![0; words])[word] |= bit,
            }
            glob.len += 1;
        }
        Some(glob)
    }

    fn matches(&self, text: &str, part: Part) -> bool {
        let mut places = vec![0_u64; self.gaps.len()];
        let mut characters = text.chars().flat_map(char::to_lowercase);
        let mut before = None;
        loop {
            let next = characters.next();
            let (may_begin, may_end) = match part {
                Part::Whole => (before.is_none(), next.is_none()),
                Part::Words => [is_boundary(before, next); 2].into(),
            };
            places[0] |= u64::from(may_begin);
            if may_end && places[self.len / 64] >> (self.len % 64) & 1 == 1 {
                return true;
            }
            let Some(next) = next else { return false };
            self.step(&mut places, next);
            before = Some(next);
        }
    }

    fn step(&self, places: &mut [u64], character: char) {
        let steps = self.steps.get(&character);
        let mut carried = 0;
        for (n, place) in places.iter_mut().enumerate() {
            let on = *place & (self.any[n] | steps.map_or(0, |steps| steps[n]));
            *place = on << 1 | carried | *place & self.gaps[n];
            carried = on >> 63;
        }
    }
}

/// Whether no word goes on from one character to the next.
fn is_boundary(before: Option<char>, next: Option<char>) -> bool {
    let is_of_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    !(is_of_word(before) && is_of_word(next))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_of_the_specification() {
        for (text, pattern, words, whole) in [
            ("lunch", "lunc?*", true, true),
            ("An example event.", "example", true, false),
            ("exampleX", "example", false, false),
            ("An EXAMPLE", "ex*ple", true, false),
            ("I like lunch, too", "l??ch", true, false),
            ("launch", "lunc?*", false, false),
            ("lunchtime", "lunch", false, false),
            ("lunchtime", "lunch*", true, true),
            ("hey @room!", "@room", true, false),
            ("hey@room", "@room", true, false),
            ("hey @roomy", "@room", false, false),
            ("a_b", "a", false, false),
            ("a-b", "a", true, false),
            ("näher", "n?her", true, true),
            ("ÄRGER", "ärger", true, true),
            ("", "*", true, true),
            ("", "?", false, false),
            ("", "", false, true),
            ("x", "", false, false),
            ("m.notice", "m.notice", true, true),
            ("m.notices", "m.notice", false, false),
            ("two\nlines", "two*lines", true, true),
            ("Lunch plans", "lunc?*", true, true),
            ("lunc", "lunc?*", false, false),
            ("lunc", "lunc**", true, true),
            ("lunch", "l?*h", true, true),
            ("lunch", "?*unch", true, true),
            ("axxbxc", "a**b.c", false, false),
            ("[a]bc", "[a]??", true, true),
        ] {
            assert_eq!(is_in(text, pattern), words, "words of {text:?}: {pattern:?}");
            assert_eq!(is_all_of(text, pattern), whole, "all of {text:?}: {pattern:?}");
        }
        assert!(has_words("is [a*] here?", "[a*]") && !has_words("is [ab] here?", "[a*]"));
        assert!(!has_words("", "") && !has_words("a", ""));
    }

    #[test]
    fn the_longest_patterns_and_texts_take_their_time_and_no_stack() {
        let text = "ab ".repeat(30_000);
        assert!(!is_in(&text, "a") && is_in(&text, "ab"));
        assert!(!is_in(&text, &format!("{}c", "a*?".repeat(300))));
        assert!(is_in(&"a".repeat(MAX_PATTERN), &"?".repeat(MAX_PATTERN)));
        assert!(!is_in(&"a".repeat(MAX_PATTERN + 1), &"a".repeat(MAX_PATTERN + 1)));
    }

    /// All of a text, by trying everything.
    fn by_trying(text: &[char], pattern: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|n| by_trying(&text[n..], rest)),
            [first, rest @ ..] => {
                text.first().is_some_and(|c| *first == '?' || first == c) && by_trying(&text[1..], rest)
            }
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_what_trying_everything_finds(text in "[ab_ é]{0,9}", pattern in "[ab ?*é]{0,6}") {
            let (chars, glob): (Vec<_>, Vec<_>) = (text.chars().collect(), pattern.chars().collect());
            prop_assert_eq!(is_all_of(&text, &pattern), by_trying(&chars, &glob));
            let ends = |n: usize| is_boundary(n.checked_sub(1).map(|n| chars[n]), chars.get(n).copied());
            let spans = (0..=chars.len()).flat_map(|from| (from..=chars.len()).map(move |to| (from, to)));
            let found = spans.filter(|(from, to)| ends(*from) && ends(*to)).any(|(from, to)| by_trying(&chars[from..to], &glob));
            prop_assert_eq!(is_in(&text, &pattern), found && !pattern.is_empty());
        }
    }
}
