use super::*;
use crate::core::presence::{MatrixState, State, Wish, Words};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const PHONE: DeviceKey = DeviceKey(1);
const LAPTOP: DeviceKey = DeviceKey(2);
const START: u64 = 1_000_000;

/// One user, a clock, and what came out.
struct World {
    engine: Engine,
    user: UserKey,
    now: Instant,
    record: Record,
}

impl World {
    fn new() -> Self {
        Self::restored(Record::default(), START)
    }

    fn restored(record: Record, secs: u64) -> Self {
        let now = Instant::from_millis(secs * 1_000);
        let mut engine = Engine::new(Settings::default());
        let user = engine.insert_user(record.clone(), now);
        Self { engine, user, now, record }
    }

    /// A user who connected with the phone a while ago.
    fn online() -> Self {
        let mut w = Self::new();
        w.connect(PHONE);
        assert_eq!(w.changes(), [Change::Visible]);
        w.pass(1_000);
        assert_eq!(w.changes(), []);
        w
    }

    /// Lets time pass, calling back whenever the engine asks for it.
    fn pass(&mut self, secs: u64) {
        let end = self.now + Duration::from_secs(secs);
        while let Some(at) = self.engine.poll_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.engine.handle_timeout(self.now);
        }
        self.now = end;
    }

    fn changes(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        while let Some(output) = self.engine.poll_output(self.now) {
            match output {
                Output::Persist { record, .. } => self.record = record,
                Output::Changed { change, .. } => changes.push(change),
            }
        }
        changes
    }

    fn restart(self, downtime: u64) -> Self {
        let secs = self.now.as_millis() / 1_000 + downtime;
        Self::restored(self.record, secs)
    }

    fn connect(&mut self, device: DeviceKey) {
        self.says(device, SetPresence::Absent);
    }

    fn says(&mut self, device: DeviceKey, says: SetPresence) {
        self.engine.handle_connected(self.user, device, says, self.now);
    }

    fn disconnect(&mut self, device: DeviceKey) {
        self.engine.handle_disconnected(self.user, device, self.now);
    }

    fn choose(&mut self, choice: Choice) {
        self.choose_saying(choice, StatusMsg::Keep);
    }

    /// A choice. What is to be stored before it is what is stored after it, of all that it decides.
    fn choose_saying(&mut self, choice: Choice, status_msg: StatusMsg) {
        let decision = Decision::chosen(choice);
        let decided = |r: Record| (r.choice, r.signed_off, r.status_msg, r.shown, r.shown_status_msg);
        let before = self.engine.record_with(self.user, decision, &status_msg, self.now);
        self.engine.handle_choice(self.user, choice, status_msg.clone(), self.now);
        let after = self.engine.user(self.user).record();
        assert!(before.is_none_or(|before| decided(before) == decided(after)));
        assert_eq!(
            self.engine.record_with(self.user, decision, &status_msg, self.now),
            None,
            "is so already"
        );
    }

    fn idle(&mut self, device: DeviceKey, secs: u64) {
        self.engine.handle_idle(self.user, device, None, Duration::from_secs(secs), self.now);
    }

    fn active(&mut self, device: DeviceKey) {
        self.engine.handle_active(self.user, device, None, self.now);
    }

    fn send_message(&mut self) {
        self.engine.handle_pro_active(self.user, self.now);
    }

    fn view(&self) -> View {
        self.engine.view(self.user, self.now)
    }

    fn state(&self) -> State {
        self.view().state
    }

    fn own(&self) -> OwnView {
        self.engine.own_view(self.user, self.now)
    }
}

fn set(text: &str) -> StatusMsg {
    StatusMsg::set(text.to_owned()).expect("short")
}

#[test]
fn p1_who_connects_is_online_and_who_never_did_is_offline_without_a_last_seen() {
    let mut w = World::new();
    assert_eq!((w.state(), w.view().last_seen_ago), (State::Offline, None));
    w.connect(PHONE);
    assert_eq!(w.changes(), [Change::Visible]);
    assert_eq!(w.state(), State::Online);
}

