//! The two watchdogs over one peer, and how long its promise holds (workflow steps 3 to 6; F4 to F7).

use std::time::Duration;

use super::config::Config;
use crate::core::rng::Rng;
use crate::core::time::Instant;

/// Which of the two expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watchdog {
    /// The peer was silent.
    Short,
    /// The peer sent no reminder for long, however much else.
    Long,
}

/// Both watchdogs over one peer.
///
/// Signs of life are of two kinds. A message of the peer is the better one. That the peer acknowledged
/// one of our messages shows that it lives, not that its own messages come through: it extends the
/// promise, but not for longer than two promises past its last message.
#[derive(Clone, Debug)]
pub(super) struct Watchdogs {
    started: Instant,
    short: Instant,
    long: Instant,
    heard: Instant,
    alive: Instant,
    /// When the peer owes us a message, if it acknowledges but says nothing.
    owed: Instant,
    /// Reminders that asked for an answer and got none.
    unanswered: u32,
    /// Since when the two servers are known to differ.
    doubt: Option<Instant>,
    /// When the state itself is to be looked at again, and when it was last.
    look: Instant,
    looked: Instant,
}

impl Watchdogs {
    /// Starts both.
    pub(super) fn new(now: Instant, config: &Config, rng: &mut Rng) -> Self {
        let mut watchdogs = Self {
            started: now,
            short: now,
            long: now,
            heard: now,
            alive: now,
            owed: now,
            unanswered: 0,
            doubt: None,
            look: now,
            looked: now,
        };
        watchdogs.handle_looked(now, config, rng);
        watchdogs.handle_reminder(now, config, rng);
        watchdogs
    }

    /// Any kind of message came from the peer (step 4).
    pub(super) fn handle_message(&mut self, now: Instant, config: &Config, rng: &mut Rng) {
        self.heard = now;
        self.alive = now;
        self.unanswered = 0;
        // The variation keeps the two sides of a silent pair from reminding each other at once.
        self.short = now + rng.jitter(config.short_watchdog, 0.05);
        self.owed = now + config.short_watchdog.mul_f64(2.25);
    }

    /// A reminder came from the peer (step 6).
    pub(super) fn handle_reminder(&mut self, now: Instant, config: &Config, rng: &mut Rng) {
        self.handle_message(now, config, rng);
        self.long = now + staggered(config.long_watchdog, config, rng);
        if now.since(self.looked) < config.short_watchdog {
            // Both begin at once: where nothing else resets the one, it is not to be cut short by the other.
            self.look = self.look.max(self.long);
        }
    }

    /// The peer acknowledged a message of ours. The next reminder is the peer's turn: so a silent pair
    /// costs one reminder a minute, and each direction is tried every other minute.
    pub(super) fn handle_acknowledged(&mut self, now: Instant, config: &Config, rng: &mut Rng) {
        self.alive = now;
        self.short = self.short.max(now + turn(config, rng));
    }

    /// The statuses themselves were told and asked for again, by either side.
    pub(super) fn handle_looked(&mut self, now: Instant, config: &Config, rng: &mut Rng) {
        self.looked = now;
        self.look = now + staggered(look_period(config), config, rng);
    }

    /// The next reminder asks for an answer.
    pub(super) fn want_answer(&mut self, now: Instant) {
        self.long = self.long.min(now);
    }

    /// Whether the statuses themselves are to be told and asked for again, and not only their digests: a long watchdog
    /// (20 short ones, if that is more) after the last time, be there reminders or not; and when the long watchdog
    /// expires, unless that was just done.
    pub(super) fn is_to_look(&self, now: Instant, config: &Config) -> bool {
        self.look <= now || (self.long <= now && now.since(self.looked) > look_period(config) / 2)
    }

    /// The peer and we were found to differ.
    pub(super) const fn handle_difference(&mut self, now: Instant) {
        if self.doubt.is_none() {
            self.doubt = Some(now);
        }
    }

    /// The peer and we were found to agree.
    pub(super) const fn handle_agreement(&mut self) {
        self.doubt = None;
    }

    /// The watchdog that has expired (step 5).
    pub(super) fn expired(&self, now: Instant) -> Option<Watchdog> {
        if self.long <= now {
            Some(Watchdog::Long)
        } else if self.short.min(self.owed) <= now {
            Some(Watchdog::Short)
        } else {
            None
        }
    }

    /// When the next one expires.
    pub(super) fn deadline(&self) -> Instant {
        self.short.min(self.long).min(self.owed).min(self.look)
    }

