//! The role itself: everything that a client keeps, its requests under way, and what it shows after an input.
//!
//! Each of the other files that extend [`Client`] handles one kind of input; none of them is named here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::choice_report::ChoiceReport;
use super::contact_book::ContactBook;
use super::entered::Entered;
use super::held::HeldStream;
use super::idle_report::IdleReport;
use super::item::TimelineItem;
use super::member::{Member, MemberList};
use super::output::{Change, Connection, Failure, Output, Request, RequestId, Ticket};
use super::pending::{Awaited, Ended, Pending};
use super::presence::{Me, Presence, PresenceBook};
use super::room::{Room, RoomSummary};
use super::session::Session;
use super::sync_loop::SyncLoop;
use super::tabs::Tabs;
use crate::core::action::ids::{ActionId, ActionIds};
use crate::core::action::queue::Queue;
use crate::core::call::role::Calls;
use crate::core::idle::IdleTimeout;
use crate::core::notify::NotifySettings;
use crate::core::presence::DeviceType;
use crate::core::rng::Rng;
use crate::core::time::Instant;

/// How long a request other than `/sync` may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How a client behaves.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// After how long without activity the user counts as idle (W2).
    pub idle_timeout: IdleTimeout,
    /// What this device is (P7).
    pub device_type: DeviceType,
    /// For how long presence is believed after the stream broke off.
    pub presence_grace: PresenceGrace,
    /// Seeds the spread of delays.
    pub seed: u64,
}

/// For how long presence is believed after the stream broke off: up to 5 minutes, by default 30 seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresenceGrace(Duration);

impl PresenceGrace {
    /// The longest: beyond it, who is shown as there may have left long ago.
    pub const MAX: Duration = Duration::from_secs(5 * 60);

    /// A grace of at most [`MAX`](Self::MAX).
    pub fn new(grace: Duration) -> Option<Self> {
        (grace <= Self::MAX).then_some(Self(grace))
    }

    /// Its length.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl Default for PresenceGrace {
    fn default() -> Self {
        Self(Duration::from_secs(30))
    }
}

/// What the homeserver understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `/versions` has not answered.
    #[default]
    Unknown,
    /// This project's presence.
    Pilotlight,
    /// Matrix's presence.
    Stock,
}

/// One device's view of its homeserver.
#[derive(Debug)]
pub struct Client {
    pub(super) user_id: String,
    pub(super) device_id: String,
    pub(super) device_type: DeviceType,
    pub(super) dialect: Dialect,
    pub(super) connection: Connection,
    pub(super) connection_since: Instant,
    /// Logged out, or about to be: nothing more is kept.
    pub(super) session_over: bool,
    pub(super) sync: SyncLoop,
    pub(super) held: HeldStream,
    pub(super) tabs: Tabs,
    pub(super) rooms: BTreeMap<String, Room>,
    pub(super) touched: Vec<String>,
    pub(super) removed: Vec<String>,
    pub(super) direct: Vec<(String, Vec<String>)>,
    pub(super) book: PresenceBook,
    pub(super) contacts: ContactBook,
    pub(super) notify: NotifySettings,
    pub(super) me: Me,
    pub(super) choice: ChoiceReport,
    pub(super) presence_grace: Duration,
    shown_me: Me,
    pub(super) idle: IdleReport,
    pub(super) action_ids: ActionIds,
    pub(super) queue: Queue,
    pub(super) entered: Entered,
    pub(super) pending: Vec<Pending>,
    /// Redactions whose end somebody waits for: no more than the queue holds.
    pub(super) redactions: Vec<(ActionId, Ticket)>,
    pub(super) phone: Calls,
    pub(super) in_call: bool,
    /// Of whom nothing is heard.
    pub(super) ignored: Vec<String>,
    /// Events by room, of which the edit that stands is to be asked for: empty after each input.
    pub(super) unsure_edits: Vec<(String, Arc<str>)>,
    last_request: u64,
    last_ticket: u64,
    pub(super) rng: Rng,
    pub(super) outputs: VecDeque<Output>,
}

impl Client {
    /// A client that does nothing until it is started.
    pub fn new(session: &Session, options: Options, now: Instant) -> Self {
        let mut rng = Rng::new(options.seed);
        let action_ids = ActionIds::of_tab(now.to_unix().0, rng.range(0..u64::MAX));
        Self {
            user_id: session.user_id.clone(),
            device_id: session.device_id.clone(),
            device_type: options.device_type,
            dialect: Dialect::Unknown,
            connection: Connection::Stopped,
            connection_since: now,
            session_over: false,
            sync: SyncLoop::default(),
            held: HeldStream::default(),
            tabs: Tabs::default(),
            rooms: BTreeMap::new(),
            touched: Vec::new(),
            removed: Vec::new(),
            direct: Vec::new(),
            book: PresenceBook::default(),
            contacts: ContactBook::default(),
            notify: NotifySettings::default(),
            me: Me::default(),
            choice: ChoiceReport::default(),
            presence_grace: options.presence_grace.duration(),
            shown_me: Me::default(),
            idle: IdleReport::new(options.idle_timeout, now),
            action_ids,
            queue: Queue::default(),
            entered: Entered::default(),
            pending: Vec::new(),
            redactions: Vec::new(),
            phone: Calls::new(&session.user_id, rng.next_u64()),
            in_call: false,
            ignored: Vec::new(),
            unsure_edits: Vec::new(),
            last_request: 0,
            last_ticket: 0,
            rng,
            outputs: VecDeque::new(),
        }
    }

