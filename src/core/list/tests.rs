use std::time::Duration;

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const NOW: Instant = Instant::from_millis(1_000);

fn id(name: &str) -> Arc<str> {
    Arc::from(format!("@{name}:example.org"))
}

fn group(name: &str) -> GroupName {
    GroupName::new(name).expect("a good name")
}

fn list(owner: &str) -> List {
    List::restored(id(owner), AutoAccept::Reverse, [])
}

/// Carries messages between lists until there are none, as the shell does for users of one server.
fn settle(lists: &mut [&mut List]) {
    loop {
        let mut mail = Vec::new();
        for list in lists.iter_mut() {
            while let Some(output) = list.poll_output() {
                if let Output::Effect { contact, effect: Effect::Send(message) } = output {
                    mail.push((Arc::clone(&list.owner), contact, message));
                }
            }
        }
        if mail.is_empty() {
            return;
        }
        for (from, to, message) in mail {
            let list = lists.iter_mut().find(|list| list.owner == to).expect("one of them");
            list.handle_message(&from, message.kind, Some(message.seq));
        }
    }
}

fn outputs(list: &mut List) -> Vec<Output> {
    assert_eq!(list.listed, list.entries().count());
    std::iter::from_fn(|| list.poll_output()).collect()
}

fn names<'a>(users: impl Iterator<Item = &'a Arc<str>>) -> Vec<&'a str> {
    users.map(|user| &**user).collect()
}

#[test]
fn l1_l2_who_is_added_is_asked_and_on_the_list_before_they_answer() {
    let (mut alice, mut bob) = (list("alice"), list("bob"));
    alice.handle_add(&id("bob"), None).expect("there is room");
    settle(&mut [&mut alice, &mut bob]);
    let entry = alice.contact(&id("bob")).expect("an entry");
    assert_eq!(entry.relation.observing(), Observing::Asked);
    assert_eq!(names(bob.requests(NOW)), ["@alice:example.org"]);
    assert_eq!(bob.entries().count(), 0);

    bob.handle_accept(&id("alice")).expect("a request");
    settle(&mut [&mut alice, &mut bob]);
    assert_eq!(alice.contact(&id("bob")).map(|c| c.relation.observing()), Some(Observing::Yes));
    assert_eq!(names(bob.observers()), ["@alice:example.org"]);
    assert_eq!(bob.requests(NOW).count(), 0);
}

#[test]
fn l2_a_denial_is_shown_and_a_revocation_stops_at_once() {
    let (mut alice, mut bob) = (list("alice"), list("bob"));
    alice.handle_add(&id("bob"), None).expect("there is room");
    settle(&mut [&mut alice, &mut bob]);
    bob.handle_accept(&id("alice")).expect("a request");
    settle(&mut [&mut alice, &mut bob]);
    bob.handle_deny(&id("alice"), NOW);
    let stop = Output::Effect { contact: id("alice"), effect: Effect::Standing(Observed::Denied) };
    assert!(bob.queue.contains(&stop), "before alice's server has heard of it");
    settle(&mut [&mut alice, &mut bob]);
    assert_eq!(alice.contact(&id("bob")).map(|c| c.relation.observing()), Some(Observing::Denied));
    assert_eq!(bob.observers().count(), 0);
    assert_eq!(bob.handle_accept(&id("alice")), Err(NoRequest), "a denial is final for its request");
}

#[test]
fn l2_who_was_denied_waits_unheard_and_is_accepted_unasked_as_before() {
    let (mut alice, mut bob) = (list("alice"), list("bob"));
    let mut now = NOW;
    for hours in [1, 2, 4] {
        alice.handle_message(&id("bob"), Kind::Invite, None);
        assert_eq!(names(alice.requests(now)), ["@bob:example.org"], "after {hours} hours");
        alice.handle_deny(&id("bob"), now);
        alice.handle_message(&id("bob"), Kind::Invite, None);
        let end = now + Duration::from_secs(3600) * hours;
        assert_eq!(alice.requests(end - Duration::from_millis(1)).count(), 0);
        assert_eq!(names(alice.requests(end)), ["@bob:example.org"]);
        now = end;
    }
    alice.handle_deny(&id("bob"), now);
    alice.handle_message(&id("bob"), Kind::Invite, None);
    alice.handle_accept(&id("bob")).expect("may be accepted all the same");
    assert_eq!(alice.contact(&id("bob")).map(|c| c.denials), Some(Denials::default()));

    bob.handle_message(&id("alice"), Kind::Invite, None);
    bob.handle_deny(&id("alice"), now);
    bob.handle_auto_accept(AutoAccept::Everybody, |_| true);
    bob.handle_message(&id("alice"), Kind::Invite, None);
    assert_eq!(names(bob.observers()), ["@alice:example.org"]);
}

