//! One user of the engine, on a virtual clock.

mod active;
mod attendance;
mod choice;
mod idle;

use super::*;
use crate::core::presence::State;

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
