//! A whole talk with another server, whose every word is the fuzzer's.

use std::time::Duration;

use crate::core::{
    federation::{
        Availability, Config, Event, Federation, Names, Outcome, Permission, Status, decode, decode_brief,
    },
    time::Instant,
};

const PEER: &str = "b.example";
const WATCHED: [&str; 2] = ["@bob:b.example", "@bert:b.example"];

/// Messages to servers that do not answer, at most, in a day: attempts get rarer.
const MOST_IN_VAIN: usize = 100;

/// Steps of a talk, at most.
const MOST_STEPS: usize = 64;

/// A server of ours whose users watch two of the peer's and are watched by some there.
struct Talk {
    role: Federation,
    now: Instant,
    /// The message whose outcome has not been told, and since when.
    in_flight: Option<(u64, Instant)>,
    sent: usize,
}

impl Talk {
    fn new() -> Self {
        let config = Config { max_strangers: 3, ..Config::default() };
        let (mut role, now) = (Federation::new("a.example", 1, 1, config), Instant::from_millis(1_000_000));
        for watched in WATCHED {
            role.handle_interest_added(now, "@alice:a.example", watched).expect("IDs");
        }
        role.handle_permission(now, PEER, "@alice:a.example", Permission::Allowed).expect("an ID");
        role.handle_local_change(now, "@alice:a.example", Status::from(Availability::Online)).expect("an ID");
        role.handle_client_attached(now, "@alice:a.example").expect("an ID");
        let mut talk = Self { role, now, in_flight: None, sent: 0 };
        talk.drain();
        talk
    }

    /// Takes what the last step led to.
    fn drain(&mut self) {
        let mut changed = 0;
        while let Some(event) = self.role.poll_output() {
            match event {
                Event::Send { destination, seq, content, brief } => {
                    assert!(content.len() <= 128 * 1024, "{} bytes", content.len());
                    if destination == PEER {
                        let before = self.in_flight.replace((seq, self.now));
                        let lost = |(_, since)| self.now.since(since) >= Config::default().send_timeout;
                        assert!(before.is_none_or(lost), "one at a time");
                    }
                    let mut names = Names::default();
                    let (own, peer) = (names.server("a.example"), names.server(&destination));
                    assert!(decode(&names, own, peer, &content).is_ok(), "{content}");
                    assert!(brief.is_none_or(|brief| decode_brief(&brief).is_ok()));
                    self.sent += 1;
                }
                Event::RemoteChanged { user_id, .. } => {
                    assert!(WATCHED.contains(&&*user_id), "{user_id} is watched by nobody");
                    changed += 1;
                }
            }
        }
        assert!(changed <= 2 * WATCHED.len(), "{changed} changes at once");
    }

    fn step(&mut self, line: &str) {
        // What comes of a step that is refused is nobody's concern here: only that it is nothing bad.
        let accepted = match line.as_bytes().first() {
            Some(b'{') => self.role.handle_edu(self.now, PEER, line).is_ok(),
            Some(b'>') => self.role.handle_edu(self.now, "stranger.example", &line[1..]).is_ok(),
            Some(b'~') => match decode_brief(&line[1..]) {
                Ok(edu) => self.role.handle_reminder(self.now, PEER, edu).is_ok(),
                Err(_) => false,
            },
            Some(b'!') => {
                let outcome = [Outcome::Delivered, Outcome::Failed][line.len() % 2];
                self.in_flight.take().is_some_and(|(seq, _)| {
                    self.role.handle_outcome(self.now, PEER, seq, outcome);
                    true
                })
            }
            _ => {
                self.pass(Duration::from_secs(line.trim().parse::<u64>().unwrap_or(1) % 100_000));
                true
            }
        };
        self.drain();
        assert!(accepted || self.role.peers().count() <= 1 + 3, "what is refused makes no peer");
    }

    /// Lets time pass, with all timeouts on the way.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..10_000 {
            let Some(wake) = self.role.poll_timeout().filter(|&wake| wake <= end) else { break };
            self.now = self.now.max(wake);
            self.role.handle_timeout(self.now);
            self.drain();
            let next = self.role.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "a deadline that has passed wakes nobody again");
        }
        self.now = end;
    }
}

/// A line each: `{…}` an EDU of the peer's, `>{…}` of a stranger's, `~…` a reminder in the brief form, `!` the outcome
/// of our message, a number that many seconds.
pub(super) fn presence_talk(data: &[u8]) {
    let Ok(lines) = str::from_utf8(data) else { return };
    let mut talk = Talk::new();
    lines.lines().take(MOST_STEPS).for_each(|line| talk.step(line));
    assert!(talk.role.peers().count() <= 1 + 3, "strangers are bounded");
    let before = talk.sent;
    talk.pass(Duration::from_secs(24 * 3600));
    for watched in WATCHED {
        assert_eq!(talk.role.status_of(watched), None, "{watched} after a day of silence");
    }
    let in_vain = talk.sent - before;
    assert!(in_vain <= MOST_IN_VAIN, "{in_vain} messages in a day of silence");
}