    /// We reminded the peer; answers whether the reminder has to ask for an answer.
    ///
    /// Re-arms what expired: the short one for the peer's turn, the others for a repetition that comes
    /// later each time, up to the long watchdog.
    pub(super) fn handle_reminded(&mut self, now: Instant, config: &Config, rng: &mut Rng) -> bool {
        let short = config.short_watchdog;
        let must_answer = self.long <= now || self.owed <= now;
        self.short = self.short.max(now + turn(config, rng));
        if must_answer {
            let again = short.saturating_mul(1 << self.unanswered.min(16)).min(config.long_watchdog);
            self.unanswered = self.unanswered.saturating_add(1);
            self.owed = now + again;
            self.long = self.long.max(now + again);
        }
        must_answer
    }

    /// Until when statuses of this peer may be believed, if its promise is `promise`.
    pub(super) fn promised_until(&self, promise: Duration) -> Instant {
        let until = (self.alive + promise).min(self.heard + promise * 2);
        self.doubt.map_or(until, |since| until.min(since + promise))
    }

    /// When the short one expires, or the peer has owed us a message for too long.
    pub(super) fn short_deadline(&self) -> Instant {
        self.short.min(self.owed)
    }

    /// When the peer was heard of last.
    pub(super) const fn heard(&self) -> Instant {
        self.heard
    }

    /// The last sign of life since the start.
    pub(super) fn alive(&self) -> Option<Instant> {
        (self.alive > self.started).then_some(self.alive)
    }

    /// When the long one expires.
    pub(super) const fn long_deadline(&self) -> Instant {
        self.long
    }
}

/// How long the state itself is not looked at again. However short the long watchdog is set, reminders are to be what
/// silence costs.
fn look_period(config: &Config) -> Duration {
    config.long_watchdog.max(config.short_watchdog * 20)
}

/// A long time, shortened so that those of many peers do not end together (F7).
fn staggered(time: Duration, config: &Config, rng: &mut Rng) -> Duration {
    let off = time.mul_f64(config.long_stagger.clamp(0.0, 1.0));
    time.saturating_sub(rng.jitter(off / 2, 1.0))
}

