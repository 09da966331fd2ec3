//! Which identifiers belong to an application service.

use regex::{Regex, RegexBuilder};

/// What one pattern may take in memory once it is compiled, in bytes.
const MAX_COMPILED: usize = 1 << 20;

/// How deep a pattern may be nested.
const MAX_NESTED: u32 = 50;

/// Identifiers of one kind.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// Nobody else may have such identifiers.
    pub is_exclusive: bool,
    regex: Regex,
}

/// The namespaces of one kind of identifier.
#[derive(Clone, Debug, Default)]
pub struct Namespaces(pub Vec<Namespace>);

impl Namespace {
    /// The identifiers that begin with what `pattern` matches: as everywhere, it is tied to the beginning only. Matching
    /// takes time in proportion to the identifier.
    ///
    /// # Errors
    /// In words, when it is no pattern, or too large a one.
    pub fn new(pattern: &str, is_exclusive: bool) -> Result<Self, String> {
        let regex = RegexBuilder::new(&format!("^(?:{pattern})"))
            .size_limit(MAX_COMPILED)
            .dfa_size_limit(MAX_COMPILED)
            .nest_limit(MAX_NESTED)
            .build();
        let in_words = |e: regex::Error| match e {
            regex::Error::CompiledTooBig(_) => "this pattern is too large".to_owned(),
            e => e.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        };
        Ok(Self { is_exclusive, regex: regex.map_err(in_words)? })
    }
}

impl Namespaces {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `id` is in one of them.
    pub fn have(&self, id: &str) -> bool {
        self.0.iter().any(|namespace| namespace.regex.is_match(id))
    }

    /// Whether `id` is in one of them that nobody else may use.
    pub fn have_exclusively(&self, id: &str) -> bool {
        self.0.iter().any(|namespace| namespace.is_exclusive && namespace.regex.is_match(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_tied_to_the_beginning_of_an_identifier() {
        for (pattern, id, has) in [
            ("@_irc_.*", "@_irc_alice:x", true),
            ("@_irc_.*", "@alice_irc_:x", false),
            ("@_irc_", "@_irc_alice:x", true),
            ("@a|@b", "@b:x", true),
            ("@a|@b", "@xb:x", false),
            ("@bot:x$", "@bot:xy", false),
            (".*", "!room", true),
            ("@[a-c]+:x", "@abc:x", true),
            (r"@\d+:x", "@12:x", true),
            ("^@_irc_", "@_irc_alice:x", true),
        ] {
            let namespaces = Namespaces(vec![Namespace::new(pattern, true).expect(pattern)]);
            assert_eq!(namespaces.have(id), has, "{pattern} {id}");
            assert_eq!(namespaces.have_exclusively(id), has, "{pattern} {id}");
        }
    }

    #[test]
    fn exclusive_are_only_those_that_say_so() {
        let namespaces = Namespaces(vec![
            Namespace::new("@shared_", false).expect("a pattern"),
            Namespace::new("@own_", true).expect("a pattern"),
        ]);
        for (id, is_exclusive) in [("@shared_a:x", false), ("@own_a:x", true)] {
            assert!(namespaces.have(id));
            assert_eq!(namespaces.have_exclusively(id), is_exclusive, "{id}");
        }
        assert!(!Namespaces::default().have("@a:x"));
    }

    #[test]
    fn patterns_that_are_none_or_too_large_are_refused_in_words() {
        for (pattern, why) in [
            ("@(", "unclosed group"),
            ("@(?!x)", "look-around, including look-ahead and look-behind, is not supported"),
            (r"(a)\1", "backreferences are not supported"),
            ("(?:a{1000}){1000}", "this pattern is too large"),
        ] {
            assert_eq!(Namespace::new(pattern, true).map(drop), Err(why.to_owned()), "{pattern}");
        }
        assert!(Namespace::new(&format!("{}a{}", "(".repeat(100), ")".repeat(100)), true).is_err());
    }
}