    /// The connection's state.
    pub fn connection(&self) -> Connection {
        self.connection
    }

    /// Whether the user is idle at this device.
    pub fn is_idle(&self) -> bool {
        self.idle.is_idle()
    }

    /// What the own user chose and is called.
    pub fn me(&self) -> &Me {
        &self.me
    }

    /// One user's presence, if it has been heard of.
    pub fn presence_of(&self, user: &str) -> Option<Arc<Presence>> {
        self.book.of(user)
    }

    /// Everybody's presence.
    pub fn presences(&self) -> impl Iterator<Item = Arc<Presence>> {
        self.book.all()
    }

    /// All rooms, by ID.
    pub fn rooms(&self) -> Vec<RoomSummary> {
        self.rooms.values().map(|room| self.summary(room)).collect()
    }

    /// One room's timeline, oldest first; empty for an unknown room.
    pub fn timeline(&self, room: &str) -> Vec<Arc<TimelineItem>> {
        self.rooms.get(room).map(|room| room.timeline.items().cloned().collect()).unwrap_or_default()
    }

    /// The stretch of a room's past that `jump` opened, oldest first; empty where there is none.
    pub fn past(&self, room: &str) -> Vec<Arc<TimelineItem>> {
        let past = self.rooms.get(room).and_then(|room| room.past.as_ref());
        past.map(|past| past.timeline.items().cloned().collect()).unwrap_or_default()
    }

    /// Somebody in a room, if the stream or a list has told of them; nobody is asked.
    pub fn member(&self, room: &str, user: &str) -> Option<Member> {
        self.rooms.get(room).and_then(|room| room.known_member(user))
    }

    /// One room's members as far as they are known. The first call asks for the rest, and from then on
    /// changes are told.
    pub fn members(&mut self, room_id: &str, now: Instant) -> Vec<Member> {
        let Some(room) = self.rooms.get(room_id) else { return Vec::new() };
        if room.member_list == MemberList::Unwanted {
            self.load_members(room_id, now);
        }
        self.rooms.get(room_id).map(Room::members).unwrap_or_default()
    }