/// How long it may be the peer's turn to remind: longer than its short watchdog, much shorter than the promise, and not
/// the same for all peers, lest those to which a login of many users spoke at once are reminded at once.
fn turn(config: &Config, rng: &mut Rng) -> Duration {
    config.short_watchdog.mul_f64(1.1) + rng.jitter(config.short_watchdog.mul_f64(0.3), 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const PROMISE: Duration = Duration::from_secs(120);

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    fn started() -> (Watchdogs, Config, Rng) {
        let (config, mut rng) = (Config::default(), Rng::new(3));
        (Watchdogs::new(Instant::ZERO, &config, &mut rng), config, rng)
    }

    #[test]
    fn any_message_puts_off_the_short_one_and_only_a_reminder_the_long_one() {
        let (mut watchdogs, config, mut rng) = started();
        for minute in 1..=44 {
            watchdogs.handle_message(at(minute * 60 - 5), &config, &mut rng);
            assert_eq!(watchdogs.expired(at(minute * 60 - 4)), None, "{minute}");
        }
        watchdogs.handle_message(at(3_599), &config, &mut rng);
        assert_eq!(watchdogs.expired(at(3_600)), Some(Watchdog::Long));
        watchdogs.handle_reminder(at(3_600), &config, &mut rng);
        assert_eq!(watchdogs.expired(at(3_601)), None);
        assert_eq!(watchdogs.expired(at(3_664)), Some(Watchdog::Short));
    }

    #[test]
    fn the_long_one_is_staggered_over_its_last_quarter() {
        let (mut watchdogs, config, mut rng) = started();
        let mut quarters = [0; 5];
        for _ in 0..4_000 {
            watchdogs.handle_reminder(Instant::ZERO, &config, &mut rng);
            let seconds = watchdogs.long_deadline().as_millis() / 1_000;
            assert!((2_700..=3_600).contains(&seconds), "{seconds}");
            quarters[usize::try_from((seconds - 2_700) / 225).expect("small")] += 1;
        }
        assert!(quarters[..4].iter().all(|n| (900..1_100).contains(n)), "{quarters:?}");
    }

    #[test]
    fn the_turns_after_messages_to_many_peers_at_once_are_staggered() {
        let (mut watchdogs, config, mut rng) = started();
        let mut seconds = std::collections::BTreeMap::<u64, u32>::new();
        for _ in 0..3_600 {
            watchdogs = Watchdogs::new(Instant::ZERO, &config, &mut rng);
            watchdogs.handle_acknowledged(Instant::ZERO, &config, &mut rng);
            *seconds.entry(watchdogs.short_deadline().as_millis() / 1_000).or_default() += 1;
        }
        assert!(seconds.keys().all(|second| (66..=102).contains(second)), "within the promise: {seconds:?}");
        assert!(seconds.values().all(|&n| n < 200), "{seconds:?}");
        assert!(watchdogs.promised_until(PROMISE) > watchdogs.short_deadline());
    }

    #[test]
    fn the_state_itself_is_looked_at_once_a_long_watchdog_however_many_reminders_come() {
        let (mut watchdogs, config, mut rng) = started();
        let mut looks = Vec::new();
        for second in 0..6 * 3_600 {
            if second % 60 == 0 {
                watchdogs.handle_reminder(at(second), &config, &mut rng);
            }
            if watchdogs.is_to_look(at(second), &config) {
                looks.push(second);
                watchdogs.handle_looked(at(second), &config, &mut rng);
            }
        }
        let gaps: Vec<u64> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(looks.len() >= 6 && gaps.iter().all(|gap| (2_700..=3_600).contains(gap)), "{looks:?}");
    }

    #[test]
    fn acknowledgements_extend_the_promise_but_not_past_two_since_the_last_message() {
        let (mut watchdogs, config, mut rng) = started();
        assert_eq!(watchdogs.promised_until(PROMISE), at(120));
        watchdogs.handle_acknowledged(at(60), &config, &mut rng);
        assert_eq!(watchdogs.promised_until(PROMISE), at(180));
        watchdogs.handle_acknowledged(at(230), &config, &mut rng);
        assert_eq!(watchdogs.promised_until(PROMISE), at(240));
    }

    #[test]
    fn a_peer_that_only_acknowledges_is_asked_for_an_answer_less_and_less_often() {
        let (mut watchdogs, config, mut rng) = started();
        let mut asked = Vec::new();
        for second in 0..7_200 {
            watchdogs.handle_acknowledged(at(second), &config, &mut rng);
            if watchdogs.expired(at(second)).is_some()
                && watchdogs.handle_reminded(at(second), &config, &mut rng)
            {
                asked.push(second);
            }
        }
        assert_eq!(asked[..5], [135, 195, 315, 555, 1_035]);
        assert!(asked.len() < 12, "{asked:?}");
    }

    #[test]
    fn a_peer_that_is_known_to_differ_is_believed_for_one_promise_more_whatever_it_says() {
        let (mut watchdogs, config, mut rng) = started();
        watchdogs.handle_message(at(10), &config, &mut rng);
        watchdogs.handle_difference(at(10));
        for second in 11..300 {
            watchdogs.handle_message(at(second), &config, &mut rng);
            watchdogs.handle_acknowledged(at(second), &config, &mut rng);
            watchdogs.handle_difference(at(second));
            assert_eq!(watchdogs.promised_until(PROMISE), at(130), "{second}");
        }
        watchdogs.handle_agreement();
        assert_eq!(watchdogs.promised_until(PROMISE), at(299 + 120));
        watchdogs.handle_difference(at(300));
        assert_eq!(watchdogs.promised_until(PROMISE), at(299 + 120), "a difference promises nothing");
        watchdogs.handle_message(at(310), &config, &mut rng);
        assert_eq!(watchdogs.promised_until(PROMISE), at(420), "counted from the next difference on");
    }

    #[test]
    fn a_sign_of_life_is_one_that_came_after_the_start() {
        let (mut watchdogs, config, mut rng) = started();
        assert_eq!((watchdogs.alive(), watchdogs.heard()), (None, at(0)));
        watchdogs.handle_acknowledged(at(7), &config, &mut rng);
        assert_eq!((watchdogs.alive(), watchdogs.heard()), (Some(at(7)), at(0)));
        watchdogs.handle_message(at(8), &config, &mut rng);
        assert_eq!((watchdogs.alive(), watchdogs.heard()), (Some(at(8)), at(8)));
    }

    #[test]
    fn the_first_deadline_is_that_of_whichever_comes_first() {
        let (mut watchdogs, config, mut rng) = started();
        assert_eq!(watchdogs.deadline(), watchdogs.short_deadline());
        for second in 0..4_000 {
            watchdogs.handle_message(at(second), &config, &mut rng);
        }
        assert!(watchdogs.deadline() <= watchdogs.long_deadline() && watchdogs.deadline() < at(3_601));
        watchdogs.handle_reminder(at(4_000), &config, &mut rng);
        watchdogs.handle_looked(at(4_000), &config, &mut rng);
        assert_eq!(watchdogs.deadline(), watchdogs.short_deadline());
    }
}
