//! Rooms: Matrix rooms from the first event, with hashes, signatures and the authorisation rules.
//!
//! Every change is an act (`write`): when it is its turn in its room it is judged, hashed and signed in its own task,
//! upon what is on the disk and on its way there (`proposal`, `turns`, `judge`), and queued as one small write that
//! holds only if nothing of that changed. When it is on the disk, memory ([`Members`], the log's tail) follows, and
//! the readers it concerns are woken.
//! Nothing here knows SQL or HTTP. Client-server API, "Rooms", "Events"; server-server API, "PDUs".

mod about;
mod access;
mod aggregate;
mod append;
mod bounds;
mod coming;
mod content;
mod create;
mod directory;
mod draft;
mod entrance;
mod everywhere;
pub mod host;
mod invite;
mod join;
mod judge;
mod lanes;
mod may_begin;
mod meeting;
mod member_index;
mod members;
mod membership;
mod order;
mod parts;
mod pdu;
mod power;
mod proposal;
mod read;
pub mod receipts;
pub mod receive;
mod refusal;
mod relate;
mod search;
mod send;
mod spaces;
mod summary;
#[cfg(test)]
mod tests;
mod threads;
mod turns;
pub mod typing;
mod upgrade;
pub mod visit;
mod write;

#[cfg(any(test, fuzzing))]
pub(in crate::server) use self::content::parse as parse_content;
pub use self::{
    about::{About, Member},
    access::Access,
    aggregate::Audience,
    bounds::{MAX_ID_BYTES, MAX_INITIAL_STATE, MAX_INVITES, MAX_PDU_BYTES, VERSIONS},
    directory::{DirectoryPage, MAX_LISTED, Whose},
    entrance::Entrance,
    lanes::NO_ROOM,
    may_begin::MayBegin,
    members::Members,
    order::Order,
    parts::Rooms,
    read::{Context, MAX_PAGE, Page, Wanted},
    refusal::Refusal,
    search::{Results, Search, Words},
    spaces::{InSpace, MAX_DEPTH as MAX_SPACE_DEPTH, Space, Spaces},
    summary::{Reader, Summary},
    threads::ThreadsWanted,
    write::Actor,
};
