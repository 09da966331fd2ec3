//! Which state of a room a client asks for (MSC4186, "RequiredStateRequest").

use std::sync::Arc;

use ruma::{OwnedUserId, UserId};

const MEMBER: &str = "m.room.member";

/// Which state of a room is told: what one of several rules asks for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Required(Vec<Arc<Rule>>);

/// One of them.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Rule {
    /// What is told.
    pub include: Vec<Pattern>,
    /// What of it is not.
    pub exclude: Vec<Pattern>,
    /// Of members those are told who say something, or of whom something is said, in the timeline. What includes all types then
    /// does not include them.
    pub lazy_members: bool,
}

/// State events of a type and key; `None`: any.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Pattern {
    /// The event type.
    pub kind: Option<String>,
    /// The state key.
    pub key: Option<String>,
}

/// Of which members state is told that does not depend on the timeline.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Members {
    /// Of any.
    Any,
    /// Of these, if at all.
    Named(Vec<OwnedUserId>),
}

impl Pattern {
    fn matches(&self, kind: &str, key: &str) -> bool {
        self.kind.as_deref().is_none_or(|own| own == kind) && self.key.as_deref().is_none_or(|own| own == key)
    }
}

impl Rule {
    /// The same, as it is compared with others.
    pub fn in_order(mut self) -> Self {
        for patterns in [&mut self.include, &mut self.exclude] {
            patterns.sort();
            patterns.dedup();
        }
        self
    }

    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        let of_text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let patterns = self.include.iter().chain(&self.exclude);
        let patterns = patterns.map(|p| size_of::<Pattern>() + of_text(&p.kind) + of_text(&p.key));
        size_of::<Self>() + patterns.sum::<usize>()
    }

    fn wants(&self, kind: &str, key: &str) -> bool {
        let includes = |pattern: &Pattern| {
            pattern.matches(kind, key) && !(self.lazy_members && kind == MEMBER && pattern.kind.is_none())
        };
        self.include.iter().any(includes) && !self.exclude.iter().any(|pattern| pattern.matches(kind, key))
    }
}

impl From<Arc<Rule>> for Required {
    fn from(rule: Arc<Rule>) -> Self {
        let is_nothing = rule.include.is_empty() && !rule.lazy_members;
        Self(if is_nothing { Vec::new() } else { vec![rule] })
    }
}

impl Required {
    /// Takes up what `other` asks for.
    pub(super) fn union(&mut self, other: &Self) {
        for rule in &other.0 {
            if let Err(place) = self.0.binary_search(rule) {
                self.0.insert(place, Arc::clone(rule));
            }
        }
    }

    /// Whether a state event is told, whatever the timeline has.
    pub(super) fn wants(&self, kind: &str, key: &str) -> bool {
        self.0.iter().any(|rule| rule.wants(kind, key))
    }

    /// The rules.
    pub(super) fn rules(&self) -> &[Arc<Rule>] {
        &self.0
    }

    /// Whether nothing is asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether members are told who have to do with the timeline.
    pub(super) fn lazy_members(&self) -> bool {
        self.0.iter().any(|rule| rule.lazy_members)
    }

    /// Of which members state is told whatever the timeline has.
    pub(super) fn members(&self) -> Members {
        let mut named = Vec::new();
        for rule in &self.0 {
            for pattern in &rule.include {
                let all_types = pattern.kind.is_none() && !rule.lazy_members;
                if pattern.kind.as_deref() != Some(MEMBER) && !all_types {
                    continue;
                }
                match &pattern.key {
                    None => return Members::Any,
                    Some(key) => named.extend(UserId::parse(key).ok()),
                }
            }
        }
        named.sort();
        named.dedup();
        Members::Named(named)
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        let part = |part: &str| (part != "*").then(|| part.to_owned());
        let (kind, key) = text.split_once('|').expect("two parts");
        Pattern { kind: part(kind), key: part(key) }
    }

    fn required(include: &[&str], exclude: &[&str], lazy_members: bool) -> Required {
        let all = |of: &[&str]| of.iter().map(|text| pattern(text)).collect();
        Arc::new(Rule { include: all(include), exclude: all(exclude), lazy_members }.in_order()).into()
    }

    #[test]
    fn state_is_told_that_a_rule_includes_and_does_not_exclude() {
        const NAME: (&str, &str) = ("m.room.name", "");
        const BOB: (&str, &str) = (MEMBER, "@bob:x");
        const OWN: (&str, &str) = ("org.x", "@bob:x");
        for (include, exclude, lazy, told) in [
            (&["m.room.name|"][..], &[][..], false, [true, false, false]),
            (&["m.room.name|x"], &[], false, [false, false, false]),
            (&["m.room.member|*"], &[], false, [false, true, false]),
            (&["*|*"], &[], false, [true, true, true]),
            (&["*|@bob:x"], &[], false, [false, true, true]),
            (&["*|*"], &["m.room.name|"], false, [false, true, true]),
            (&["*|*"], &["m.room.member|*"], false, [true, false, true]),
            // With lazily loaded members all types are all but those.
            (&["*|*"], &[], true, [true, false, true]),
            (&["*|*", "m.room.member|@bob:x"], &[], true, [true, true, true]),
            (&["*|*", "m.room.member|*"], &[], true, [true, true, true]),
            (&[], &["m.room.name|"], false, [false, false, false]),
        ] {
            let required = required(include, exclude, lazy);
            let found = [NAME, BOB, OWN].map(|(kind, key)| required.wants(kind, key));
            assert_eq!(found, told, "{include:?} {exclude:?} {lazy}");
        }
    }

    #[test]
    fn several_rules_together_tell_what_one_of_them_tells() {
        let mut both = required(&["m.room.name|"], &[], false);
        both.union(&required(&["*|*"], &["m.room.name|", "m.room.topic|"], true));
        both.union(&required(&["m.room.name|"], &[], false));
        assert!(both.wants("m.room.name", "") && both.wants("org.x", "") && both.lazy_members());
        assert!(!both.wants("m.room.topic", "") && !both.wants(MEMBER, "@bob:x"));
        assert_eq!(both.0.len(), 2);
        let mut other = required(&["*|*"], &["m.room.topic|", "m.room.name|"], true);
        other.union(&required(&["m.room.name|"], &[], false));
        assert_eq!(both, other);
    }

    #[test]
    fn it_is_known_of_which_members_something_is_told() {
        let bob = || Members::Named(vec![user_id!("@bob:x").to_owned()]);
        for (include, lazy, members) in [
            (&["m.room.name|"][..], false, Members::Named(Vec::new())),
            (&["m.room.member|@bob:x", "m.room.member|nobody"], true, bob()),
            (&["*|@bob:x"], false, bob()),
            (&["*|*"], true, Members::Named(Vec::new())),
            (&["*|*"], false, Members::Any),
            (&["m.room.member|*"], true, Members::Any),
        ] {
            assert_eq!(required(include, &[], lazy).members(), members, "{include:?} {lazy}");
        }
    }
}