#[test]
fn p2_a_status_message_is_kept_set_and_cleared() {
    let mut w = World::online();
    w.choose_saying(Choice::Busy, set("in a call"));
    assert_eq!(w.changes(), [Change::Visible]);
    w.choose(Choice::Online);
    assert_eq!(w.view().status_msg.as_deref(), Some("in a call"));
    assert_eq!(w.changes(), [Change::Visible]);
    w.choose_saying(Choice::Online, StatusMsg::Clear);
    assert_eq!(w.view().status_msg, None);
    assert_eq!(w.changes(), [Change::Visible]);
    assert_eq!(w.record.status_msg, None);
}

#[test]
fn p3_the_choice_holds_for_all_devices_and_over_reconnects_and_restarts() {
    let mut w = World::online();
    w.choose_saying(Choice::Busy, set("exam"));
    w.connect(LAPTOP);
    assert_eq!(w.changes(), [Change::Visible]);
    assert_eq!((w.state(), w.own().choice), (State::Busy, Choice::Busy));
    w.disconnect(PHONE);
    w.disconnect(LAPTOP);
    w.pass(3_600);
    assert_eq!((w.state(), w.own().choice), (State::Offline, Choice::Busy));
    assert_eq!(w.changes(), [Change::Visible]);
    let mut w = w.restart(60);
    assert_eq!(w.state(), State::Offline);
    w.says(PHONE, SetPresence::Online);
    assert_eq!((w.state(), w.view().status_msg.as_deref()), (State::Busy, Some("exam")));
}

#[test]
fn p3_a_choice_of_unavailable_survives_the_users_own_next_sync() {
    let mut w = World::online();
    w.choose(Choice::Unavailable);
    w.disconnect(PHONE);
    w.says(PHONE, SetPresence::Online);
    assert_eq!(w.state(), State::Unavailable);
}

#[test]
fn p4_a_hidden_user_is_hidden_to_the_own_devices_only() {
    let mut w = World::online();
    w.choose(Choice::Hidden);
    assert_eq!(w.changes(), [Change::Visible]);
    assert_eq!((w.state(), w.own().state), (State::Offline, State::Hidden));
    assert_eq!(w.view().device_type, None);
}

/// Two users do the same until one hides and one logs out; whatever the hidden one goes on to do, others
/// cannot tell the two apart.
#[test]
fn p4_what_a_hidden_user_does_shows_nowhere() {
    let mut hidden = World::online();
    let mut gone = World::online();
    for w in [&mut hidden, &mut gone] {
        w.choose_saying(Choice::Online, set("hello"));
        w.send_message();
        w.pass(10);
    }
    hidden.choose(Choice::Hidden);
    gone.engine.handle_device_removed(gone.user, PHONE, gone.now);
    assert_eq!(hidden.view(), gone.view());
    let (seen, active) = (hidden.view().last_seen_ago, hidden.view().last_active_ago);
    assert_eq!((hidden.changes(), gone.changes()), (vec![Change::Visible], vec![Change::Visible]));

    let acts: [fn(&mut World); 9] = [
        World::send_message,
        |w| w.choose_saying(Choice::Hidden, set("still here")),
        |w| w.idle(PHONE, 200),
        |w| w.active(PHONE),
        |w| w.connect(LAPTOP),
        |w| {
            w.engine.handle_device_type(w.user, LAPTOP, Some(DeviceType::WEB));
        },
        |w| w.disconnect(PHONE),
        |w| w.disconnect(LAPTOP),
        |w| w.connect(PHONE),
    ];
    for act in acts {
        act(&mut hidden);
        assert!(hidden.changes().iter().all(|&change| change == Change::Own));
        assert_eq!(hidden.view(), gone.view());
        for w in [&mut hidden, &mut gone] {
            w.pass(400);
        }
        assert_eq!(hidden.view(), gone.view());
    }
    let passed = Duration::from_secs(9 * 400);
    assert_eq!(hidden.view().last_active_ago, active.map(|ago| ago + passed));
    assert_eq!(hidden.view().last_seen_ago, seen.map(|ago| ago + passed));

    hidden.choose(Choice::Online);
    assert_eq!(hidden.view().status_msg.as_deref(), Some("still here"));
    assert_eq!(hidden.view().last_active_ago, Some(Duration::ZERO));
}

