//! One homeserver's presence towards all its peers.

mod enquire;
mod local;
mod output;
mod receive;
mod rooms;
mod send;
mod slots;
mod state;
mod ties;
mod timeout;
mod view;

pub use local::Permission;
pub use output::{Delivery, Output};
pub use receive::Refused;
pub use send::Outcome;
pub use state::Engine;
pub use ties::Room;
pub use view::PeerView;
