//! Rooms: Matrix rooms from the first event, with hashes, signatures and the authorisation rules.
//!
//! Every change is one write (`write`): inside it, drafts become PDUs, are checked and appended; when
//! it is on the disk, memory ([`Members`], the log's tail) follows, and the readers it concerns are woken.
//! Nothing here knows SQL or HTTP. Client-server API, "Rooms", "Events"; server-server API, "PDUs".

mod access;
mod act;
mod append;
mod bounds;
mod content;
mod create;
mod directory;
mod members;
mod pdu;
mod power;
mod read;
pub mod receipts;
mod refusal;
mod send;
pub mod typing;
mod upgrade;
mod write;

pub use self::{
    access::Access,
    bounds::{MAX_ID_BYTES, MAX_INITIAL_STATE, MAX_INVITES, MAX_PDU_BYTES, VERSIONS},
    directory::{DirectoryPage, MAX_LISTED},
    members::Members,
    read::{Context, MAX_PAGE, Page, Wanted},
    refusal::Refusal,
    send::{Action, Sent},
    write::Rooms,
};