#[test]
fn p4_the_own_devices_are_told_what_a_hidden_user_changes() {
    let mut w = World::online();
    w.choose(Choice::Hidden);
    assert_eq!(w.changes(), [Change::Visible]);
    w.choose_saying(Choice::Hidden, set("psst"));
    assert_eq!(w.changes(), [Change::Own]);
    assert_eq!(w.own().status_msg.as_deref(), Some("psst"));
    w.choose(Choice::Offline);
    assert_eq!(w.changes(), [Change::Own]);
    assert_eq!(w.own().state, State::Offline);
}

#[test]
fn p5_a_user_is_unavailable_only_when_every_device_is_idle() {
    let mut w = World::online();
    w.connect(LAPTOP);
    w.idle(PHONE, 180);
    assert_eq!(w.changes(), []);
    w.idle(LAPTOP, 180);
    assert_eq!((w.changes(), w.state()), (vec![Change::Visible], State::Unavailable));
    w.active(PHONE);
    assert_eq!((w.changes(), w.state()), (vec![Change::Visible], State::Online));
}

#[test]
fn p5_p6_busy_stays_busy_when_idle_and_others_see_for_how_long() {
    let mut w = World::online();
    w.choose(Choice::Busy);
    assert_eq!((w.changes(), w.view().idle_for), (vec![Change::Visible], None));
    w.idle(PHONE, 180);
    assert_eq!((w.state(), w.view().matrix_state()), (State::Busy, MatrixState::Unavailable));
    assert_eq!((w.changes(), w.view().idle_for), (vec![Change::Visible], Some(Duration::from_secs(180))));
    w.active(PHONE);
    assert_eq!((w.changes(), w.view().idle_for), (vec![Change::Visible], None));
}

#[test]
fn p6_others_see_how_long_every_device_is_idle_and_nothing_of_the_kind_of_anybody_else() {
    let idle_for = |w: &World| w.view().idle_for.map(|idle| idle.as_secs());
    let mut w = World::online();
    w.connect(LAPTOP);
    w.idle(LAPTOP, 600);
    assert_eq!(idle_for(&w), None, "somebody is at the phone");
    w.idle(PHONE, 180);
    assert_eq!((w.changes(), idle_for(&w)), (vec![Change::Visible], Some(180)));
    w.pass(60);
    assert_eq!((w.changes(), idle_for(&w)), (vec![], Some(240)), "it goes on by itself");
    w.disconnect(PHONE);
    w.pass(30);
    assert_eq!((w.changes(), idle_for(&w)), (vec![Change::Times], Some(690)), "the laptop's, for who asks");
    for (choice, shown) in [
        (Choice::Hidden, None),
        (Choice::Offline, None),
        (Choice::Unavailable, Some(690)),
        (Choice::Busy, Some(690)),
        (Choice::FreeForChat, Some(690)),
    ] {
        w.choose(choice);
        assert_eq!(idle_for(&w), shown, "{choice}");
    }
    w.disconnect(LAPTOP);
    w.pass(30);
    assert_eq!(idle_for(&w), None, "offline");
}

#[test]
fn p6_who_is_away_by_choice_is_not_idle() {
    let mut w = World::online();
    w.choose(Choice::Unavailable);
    assert_eq!((w.state(), w.view().idle_for), (State::Unavailable, None));
}

#[test]
fn p6_idle_time_goes_on_from_one_report() {
    let mut w = World::online();
    w.idle(PHONE, 180);
    w.pass(3_600);
    assert_eq!(w.own().idle_for, Some(Duration::from_secs(3_780)));
    assert_eq!(w.state(), State::Unavailable);
}

#[test]
fn p6_polls_that_say_nothing_or_unavailable_again_leave_an_idle_device_as_it_is() {
    let mut w = World::online();
    w.idle(PHONE, 180);
    w.changes();
    for says in [SetPresence::Absent, SetPresence::Unavailable, SetPresence::Absent] {
        w.disconnect(PHONE);
        w.says(PHONE, says);
        w.pass(30);
    }
    assert_eq!((w.changes(), w.state()), (vec![], State::Unavailable));
    assert_eq!(w.own().idle_for, Some(Duration::from_secs(270)));
    w.disconnect(PHONE);
    w.says(PHONE, SetPresence::Online);
    assert_eq!((w.changes(), w.state()), (vec![Change::Visible], State::Online));
}

