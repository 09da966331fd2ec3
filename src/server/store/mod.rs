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
mod app_services;
mod backup;
mod checked_file;
mod commit;
mod contacts;
#[cfg(test)]
mod damage;
mod database;
mod destinations;
mod device_changes;
mod device_keys;
mod devices;
mod directory;
mod epoch;
mod error;
mod event_rows;
mod events;
mod filters;
mod folder;
mod gaps;
mod graph;
#[cfg(test)]
mod graph_tests;
mod groups;
mod guests;
mod header;
mod inbound;
mod job;
mod key_backup;
mod list_outbox;
mod log;
mod mark;
mod media;
mod members;
mod open;
mod openid;
mod outside;
mod presence;
mod profile_fields;
mod proof;
mod pushers;
mod receipts;
mod receive;
mod recent_state;
mod refreshes;
mod refusal;
mod relations;
mod remote_lists;
mod reports;
mod room_change;
mod rooms;
mod schema;
mod search;
mod server_keys;
mod signed_keys;
mod standing;
mod state;
mod state_list;
mod steps;
mod tail;
mod thumbnails;
mod to_device;
mod to_device_outbox;
mod to_device_received;
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
    app_services::{NewTransaction, ServiceProgress},
    backup::{BackupError, Copied, backup},
    commit::{Assumption, Once, RoomCommit},
    contacts::{ContactRow, ContactWrite, SettingsWrite},
    database::Store,
    destinations::{OwnEvent, Progress, ProgressStep},
    device_changes::DeviceChange,
    device_keys::{DeviceKeys, KeyCounts, KeySignature, KeyUpload, MAX_ONE_TIME_KEYS, UploadError},
    devices::{Device, MAX_DEVICES, NewDevice},
    directory::AliasRow,
    error::StoreError,
    events::{Order, Wanted},
    filters::{AddFilterError, MAX_FILTERS},
    folder::has_database,
    gaps::{DeepPlace, Gap},
    graph::{EventStanding, GraphEvent, StateIds},
    inbound::InboundEvent,
    key_backup::{BackedUpKey, Backup, BackupRefusal, Extent, KeyScope},
    media::{AwaitMediaError, MAX_AWAITED_MEDIA, MediaRow, MediaTotals, PutMediaError, StoredMedia},
    members::{MembershipRow, Past},
    open::Access,
    profile_fields::{MAX_PROFILE_READERS, ProfileFields, PutFieldError},
    proof::{NotProven, Proof},
    pushers::{MAX_PUSHERS, NewPusher, Others, Pusher, SetPusherError},
    refreshes::{Known, NewTokens},
    refusal::OpenError,
    relations::{Annotation, Seen},
    remote_lists::{RemoteChange, RemoteList, Snapshot},
    reports::{Report, Reported},
    room_change::{
        CurrentAfter, Entered, NewEvent, NotCommitted, Place, Placed, Received, RoomChange, StateAtEntry,
        StateBefore, StatePage,
    },
    rooms::{Extremity, RoomRow},
    search::{Found, Hit, Sought},
    server_keys::PublishedKeys,
    signed_keys::{public_part, with_signatures},
    standing::Standing,
    state_list::{Entry, Kinds, Side, StateList},
    thumbnails::KeptThumbnail,
    to_device::{ToDevice, WaitingMessages},
    to_device_outbox::MessageAcross,
    to_device_received::{IsFull, ReceivedMessage, Recipients},
};
pub use super::{
    event::receipt::Receipt,
    profile::{Profile, ProfileField},
};
