//! `m.presence` as `/sync` and the held stream carry it and as `GET /presence/{userId}/status` answers it.

use std::borrow::Cow;

use super::read::{Malformed, Reader};

/// One `m.presence` event.
#[derive(Debug, Default)]
pub struct PresenceEvent<'a> {
    /// Whose presence.
    pub sender: Cow<'a, str>,
    /// The presence.
    pub content: PresenceContent<'a>,
}

/// The content of `m.presence`, Matrix's own fields and ours.
#[derive(Debug, Default)]
pub struct PresenceContent<'a> {
    /// `online`, `unavailable` or `offline`.
    pub presence: Cow<'a, str>,
    /// The user's own words; absent means none.
    pub status_msg: Option<Cow<'a, str>>,
    /// The display name, on servers that send it along (P10).
    pub displayname: Option<Cow<'a, str>>,
    /// The avatar, likewise.
    pub avatar_url: Option<Cow<'a, str>>,
    /// Milliseconds since the user was last active.
    pub last_active_ago: Option<u64>,
    /// Active right now, as Matrix defines it.
    pub currently_active: bool,
    /// `org.pilotlight.presence`: one of the seven words of P1, beside Matrix's three (P11).
    pub state: Option<Cow<'a, str>>,
    /// `org.pilotlight.presence`: `web`, `mobile`, … (P7).
    pub device_type: Option<Cow<'a, str>>,
    /// `org.pilotlight.presence`: milliseconds since somebody was at one of the user's devices, in coarse steps (P6).
    pub idle_ms: Option<u64>,
    /// `org.pilotlight.presence`: what the user chose, told to their own devices only (P3).
    pub choice: Option<Cow<'a, str>>,
}

impl<'a> PresenceEvent<'a> {
    /// Reads an event; `None` for what has no sender or is no object.
    pub fn read(reader: &mut Reader<'a>) -> Result<Option<Self>, Malformed> {
        let mut event = Self::default();
        if !reader.enter_object()? {
            return Ok(None);
        }
        while let Some(key) = reader.next_key()? {
            match &*key {
                "sender" => event.sender = reader.text()?.unwrap_or_default(),
                "content" => event.content = PresenceContent::read(reader)?,
                _ => {
                    reader.raw()?;
                }
            }
        }
        Ok(Some(event).filter(|event| !event.sender.is_empty()))
    }

    /// Reads the short form of the held stream.
    pub fn read_short(reader: &mut Reader<'a>) -> Result<Option<Self>, Malformed> {
        let mut event = Self::default();
        if !reader.enter_object()? {
            return Ok(None);
        }
        let content = &mut event.content;
        while let Some(key) = reader.next_key()? {
            match &*key {
                "u" => event.sender = reader.text()?.unwrap_or_default(),
                "s" => content.state = reader.text()?,
                "m" => content.status_msg = reader.text()?.filter(|words| !words.is_empty()),
                "n" => content.displayname = reader.text()?,
                "i" => content.avatar_url = reader.text()?,
                "d" => content.device_type = reader.text()?,
                "a" => content.last_active_ago = reader.raw()?.parse().ok(),
                "c" => content.currently_active = reader.raw()? == "1",
                "t" => content.idle_ms = reader.raw()?.parse().ok(),
                "w" => content.choice = reader.text()?,
                _ => {
                    reader.raw()?;
                }
            }
        }
        Ok(Some(event).filter(|event| !event.sender.is_empty()))
    }
}

impl<'a> PresenceContent<'a> {
    /// Reads a content; an empty one for what is no object.
    pub fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut content = Self::default();
        if !reader.enter_object()? {
            return Ok(content);
        }
        while let Some(key) = reader.next_key()? {
            match &*key {
                "presence" => content.presence = reader.text()?.unwrap_or_default(),
                "status_msg" => content.status_msg = reader.text()?.filter(|words| !words.is_empty()),
                "displayname" => content.displayname = reader.text()?,
                "avatar_url" => content.avatar_url = reader.text()?,
                "last_active_ago" => content.last_active_ago = reader.raw()?.parse().ok(),
                "currently_active" => content.currently_active = reader.raw()? == "true",
                "org.pilotlight.presence" => content.read_extended(reader)?,
                _ => {
                    reader.raw()?;
                }
            }
        }
        Ok(content)
    }

    fn read_extended(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        if !reader.enter_object()? {
            return Ok(());
        }
        while let Some(key) = reader.next_key()? {
            match &*key {
                "state" => self.state = reader.text()?,
                "choice" => self.choice = reader.text()?,
                "device_type" => self.device_type = reader.text()?,
                "idle_ms" => self.idle_ms = reader.raw()?.parse().ok(),
                _ => {
                    reader.raw()?;
                }
            }
        }
        Ok(())
    }
}