/// What a device says in its polls, and what it reports, one after the other, and whether it counts as idle then.
#[test]
fn p3_set_presence_holds_as_long_as_it_is_said_and_takes_back_only_itself() {
    use SetPresence::{Absent, Online, Unavailable};
    type Say = Result<SetPresence, bool>;
    let (active, idle): (Say, Say) = (Err(false), Err(true));
    for (says, is_idle) in [
        (vec![Ok(Absent)], false),
        (vec![Ok(Unavailable)], true),
        (vec![Ok(Unavailable), Ok(Unavailable)], true),
        (vec![Ok(Unavailable), Ok(Absent)], false),
        (vec![Ok(Unavailable), Ok(Online)], false),
        (vec![Ok(Unavailable), active], false),
        (vec![Ok(Unavailable), active, Ok(Unavailable)], true),
        (vec![Ok(Unavailable), idle, Ok(Absent)], true),
        (vec![idle, Ok(Absent)], true),
        (vec![idle, Ok(Absent), Ok(Absent)], true),
        (vec![idle, Ok(Unavailable), Ok(Absent)], true),
        (vec![idle, Ok(Online)], false),
        (vec![idle, Ok(Online), Ok(Absent)], true),
        (vec![idle, active, Ok(Absent)], false),
        (vec![Ok(Online), idle], true),
        (vec![Ok(Online), idle, Ok(Absent)], true),
        (vec![Ok(Online), idle, Ok(Online)], false),
        (vec![active, Ok(Unavailable), Ok(Absent)], false),
    ] {
        let mut w = World::online();
        for say in &says {
            match say {
                Ok(says) => {
                    w.says(PHONE, *says);
                    w.disconnect(PHONE);
                }
                Err(true) => w.idle(PHONE, 0),
                Err(false) => w.active(PHONE),
            }
            w.pass(1);
        }
        let state = if is_idle { State::Unavailable } else { State::Online };
        assert_eq!(w.state(), state, "{says:?}");
    }
}

#[test]
fn p3_other_requests_of_a_device_leave_what_its_polls_say() {
    let mut w = World::online();
    w.says(PHONE, SetPresence::Unavailable);
    w.engine.handle_touch(w.user, PHONE, w.now);
    assert_eq!(w.state(), State::Unavailable);
}

#[test]
fn p6_a_device_that_was_idle_when_it_left_is_idle_when_it_comes_back_also_after_a_restart() {
    for (left_saying, idle) in
        [(SetPresence::Absent, true), (SetPresence::Unavailable, true), (SetPresence::Online, false)]
    {
        let mut w = World::online();
        w.idle(PHONE, 180);
        w.disconnect(PHONE);
        w.says(PHONE, left_saying);
        w.disconnect(PHONE);
        w.pass(3_600);
        assert_eq!(w.state(), State::Offline);
        w.changes();
        let mut restarted = World::restored(w.record.clone(), START + 5_000);
        for w in [&mut w, &mut restarted] {
            w.connect(PHONE);
            let state = if idle { State::Unavailable } else { State::Online };
            assert_eq!((w.state(), w.view().idle_for.is_some()), (state, idle), "{left_saying:?}");
            w.active(PHONE);
            assert_eq!(w.state(), State::Online);
        }
    }
}

#[test]
fn p6_a_device_that_logs_out_or_is_active_again_is_not_kept_as_idle() {
    let forget: [fn(&mut World); 2] =
        [|w| w.engine.handle_device_removed(w.user, PHONE, w.now), |w| w.active(PHONE)];
    for forget in forget {
        let mut w = World::online();
        w.idle(PHONE, 180);
        w.changes();
        assert_eq!(w.record.idle.len(), 1);
        forget(&mut w);
        w.changes();
        assert_eq!(w.record.idle, []);
    }
}

