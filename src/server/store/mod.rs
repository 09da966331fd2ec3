//! Everything durable, in one SQLite file. The only place that knows SQL.
//!
//! One thread writes: it takes what is waiting, runs each piece in a savepoint of one transaction,
//! commits with a sync to the disk, and only then answers. So whoever was told "done" can rely on
//! it after a power cut, and a busy server shares one sync among many. Readers have connections of
//! their own and see the state of the last commit. Positions grow in the order of the commits.
//!
//! The methods are grouped by subject in the files beside this one; each takes and returns plain values.

mod account_data;
mod accounts;
mod backup;
mod checked_file;
mod commit;
mod contacts;
#[cfg(test)]
mod damage;
mod database;
mod device_keys;
mod devices;
mod directory;
mod epoch;
mod error;
mod events;
mod filters;
mod folder;
mod header;
mod job;
mod list_outbox;
mod log;
mod mark;
mod members;
mod open;
mod presence;
mod proof;
mod receipts;
mod recent_state;
mod refusal;
mod relations;
mod rooms;
mod schema;
mod server_keys;
mod state;
mod state_list;
mod steps;
mod tail;
mod to_device;
mod tx;
mod typing;
mod write_ahead;
mod writer;

pub use self::{
    account_data::{
        AccountData, AccountDataError, AccountDataKey, MAX_ACCOUNT_DATA, MAX_ACCOUNT_DATA_PIECES,
        MAX_ACCOUNT_DATA_TOTAL,
    },
    accounts::{CreateUserError, Login, NewUser},
    backup::{BackupError, backup},
    commit::{Assumption, Once, RoomCommit},
    contacts::{ContactRow, ContactWrite, SettingsWrite},
    database::Store,
    device_keys::{DeviceKeys, KeyCounts, KeySignature, KeyUpload, MAX_ONE_TIME_KEYS, UploadError},
    devices::{Device, MAX_DEVICES, NewDevice},
    directory::AliasRow,
    error::StoreError,
    events::Order,
    filters::{AddFilterError, MAX_FILTERS},
    folder::has_database,
    members::{MembershipRow, Past},
    open::Access,
    proof::{NotProven, Proof},
    refusal::OpenError,
    relations::{Annotation, Seen},
    rooms::{Extremity, RoomRow},
    state_list::{Entry, Kinds, Side, StateList},
    steps::{NewEvent, NotCommitted, Placed, RoomChange},
    to_device::{ToDevice, WaitingMessages},
};
pub use super::{
    event::receipt::Receipt,
    profile::{Profile, ProfileField},
};
