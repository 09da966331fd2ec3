//! Receiving: what becomes of events that other servers send.
//!
//! `check` says whether an event may be looked at at all, `order` what comes first, `resolve` what states that differ come
//! to, `cut` how much of a wide fork is taken at once: all of
//! these are pure. `lane` takes what comes, `gap` asks others for what is missing ([`Elsewhere`]), `place` judges and writes, `aside` what
//! does not simply follow the room's end. Server-server API, "PDUs".

mod acl;
mod answer;
mod aside;
pub mod check;
mod cut;
pub mod elsewhere;
mod ends;
mod form;
mod gap;
pub(super) mod inbound;
mod join;
mod lane;
mod order;
mod outliers;
mod outside;
mod past;
mod place;
mod prove;
mod redact;
mod resolve;
pub(super) mod resolved;
mod run;
mod servers;
mod state_before;
mod states;
mod texts;

pub use self::{
    answer::{Each, Piece},
    elsewhere::Elsewhere,
    inbound::{Answer, Crowded, Pending},
    join::Unsound,
    run::{Missing, Outcome, Way},
};