#[test]
fn l3_the_reverse_request_is_accepted_by_itself_and_no_other() {
    let (mut alice, mut bob, mut carol) = (list("alice"), list("bob"), list("carol"));
    alice.handle_add(&id("bob"), None).expect("there is room");
    settle(&mut [&mut alice, &mut bob, &mut carol]);
    bob.handle_accept(&id("alice")).expect("a request");
    bob.handle_add(&id("alice"), None).expect("there is room");
    carol.handle_add(&id("alice"), None).expect("there is room");
    settle(&mut [&mut alice, &mut bob, &mut carol]);
    assert_eq!(names(alice.observers()), ["@bob:example.org"]);
    assert_eq!(names(alice.requests(NOW)), ["@carol:example.org"]);
}

#[test]
fn l3_who_accepts_everybody_accepts_those_who_wait() {
    let mut alice = list("alice");
    alice.handle_message(&id("bob"), Kind::Invite, Some(1));
    alice.handle_auto_accept(AutoAccept::Everybody, |_| true);
    alice.handle_message(&id("carol"), Kind::Invite, Some(1));
    assert_eq!(names(alice.observers()), ["@bob:example.org", "@carol:example.org"]);
}

#[test]
fn l4_a_contact_can_be_in_several_groups_until_it_is_removed() {
    let mut alice = list("alice");
    for name in ["bob", "carol"] {
        alice.handle_add(&id(name), None).expect("there is room");
        alice.handle_group(&id(name), &group("work"), Membership::In).expect("listed");
    }
    alice.handle_group(&id("bob"), &group("important people"), Membership::In).expect("listed");
    let groups = alice.groups();
    assert_eq!(groups[&group("work")], [&id("bob"), &id("carol")]);
    assert_eq!(groups[&group("important people")], [&id("bob")]);
    alice.handle_group(&id("carol"), &group("work"), Membership::Out).expect("listed");
    alice.handle_remove(&id("bob"));
    assert!(alice.groups().is_empty());
    assert_eq!(alice.handle_group(&id("bob"), &group("work"), Membership::In), Err(GroupError::NotListed));
}

#[test]
fn l4_groups_and_entries_have_bounds() {
    let mut alice = list("alice");
    assert_eq!(alice.handle_add(&id("alice"), None), Err(AddError::Oneself));
    for n in 0..List::MAX_ENTRIES {
        alice.handle_add(&id(&format!("u{n}")), None).expect("there is room");
    }
    assert_eq!(alice.handle_add(&id("one-more"), None), Err(AddError::Full));
    assert_eq!(alice.handle_add(&id("u7"), None), Ok(()), "is there already");
    for n in 0..List::MAX_GROUPS {
        alice.handle_group(&id("u7"), &group(&format!("g{n}")), Membership::In).expect("there is room");
    }
    assert_eq!(alice.handle_group(&id("u8"), &group("g7"), Membership::In), Ok(()));
    let one_more = alice.handle_group(&id("u8"), &group("one more"), Membership::In);
    assert_eq!(one_more, Err(GroupError::TooMany));
}

#[test]
fn l5_the_acl_pointer_is_kept_and_given_back() {
    let mut alice = list("alice");
    let pointer = AclPointer::new("acl/7").expect("good");
    alice.handle_add(&id("bob"), Some(pointer.clone())).expect("there is room");
    alice.handle_add(&id("bob"), None).expect("there is room");
    assert_eq!(alice.contact(&id("bob")).and_then(|c| c.acl.clone()), Some(pointer));
    alice.handle_remove(&id("bob"));
    assert_eq!(alice.contact(&id("bob")).and_then(|c| c.acl.clone()), None);
}

