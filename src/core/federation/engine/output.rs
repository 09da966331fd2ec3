//! What the engine wants done or known.

use crate::core::federation::edu::Edu;
use crate::core::federation::peer::Speech;
use crate::core::federation::status::{Server, Status, User};

/// What the engine wants done or known, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this; then report [`Engine::handle_outcome`](super::Engine::handle_outcome) with its number. At most one to a peer is
    /// outstanding.
    Send(Box<Delivery>),
    /// What is known of a remote user changed; `None`: unknown.
    RemoteChanged {
        /// Who.
        user: User,
        /// What they show.
        status: Option<Status>,
    },
}

/// One message to one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// To whom.
    pub peer: Server,
    /// What is to be reported with the outcome.
    pub seq: u64,
    /// In which form to write it.
    pub speech: Speech,
    /// What to send.
    pub edu: Edu,
}