#[test]
fn p4_the_message_in_the_request_that_hides_is_not_shown() {
    for choice in [Choice::Hidden, Choice::Offline] {
        let mut w = World::online();
        w.choose_saying(Choice::Online, set("hello"));
        w.changes();
        w.choose_saying(choice, set("gone to the doctor"));
        assert_eq!(w.view().status_msg.as_deref(), Some("hello"), "{choice}");
        assert_eq!(w.own().status_msg.as_deref(), Some("gone to the doctor"));
        w.changes();
        assert_eq!(w.record.shown_status_msg.as_deref(), Some("hello"));
    }
}

#[test]
fn p3_what_a_device_with_matrixs_words_shows_ends_only_what_it_can_have_chosen() {
    for chosen in Choice::ALL {
        let mut w = World::online();
        w.choose_saying(Choice::Online, set("hello"));
        w.changes();
        w.choose_saying(chosen, set("said with it"));
        w.changes();
        let shown = w.view();
        for (word, signs_off) in [
            (Choice::Offline, true),
            (Choice::Offline, true),
            (Choice::Online, false),
            (Choice::Unavailable, false),
            (Choice::Offline, true),
            (Choice::Unavailable, false),
        ] {
            let decision = Wish::new(Words::Matrix, word).decision();
            w.engine.handle_decision(w.user, decision, StatusMsg::Keep, w.now);
            w.changes();
            for _ in 0..2 {
                let holds = if signs_off && chosen != Choice::Hidden { Choice::Offline } else { chosen };
                assert_eq!((w.own().choice, w.record.choice), (holds, chosen), "{chosen}, then {word}");
                assert_eq!(w.view().state, holds.state().outward(), "{chosen}, then {word}");
                assert_eq!(w.view().status_msg, shown.status_msg, "{chosen}, then {word}");
                w = w.restart(1);
                w.connect(PHONE);
                w.changes();
            }
        }
    }
}

#[test]
fn p6_late_and_repeated_reports_with_numbers_change_nothing() {
    let mut w = World::online();
    let (user, idle_for) = (w.user, Duration::from_secs(180));
    w.engine.handle_idle(user, PHONE, Some(1), idle_for, w.now);
    w.engine.handle_active(user, PHONE, Some(2), w.now);
    assert_eq!(w.state(), State::Online);
    w.engine.handle_idle(user, PHONE, Some(1), idle_for, w.now);
    assert_eq!(w.state(), State::Online, "the first report, retransmitted");
    w.engine.handle_idle(user, PHONE, Some(3), idle_for, w.now);
    w.pass(60);
    w.engine.handle_idle(user, PHONE, Some(3), idle_for, w.now);
    assert_eq!(w.own().idle_for, Some(Duration::from_secs(240)), "repeated, it is no later idleness");
}

#[test]
fn p6_an_absurd_duration_is_cut() {
    let mut w = World::online();
    w.engine.handle_idle(w.user, PHONE, None, Duration::MAX, w.now);
    assert_eq!(w.own().idle_for, Some(Settings::default().longest_idle));
}

#[test]
fn p6_reports_of_devices_that_are_not_connected_are_dropped() {
    let mut w = World::online();
    w.idle(LAPTOP, 180);
    w.active(LAPTOP);
    w.disconnect(LAPTOP);
    assert_eq!((w.changes(), w.state()), (vec![], State::Online));
}

#[test]
fn p7_others_see_the_type_of_the_device_that_was_active_last() {
    let mut w = World::online();
    w.engine.handle_device_type(w.user, PHONE, Some(DeviceType::MOBILE));
    assert_eq!(w.changes(), [Change::Visible]);
    assert_eq!(w.view().device_type, Some(DeviceType::MOBILE));
    w.connect(LAPTOP);
    w.engine.handle_device_type(w.user, LAPTOP, Some(DeviceType::WEB));
    assert_eq!(w.view().device_type, Some(DeviceType::WEB));
    w.idle(LAPTOP, 180);
    assert_eq!(w.view().device_type, Some(DeviceType::MOBILE));
}