    /// The next thing for the shell to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        // Nobody is told of the idleness of a client that does not run; its next start looks at the time.
        let idle = if self.is_running() { self.idle.poll_timeout() } else { None };
        let queue = if self.is_online() { self.queue.poll_timeout() } else { None };
        let deadlines = self.pending.iter().map(|pending| pending.deadline).min();
        let choice = self.choice.poll_timeout();
        let stream = [self.held.poll_timeout(), self.tabs.poll_timeout()].into_iter().flatten().min();
        let phone = self.phone.poll_timeout();
        let all = [deadlines, self.sync.poll_timeout(), stream, idle, choice, queue, phone];
        all.into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let late = self.pending.iter().filter(|pending| pending.deadline <= now).map(|pending| pending.id);
        for id in late.collect::<Vec<_>>() {
            self.outputs.push_back(Output::Cancel(id));
            self.handle_failure(now, id, "TIMEOUT", "the server did not answer in time");
        }
        self.handle_idle_timeout(now);
        self.handle_loss_timeout(now);
        self.handle_stream_timeout(now);
        self.handle_tabs_timeout(now);
        self.choice.handle_timeout(now);
        self.phone.handle_timeout(now);
        self.continue_sync(now);
        self.settle(now);
    }

    /// Starts to follow the server; nothing if it does already.
    pub fn start(&mut self, now: Instant) {
        if self.connection != Connection::Stopped {
            return;
        }
        self.show_connection(now, Connection::Connecting, None);
        self.ask_for_leader();
        self.begin_following(now);
        self.settle(now);
    }

    /// Gives up all requests and falls silent. What is queued stays queued.
    pub fn stop(&mut self, now: Instant) {
        self.abandon(now);
        self.serve_phone(now);
        if self.is_running() {
            self.show_connection(now, Connection::Stopped, None);
        }
    }

    /// The network may be back, or somebody looks: what waits for a delay goes on at once, unless the server asked for it.
    pub fn try_now(&mut self, now: Instant) {
        self.sync.resume_at_once(now);
        self.idle.resume_at_once(now);
        self.queue.handle_online();
        self.choice.resume_at_once();
        self.handle_timeout(now);
    }

    /// Somebody looks, or the page runs again after a sleep: a server that is away is asked for at once.
    pub fn handle_woken(&mut self, now: Instant) {
        if self.connection == Connection::Offline { self.try_now(now) } else { self.handle_timeout(now) }
    }

    pub(super) fn is_running(&self) -> bool {
        !matches!(self.connection, Connection::Stopped | Connection::LoggedOut)
    }

    /// Whether the stream is there.
    pub(super) fn is_online(&self) -> bool {
        self.connection == Connection::Online
    }

    /// What follows from any input: requests that have become possible, changes to show.
    pub(super) fn settle(&mut self, now: Instant) {
        self.report_idleness(now);
        self.transmit_choice(now);
        self.transmit_actions(now);
        self.end_redactions(Ended::Gone);
        self.ask_for_edits(now);
        self.serve_phone(now);
        self.show_changes();
    }

    fn summary(&self, room: &Room) -> RoomSummary {
        let direct = self.direct.iter().any(|(_, rooms)| rooms.contains(&room.id));
        room.summary(&self.user_id, direct)
    }

    pub(super) fn request(
        &mut self,
        now: Instant,
        awaited: Awaited,
        method: &'static str,
        path: String,
        body: Option<String>,
    ) -> RequestId {
        self.request_within(REQUEST_TIMEOUT, now, awaited, method, path, body)
    }

    pub(super) fn request_within(
        &mut self,
        timeout: Duration,
        now: Instant,
        awaited: Awaited,
        method: &'static str,
        path: String,
        body: Option<String>,
    ) -> RequestId {
        self.last_request += 1;
        let id = RequestId(self.last_request);
        let held = matches!(awaited, Awaited::Stream);
        let keepalive = matches!(awaited, Awaited::Farewell(_));
        self.pending.push(Pending { id, awaited, deadline: now + timeout });
        self.outputs.push_back(Output::Request(Request { id, method, path, body, held, keepalive }));
        id
    }

    /// Marks a room whose changes are to be shown.
    pub(super) fn touch(&mut self, room_id: &str) {
        if let Err(at) = self.touched.binary_search_by(|known| (**known).cmp(room_id)) {
            self.touched.insert(at, room_id.to_owned());
        }
    }

    /// Takes out a request that has ended; `None` if it was given up before.
    pub(super) fn take_pending(&mut self, id: RequestId) -> Option<Awaited> {
        let at = self.pending.iter().position(|pending| pending.id == id)?;
        Some(self.pending.remove(at).awaited)
    }

    pub(super) fn next_ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    /// Ends every request: commands fail, actions wait for the next start.
    pub(super) fn abandon(&mut self, now: Instant) {
        let stopped = Failure::local("STOPPED", "the client was stopped");
        self.sync.stop();
        self.close_stream();
        self.tabs.leave_leader();
        self.lose_stream();
        for pending in std::mem::take(&mut self.pending) {
            self.outputs.push_back(Output::Cancel(pending.id));
            self.end_abandoned(now, pending.awaited, &stopped);
        }
        self.interrupt_choice(&stopped);
        self.end_redactions(Ended::All);
        // Who is spoken with shall not wait for the connection to be lost.
        self.phone.stop(now);
        self.show_changes();
    }

    pub(super) fn show_connection(&mut self, now: Instant, connection: Connection, why: Option<Failure>) {
        self.session_over |= connection == Connection::LoggedOut;
        if self.connection != connection {
            self.connection = connection;
            self.connection_since = now;
            self.outputs.push_back(Output::Changed(Change::Connection(connection, why)));
        }
    }

    fn show_changes(&mut self) {
        self.me.shown = self.me.state_to_show(self.book.is_lost());
        if self.me != self.shown_me {
            self.shown_me = self.me.clone();
            self.outputs.push_back(Output::Changed(Change::Me(self.me.clone())));
        }
        let (mut summaries, mut details) = (Vec::new(), Vec::new());
        for room_id in std::mem::take(&mut self.touched) {
            if let Some(room) = self.rooms.get_mut(&room_id) {
                room.settle(&self.user_id);
            }
            let Some(room) = self.rooms.get(&room_id) else { continue };
            let summary = self.summary(room);
            let Some(room) = self.rooms.get_mut(&room_id) else { continue };
            if room.shown.as_ref() != Some(&summary) {
                room.shown = Some(summary.clone());
                summaries.push(summary);
            }
            let changed = room.take_changed_members();
            if !changed.is_empty() && room.member_list != MemberList::Unwanted {
                details.push(Change::Members { room_id: room_id.clone(), changed });
            }
            let ops = room.timeline.take_ops();
            if !ops.is_empty() {
                details.push(Change::Timeline { room_id: room_id.clone(), ops });
            }
            let past_ops = room.take_past_ops();
            if !past_ops.is_empty() {
                details.push(Change::Past { room_id, ops: past_ops });
            }
        }
        let removed = std::mem::take(&mut self.removed);
        if !summaries.is_empty() || !removed.is_empty() {
            self.outputs.push_back(Output::Changed(Change::Rooms { changed: summaries, removed }));
        }
        self.outputs.extend(details.into_iter().map(Output::Changed));
    }
}
