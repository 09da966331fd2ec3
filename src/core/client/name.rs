//! A room's name from its members, where it has none of its own (client-server API, "Calculating the
//! display name for a room").

use std::collections::BTreeMap;

use super::member::MemberRecord;

/// What the name is computed from.
pub(super) struct Heroes<'a> {
    /// Up to five members, not the own user.
    pub heroes: &'a Vec<&'a str>,
    /// Where their names are.
    pub members: &'a BTreeMap<String, MemberRecord>,
    /// How many are joined or invited, the own user among them.
    pub total: u64,
}

/// The name, never empty.
pub(super) fn compute(room: &Heroes<'_>) -> String {
    let names: Vec<String> = room.heroes.iter().map(|user| hero_name(room, user)).collect();
    let others = room.total.saturating_sub(1);
    if names.is_empty() {
        return match others {
            0 => String::from("Empty room"),
            _ => with_others(&[], others),
        };
    }
    let named = names.len() as u64;
    match others {
        0 => ["Empty room (was ", &listed(&names), ")"].concat(),
        _ if named >= others => listed(&names),
        _ => with_others(&names, others - named),
    }
}

/// `A`, `A and B`, `A, B and C`.
fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => [first.join(", "), last.clone()].join(" and "),
    }
}

fn with_others(names: &[String], others: u64) -> String {
    let count = others.to_string();
    let tail = [count.as_str(), if others == 1 { " other" } else { " others" }].concat();
    if names.is_empty() { tail } else { [names.join(", "), tail].join(" and ") }
}

/// The display name, with the ID behind it when somebody else in the room has the same name.
fn hero_name(room: &Heroes<'_>, user: &str) -> String {
    let Some(name) = room.members.get(user).and_then(|member| member.display_name.as_deref()) else {
        return user.to_owned();
    };
    let twins = room.members.iter().any(|(other, member)| {
        other != user
            && matches!(&*member.membership, "join" | "invite")
            && member.display_name.as_deref() == Some(name)
    });
    if twins { [name, " (", user, ")"].concat() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn members(names: &[(&str, &str)]) -> BTreeMap<String, MemberRecord> {
        let record = |name: &str| {
            let mut record = MemberRecord::default();
            record.membership.push_str("join");
            record.display_name = Some(name.to_owned());
            record
        };
        names.iter().map(|(user, name)| ((*user).to_owned(), record(name))).collect()
    }

    #[test]
    fn the_name_follows_the_specification() {
        let members = members(&[("@a:x", "Ann"), ("@b:x", "Bob"), ("@c:x", "Cy"), ("@d:x", "Bob")]);
        for (heroes, total, expected) in [
            (vec![], 1, "Empty room"),
            (vec![], 0, "Empty room"),
            (vec![], 2, "1 other"),
            (vec!["@a:x"], 2, "Ann"),
            (vec!["@a:x", "@c:x"], 3, "Ann and Cy"),
            (vec!["@a:x", "@c:x", "@z:x"], 4, "Ann, Cy and @z:x"),
            (vec!["@a:x", "@c:x"], 5, "Ann, Cy and 2 others"),
            (vec!["@a:x"], 3, "Ann and 1 other"),
            (vec!["@a:x", "@c:x"], 1, "Empty room (was Ann and Cy)"),
            (vec!["@b:x"], 2, "Bob (@b:x)"),
        ] {
            let name = compute(&Heroes { heroes: &heroes, members: &members, total });
            assert_eq!(name, expected, "{heroes:?} of {total}");
        }
    }
}