#[test]
fn p8_messages_and_changes_upwards_are_pro_active_and_changes_downwards_are_not() {
    let mut w = World::online();
    assert_eq!(w.view().last_active_ago, Some(Duration::from_secs(1_000)), "since the connection");
    for (choice, moves) in [
        (Choice::FreeForChat, true),
        (Choice::Online, false),
        (Choice::Busy, false),
        (Choice::Unavailable, false),
        (Choice::Busy, true),
        (Choice::Online, true),
        (Choice::Online, false),
    ] {
        w.pass(7);
        w.choose(choice);
        assert_eq!(w.view().last_active_ago == Some(Duration::ZERO), moves, "{choice}");
    }
    w.pass(7);
    w.send_message();
    assert_eq!(w.view().last_active_ago, Some(Duration::ZERO));
}

#[test]
fn p8_currently_active_is_told_when_it_begins_and_when_it_ends_and_not_between() {
    let mut w = World::online();
    assert!(!w.view().currently_active);
    w.send_message();
    assert_eq!((w.changes(), w.view().currently_active), (vec![Change::Quiet], true));
    for _ in 0..10 {
        w.pass(200);
        w.send_message();
        assert_eq!(w.changes(), [Change::Times], "for who is told anyway");
        assert_eq!(w.view().last_active_ago, Some(Duration::ZERO));
    }
    w.pass(299);
    assert!(w.view().currently_active);
    w.pass(1);
    assert_eq!((w.changes(), w.view().currently_active), (vec![Change::Quiet], false));
    assert_eq!(w.record.last_active, Some((w.now - Duration::from_secs(300)).to_unix()));
}

#[test]
fn p8_a_message_of_who_is_busy_is_told_once_a_window_though_nobody_is_shown_as_active() {
    let mut w = World::online();
    w.choose(Choice::Busy);
    w.changes();
    for change in [Change::Quiet, Change::Times, Change::Times] {
        w.pass(60);
        w.send_message();
        assert_eq!((w.changes(), w.view().currently_active), (vec![change], false));
        assert_eq!(w.view().last_active_ago, Some(Duration::ZERO));
    }
    w.pass(300);
    w.changes();
    w.send_message();
    assert_eq!(w.changes(), [Change::Quiet], "the next window");
}

#[test]
fn p6_who_was_away_by_choice_is_not_idle_after_a_restart_and_who_was_idle_still_is() {
    for by_choice in [true, false] {
        let mut w = World::online();
        if by_choice {
            w.choose(Choice::Unavailable);
        } else {
            w.idle(PHONE, 180);
        }
        w.changes();
        let w = w.restart(20);
        assert_eq!(w.state(), State::Unavailable);
        let idle = (!by_choice).then_some(Duration::from_secs(200));
        assert_eq!(w.view().idle_for, idle, "by choice: {by_choice}");
    }
}

#[test]
fn p9_an_offline_user_was_last_seen_when_their_last_device_left() {
    let mut w = World::online();
    w.disconnect(PHONE);
    assert_eq!(w.view().last_seen_ago, None, "still seen");
    w.pass(59);
    assert_eq!(w.view().last_seen_ago, Some(Duration::ZERO));
    w.pass(1);
    assert_eq!(w.view().last_seen_ago, Some(Duration::from_secs(60)));
    w.pass(3 * 3_600 + 59);
    assert_eq!(w.view().last_seen_ago, Some(Duration::from_secs(3 * 3_600)));
}

#[test]
fn p11_what_matrix_has_no_word_for_is_told_in_its_words() {
    let mut w = World::online();
    for (choice, matrix) in [
        (Choice::FreeForChat, MatrixState::Online),
        (Choice::Busy, MatrixState::Unavailable),
        (Choice::Hidden, MatrixState::Offline),
    ] {
        w.choose(choice);
        assert_eq!(w.view().matrix_state(), matrix);
    }
}

#[test]
fn p12_a_leave_and_a_return_within_the_grace_tell_nothing() {
    let mut w = World::online();
    w.disconnect(PHONE);
    w.pass(29);
    w.connect(PHONE);
    w.pass(300);
    assert_eq!((w.changes(), w.state()), (vec![], State::Online));
}

