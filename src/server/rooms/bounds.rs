//! How large events and requests may be, and which room versions there are.

use ruma::RoomVersionId;

/// Bytes of a PDU as canonical JSON, at most (server-server API, "Size limits").
pub const MAX_PDU_BYTES: usize = 65_535;

/// Bytes of an identifier, an event type, a state key or a transaction ID, at most.
pub const MAX_ID_BYTES: usize = 255;

/// Users that one `createRoom` can invite.
pub const MAX_INVITES: usize = 100;

/// State events that one `createRoom` can bring along.
pub const MAX_INITIAL_STATE: usize = 100;

/// The room versions that rooms can be made in, and that this server takes part in rooms of. In the first two, events do
/// not go by their hashes.
pub const VERSIONS: [RoomVersionId; 10] = [
    RoomVersionId::V3,
    RoomVersionId::V4,
    RoomVersionId::V5,
    RoomVersionId::V6,
    RoomVersionId::V7,
    RoomVersionId::V8,
    RoomVersionId::V9,
    RoomVersionId::V10,
    RoomVersionId::V11,
    RoomVersionId::V12,
];

/// Rooms that a user can be in. What a first sync costs grows with them.
pub const MAX_JOINED_ROOMS: usize = 5_000;

/// Rooms that a user can be invited to, or knock at, and not be in.
pub const MAX_AWAITED_ROOMS: usize = 1_000;

/// The same, of a user whom somebody on their presence list invites: strangers cannot keep out who is wanted.
pub const MAX_AWAITED_ROOMS_WITH_CONTACTS: usize = 2 * MAX_AWAITED_ROOMS;

/// Rooms that one user can invite another to who has answered none of it: to fill up somebody's invitations takes many
/// accounts.
pub const MAX_INVITES_BY_ONE: usize = 50;
