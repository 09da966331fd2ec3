//! What happens in a simulated world, drawn beforehand: the same seed is the same script.

use std::sync::Arc;
use std::time::Duration;

use crate::core::presence::Choice;
use crate::core::rng::Rng;
use crate::core::visibility::Share;

pub(super) const USERS: usize = 4;
pub(super) const DEVICES: usize = 2;
pub(super) const ROOMS: usize = 2;

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A user does something on a device.
    Act(usize, usize, Act),
    /// Who may see whom changes.
    Tie(Tie),
    /// Time passes.
    Pass(Duration),
    /// The machines stand still and wake much later.
    Jump(Duration),
    /// The server is killed and starts again.
    Restart,
}

/// What a user or a device does.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// Moves the pointer.
    Move,
    /// Opens a tab, or a poll begins.
    Open,
    /// Closes a tab, or a poll ends.
    Close,
    /// The network goes away under all tabs.
    Drop,
    /// The lid is closed.
    Sleep,
    /// The lid is opened.
    Wake,
    /// Chooses a state; keeps, clears or sets the message.
    Choose(Choice, Option<Option<Arc<str>>>),
    /// A device that knows only Matrix's words hides the user, or shows them; with a message as above.
    SignOff(bool, Option<Option<Arc<str>>>),
    /// Sends a message.
    Send,
    /// Logs the device out, and in again as another.
    LogOut,
    /// An old report of the device arrives, late or a second time.
    Late(u64),
}

/// What changes who may see whom.
#[derive(Clone, Debug)]
pub(super) enum Tie {
    Add(usize, usize),
    Remove(usize, usize),
    Accept(usize, usize),
    Deny(usize, usize),
    /// Joins the room, or leaves it.
    Room(usize, usize),
    Share(usize, Share),
}

pub(super) fn script(seed: u64, steps: usize) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    (0..steps).map(|_| step(&mut rng)).collect()
}

fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.range(0..bound as u64)).expect("below a usize")
}

fn step(rng: &mut Rng) -> Step {
    match rng.range(0..100) {
        0..55 => Step::Act(below(rng, USERS), below(rng, DEVICES), act(rng)),
        55..67 => Step::Tie(tie(rng)),
        67..96 => Step::Pass(pause(rng)),
        96..99 => Step::Jump(pause(rng) * 3),
        _ => Step::Restart,
    }
}

/// Around every deadline there is, on both sides of it.
fn pause(rng: &mut Rng) -> Duration {
    const SECS: [u64; 16] = [0, 1, 1, 10, 10, 29, 30, 31, 59, 60, 179, 180, 181, 300, 301, 4_000];
    Duration::from_secs(SECS[below(rng, SECS.len())])
}

fn act(rng: &mut Rng) -> Act {
    match rng.range(0..20) {
        0..4 => Act::Move,
        4..9 => Act::Open,
        9..11 => Act::Close,
        11 => Act::Drop,
        12 => Act::Sleep,
        13 => Act::Wake,
        14..17 => {
            let status = match rng.range(0..4) {
                0 => Some(None),
                1 => Some(Some(Arc::from(format!("message {}", rng.range(0..3))))),
                _ => None,
            };
            match rng.range(0..3) {
                0 => Act::SignOff(rng.range(0..2) == 0, status),
                _ => Act::Choose(Choice::ALL[below(rng, Choice::ALL.len())], status),
            }
        }
        17 => Act::Send,
        18 => Act::LogOut,
        _ => Act::Late(rng.range(0..4)),
    }
}

fn tie(rng: &mut Rng) -> Tie {
    let (user, other) = (below(rng, USERS), below(rng, USERS));
    match rng.range(0..10) {
        0..3 => Tie::Add(user, other),
        3 => Tie::Remove(user, other),
        4..6 => Tie::Accept(user, other),
        6 => Tie::Deny(user, other),
        7 | 8 => Tie::Room(below(rng, ROOMS), user),
        _ => Tie::Share(
            user,
            [Share::Nobody, Share::List, Share::SharedRooms, Share::SharedRooms][below(rng, 4)],
        ),
    }
}
