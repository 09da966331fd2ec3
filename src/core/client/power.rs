//! Who may do how much in a room: levels as `m.room.power_levels` has them, and the room's creators.

use crate::core::wire::event::Event;
use crate::core::wire::object::Object;

/// JavaScript's largest exact integer.
const BEYOND_POWER: i64 = (1 << 53) - 1;

/// The level of what is reserved for moderators, where nothing is said.
const DEFAULT_LEVEL: i64 = 50;

/// The power of one room's members.
#[derive(Debug, Default)]
pub(super) struct Power {
    levels: Option<Levels>,
    creators: Vec<String>,
    creators_beyond_power: bool,
}

/// What `m.room.power_levels` says of users.
#[derive(Debug)]
struct Levels {
    users: Vec<(String, i64)>,
    users_default: i64,
    redact: i64,
    mention_room: i64,
}

impl Power {
    /// The content of `m.room.power_levels`. Numbers may be strings, up to room version 9.
    pub(super) fn handle_levels(&mut self, content: &Object<'_>) {
        let level = |value: &str| {
            value.trim_matches('"').parse::<i64>().ok().map(|level| level.clamp(-BEYOND_POWER, BEYOND_POWER))
        };
        let users = content.object("users");
        let users = users.fields().filter_map(|(user, value)| Some((user.to_owned(), level(value)?)));
        let users_default = content.raw("users_default").and_then(level).unwrap_or(0);
        let redact = content.raw("redact").and_then(level).unwrap_or(DEFAULT_LEVEL);
        let mention_room = content.object("notifications").raw("room").and_then(level);
        let mention_room = mention_room.unwrap_or(DEFAULT_LEVEL);
        self.levels = Some(Levels { users: users.collect(), users_default, redact, mention_room });
    }

    /// The event that created the room: since version 12 its creators stand above all levels.
    pub(super) fn handle_create(&mut self, event: &Event<'_>) {
        let content = event.content();
        let version = content.text("room_version").and_then(|version| version.parse::<u32>().ok());
        self.creators_beyond_power = version.is_some_and(|version| version >= 12);
        self.creators = vec![event.sender.to_string()];
        if self.creators_beyond_power {
            self.creators.extend(content.strings("additional_creators"));
        }
    }

    /// The level that it takes to redact what others sent.
    pub(super) fn to_redact(&self) -> i64 {
        self.levels.as_ref().map_or(DEFAULT_LEVEL, |levels| levels.redact)
    }

    /// The level that it takes to mention everybody.
    pub(super) fn to_mention_room(&self) -> i64 {
        self.levels.as_ref().map_or(DEFAULT_LEVEL, |levels| levels.mention_room)
    }

    /// One user's level.
    pub(super) fn of(&self, user: &str) -> i64 {
        let creator = self.creators.iter().any(|creator| creator == user);
        if creator && self.creators_beyond_power {
            return BEYOND_POWER;
        }
        match &self.levels {
            None => i64::from(creator) * 100,
            Some(levels) => {
                let own = levels.users.iter().find(|(known, _)| known == user);
                own.map_or(levels.users_default, |(_, level)| *level)
            }
        }
    }
}