#[test]
fn what_changes_is_stored_before_it_is_told_and_what_does_not_is_neither() {
    let mut alice = list("alice");
    alice.handle_add(&id("bob"), None).expect("there is room");
    let first = outputs(&mut alice);
    assert_eq!(first[0], Output::Store { contact: id("bob") });
    let invite = Effect::Send(Message { kind: Kind::Invite, seq: 1 });
    assert!(first.contains(&Output::Effect { contact: id("bob"), effect: invite }));
    alice.handle_add(&id("bob"), None).expect("there is room");
    alice.handle_remove(&id("carol"));
    alice.handle_deny(&id("carol"), NOW);
    assert_eq!(outputs(&mut alice), []);
    let stored = serde_json::to_string(alice.contact(&id("bob")).expect("an entry")).expect("JSON");
    let restored: Contact = serde_json::from_str(&stored).expect("its own JSON");
    assert_eq!(Some(&restored), alice.contact(&id("bob")));
}

#[test]
fn strangers_are_bounded_and_those_done_with_make_room() {
    let mut alice = list("alice");
    alice.handle_message(&id("nobody"), Kind::Accept, Some(1));
    alice.handle_message(&id("nobody"), Kind::Deny, Some(1));
    alice.handle_message(&id("nobody"), Kind::Drop, Some(1));
    assert_eq!((alice.contacts.len(), outputs(&mut alice)), (0, vec![]));
    for n in 0..List::MAX_OTHERS {
        alice.handle_message(&id(&format!("u{n}")), Kind::Invite, Some(1));
    }
    outputs(&mut alice);
    alice.handle_message(&id("one-more"), Kind::Invite, Some(1));
    assert!(alice.contact(&id("one-more")).is_none());
    alice.handle_message(&id("u7"), Kind::Drop, Some(1));
    alice.handle_message(&id("one-more"), Kind::Invite, Some(1));
    assert!(alice.contact(&id("one-more")).is_some());
    assert!(alice.contact(&id("u7")).is_none());
    assert!(
        outputs(&mut alice).ends_with(&[
            Output::Store { contact: id("u7") },
            Output::Store { contact: id("one-more") },
            Output::Effect { contact: id("one-more"), effect: Effect::Standing(Observed::Asked) },
        ]),
        "who is forgotten is forgotten on the disk too"
    );
}

#[test]
fn who_is_on_the_list_takes_no_room_of_strangers() {
    let mut alice = list("alice");
    for n in 0..List::MAX_ENTRIES {
        alice.handle_add(&id(&format!("friend{n}")), None).expect("there is room");
    }
    for n in 0..List::MAX_OTHERS - 1 {
        alice.handle_message(&id(&format!("stranger{n}")), Kind::Invite, Some(1));
    }
    assert_eq!(alice.requests(NOW).count(), List::MAX_OTHERS - 1);
    alice.handle_message(&id("stranger0"), Kind::Drop, Some(1));
    alice.handle_message(&id("the last"), Kind::Invite, Some(1));
    assert!(alice.contact(&id("stranger0")).is_some(), "there is no need to forget who is done with");
    alice.handle_message(&id("one more"), Kind::Invite, Some(1));
    assert!(alice.contact(&id("stranger0")).is_none() && alice.contact(&id("one more")).is_some());
}

#[test]
fn what_was_stored_is_taken_over_and_nothing_follows_from_it() {
    let mut alice = list("alice");
    alice.handle_add(&id("bob"), None).expect("there is room");
    alice.handle_message(&id("carol"), Kind::Invite, Some(1));
    let mut copy = list("alice");
    for (user, contact) in alice.contacts() {
        copy.restore(user, Some(contact.clone()));
    }
    copy.restore_auto_accept(AutoAccept::Everybody);
    assert!(outputs(&mut copy).is_empty());
    assert_eq!((names(copy.requests(NOW)), copy.entries().count()), (vec!["@carol:example.org"], 1));
    copy.handle_message(&id("dave"), Kind::Invite, Some(1));
    assert_eq!(names(copy.observers()), ["@dave:example.org"]);
    copy.restore(&id("bob"), None);
    copy.restore(&id("nobody"), None);
    assert_eq!((copy.entries().count(), copy.contact(&id("bob"))), (0, None));
    outputs(&mut copy);
}