#[test]
fn p12_long_polls_follow_each_other_without_a_gap_and_the_last_one_is_counted_from() {
    let mut w = World::online();
    for _ in 0..20 {
        w.disconnect(PHONE);
        w.pass(7);
        w.connect(PHONE);
        w.pass(23);
        assert_eq!((w.changes(), w.state()), (vec![], State::Online));
    }
    w.disconnect(PHONE);
    w.pass(29);
    assert_eq!(w.state(), State::Online);
    w.pass(1);
    assert_eq!((w.changes(), w.state()), (vec![Change::Visible], State::Offline));
    assert_eq!(w.engine.poll_timeout(), None);
}

#[test]
fn p12_one_of_two_devices_that_drops_leaves_the_other_to_speak_after_the_grace() {
    let mut w = World::online();
    w.connect(LAPTOP);
    w.idle(LAPTOP, 180);
    w.disconnect(PHONE);
    w.pass(29);
    assert_eq!((w.changes(), w.state()), (vec![], State::Online));
    w.pass(1);
    assert_eq!((w.changes(), w.state()), (vec![Change::Visible], State::Unavailable));
}

#[test]
fn p12_each_of_two_devices_has_the_whole_grace() {
    let mut w = World::online();
    w.connect(LAPTOP);
    w.disconnect(PHONE);
    w.pass(20);
    w.disconnect(LAPTOP);
    w.changes();
    w.pass(29);
    assert_eq!(
        (w.state(), w.changes()),
        (State::Online, vec![]),
        "the phone's grace is over, the laptop's is not"
    );
    w.pass(1);
    assert_eq!((w.state(), w.changes()), (State::Offline, vec![Change::Visible]));
}

#[test]
fn p8_who_comes_back_from_offline_has_done_nothing_yet() {
    let mut w = World::online();
    w.send_message();
    assert!(w.view().currently_active);
    w.engine.handle_device_removed(w.user, PHONE, w.now);
    assert_eq!(w.state(), State::Offline);
    w.pass(1);
    w.connect(LAPTOP);
    assert_eq!((w.state(), w.view().currently_active), (State::Online, false));
}

#[test]
fn overlapping_polls_of_one_device_are_counted() {
    let mut w = World::online();
    w.connect(PHONE);
    w.disconnect(PHONE);
    w.pass(300);
    assert_eq!(w.state(), State::Online);
    w.disconnect(PHONE);
    w.disconnect(PHONE);
    w.pass(30);
    assert_eq!(w.state(), State::Offline);
}

#[test]
fn a_device_that_logs_out_is_gone_at_once() {
    let mut w = World::online();
    w.engine.handle_device_removed(w.user, PHONE, w.now);
    assert_eq!((w.changes(), w.state()), (vec![Change::Visible], State::Offline));
    w.disconnect(PHONE);
    w.pass(300);
    assert_eq!((w.changes(), w.state()), (vec![], State::Offline));
}

#[test]
fn a_touch_shows_the_user_for_as_long_as_the_grace() {
    let mut w = World::new();
    w.engine.handle_touch(w.user, PHONE, w.now);
    w.choose_saying(Choice::Busy, set("scripted"));
    w.pass(29);
    assert_eq!((w.state(), w.view().status_msg.as_deref()), (State::Busy, Some("scripted")));
    w.pass(1);
    assert_eq!((w.state(), w.view().status_msg.as_deref()), (State::Offline, Some("scripted")));
}

#[test]
fn changes_undone_before_the_outputs_are_drained_are_none() {
    let mut w = World::online();
    w.idle(PHONE, 180);
    w.active(PHONE);
    w.choose(Choice::Busy);
    w.choose(Choice::Online);
    assert!(w.changes().iter().all(|&change| change == Change::Quiet));
    w.choose(Choice::Busy);
    w.choose(Choice::FreeForChat);
    w.choose_saying(Choice::Busy, set("a"));
    w.choose_saying(Choice::Busy, set("b"));
    assert_eq!(w.changes(), [Change::Visible], "one, however many inputs");
}

#[test]
fn the_record_comes_before_the_change_it_belongs_to() {
    let mut w = World::online();
    w.choose(Choice::Busy);
    assert!(matches!(w.engine.poll_output(w.now), Some(Output::Persist { .. })));
    assert!(matches!(w.engine.poll_output(w.now), Some(Output::Changed { .. })));
    assert_eq!(w.engine.poll_output(w.now), None);
}

#[test]
fn who_comes_back_soon_after_a_restart_was_never_seen_to_leave() {
    for idle in [false, true] {
        let mut w = World::online();
        w.choose(Choice::FreeForChat);
        if idle {
            w.idle(PHONE, 180);
        }
        w.changes();
        let state = w.state();
        let mut w = w.restart(20);
        assert_eq!(w.state(), state);
        w.pass(50);
        w.says(PHONE, if idle { SetPresence::Unavailable } else { SetPresence::Absent });
        w.pass(600);
        assert_eq!((w.changes(), w.state()), (vec![], state));
    }
}

#[test]
fn who_does_not_come_back_after_a_restart_is_offline_since_they_were_last_seen() {
    let mut w = World::online();
    w.choose(Choice::Busy);
    w.changes();
    let mut w = w.restart(7_200);
    w.pass(59);
    assert_eq!((w.changes(), w.state()), (vec![], State::Busy));
    w.pass(1);
    assert_eq!((w.changes(), w.state()), (vec![Change::Visible], State::Offline));
    assert_eq!(w.view().last_seen_ago, Some(Duration::from_secs(7_200)));
    let w = w.restart(60);
    assert_eq!((w.state(), w.engine.poll_timeout()), (State::Offline, None));
}

#[test]
fn p4_a_hidden_user_is_hidden_through_a_restart() {
    let mut w = World::online();
    w.choose(Choice::Hidden);
    w.changes();
    let before = w.view();
    let mut w = w.restart(0);
    assert_eq!((w.view(), w.engine.poll_timeout()), (before, None));
    w.connect(PHONE);
    assert!(!w.changes().contains(&Change::Visible));
    assert_eq!((w.state(), w.own().state), (State::Offline, State::Hidden));
}

#[test]
fn a_device_beyond_the_bound_takes_the_place_of_the_one_that_left_first_or_none() {
    let mut w = World::online();
    for key in 2..=64 {
        w.connect(DeviceKey(key));
    }
    w.connect(DeviceKey(100));
    w.idle(DeviceKey(100), 0);
    w.disconnect(DeviceKey(100));
    assert_eq!(w.engine.users[0].devices.len(), 64);
    assert!(w.engine.users[0].devices.iter().all(|d| d.key != DeviceKey(100)));
    for left in [7, 8, 9] {
        w.disconnect(DeviceKey(left));
        w.pass(1);
    }
    let keys = |w: &World| w.engine.users[0].devices.iter().map(|d| d.key.0).collect::<Vec<_>>();
    for (new, left) in [(100, 7), (101, 8), (102, 9)] {
        w.connect(DeviceKey(new));
        assert_eq!(keys(&w).len(), 64);
        assert!(keys(&w).contains(&new) && !keys(&w).contains(&left), "{left} goes first");
    }
}

#[test]
fn a_device_that_is_only_remembered_makes_room_before_one_that_is_connected() {
    let mut w = World::online();
    w.idle(PHONE, 180);
    w.disconnect(PHONE);
    w.pass(30);
    for key in 2..=64 {
        w.connect(DeviceKey(key));
    }
    w.disconnect(DeviceKey(64));
    w.connect(DeviceKey(100));
    let keys: Vec<_> = w.engine.users[0].devices.iter().map(|d| d.key).collect();
    assert!(!keys.contains(&PHONE) && keys.contains(&DeviceKey(64)) && keys.contains(&DeviceKey(100)));
}

#[test]
fn a_user_with_a_device_takes_no_more_than_208_bytes() {
    let user = size_of::<User>();
    let device = size_of::<Device>();
    assert!(user <= 144, "{user}");
    assert!(device <= 64, "{device}");
    let mut w = World::online();
    assert_eq!(w.engine.users[0].devices.capacity(), 1);
    w.disconnect(PHONE);
    w.pass(30);
    assert_eq!(w.engine.users[0].devices.capacity(), 0, "who is offline keeps no room for devices");
}
