//! What servers say to each other of presence lists: on the wire, and whether one may say it.
//!
//! The EDUs `m.presence_invite`, `m.presence_accept` and `m.presence_deny` as early Matrix servers had
//! them, and `org.pilotlight.presence_drop`. Ours carry the number of the request beside.

use ruma::{OwnedUserId, ServerName, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    core::list::{Half, Kind, Message},
    server::{config::servers::Policy, list::ListMessage},
};

/// The greatest number of a request that is taken from another server: far beyond what counting reaches,
/// and far enough below 2^53 that one can go on counting.
const MAX_SEQ: u64 = 1 << 52;

/// What one user's server says to another's about who observes whom.
#[derive(Debug)]
pub struct ListEdu {
    /// What it says.
    pub kind: Kind,
    /// Who observes, or wants to.
    pub observer: OwnedUserId,
    /// Who is observed.
    pub observed: OwnedUserId,
    /// The observer's number of the request, at most 2^52; servers other than ours say none.
    pub seq: Option<u64>,
}

/// On whose word an EDU is taken.
#[derive(Clone, Copy, Debug)]
pub struct Between<'a> {
    /// The server that sent it.
    pub origin: &'a ServerName,
    /// This server.
    pub own: &'a ServerName,
    /// With whom the operator of this server shares presence.
    pub policy: &'a Policy,
}

#[derive(Deserialize, Serialize)]
struct Content {
    observer_user: OwnedUserId,
    observed_user: OwnedUserId,
    #[serde(rename = "org.pilotlight", default, skip_serializing_if = "Option::is_none")]
    ours: Option<Ours>,
}

#[derive(Deserialize, Serialize)]
struct Ours {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
}

impl ListEdu {
    /// Reads an EDU of a type, and judges whether it is for `between.origin` to say.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn judged(edu_type: &str, content: &RawValue, between: Between<'_>) -> Result<Self, &'static str> {
        let Between { origin, own, policy } = between;
        let kind = kind_of(edu_type).ok_or("it is not about a presence list")?;
        let edu = Self::parse(kind, content)?;
        if edu.speaker().server_name() != origin || origin == own {
            return Err("a server speaks for its own users only");
        }
        if edu.addressee().server_name() != own {
            return Err("the other user is not of this server");
        }
        if !policy.shares_presence_with(origin) {
            return Err("no presence is shared with that server");
        }
        Ok(edu)
    }

    /// The answer to a request that is not kept: as of a user who denies, so that it does not say whether there
    /// is such a user.
    pub fn into_denial(self) -> ListMessage {
        let message = Message { kind: Kind::Deny, seq: self.seq.unwrap_or(1) };
        ListMessage { owner: self.observed, contact: self.observer, message }
    }

    fn parse(kind: Kind, content: &RawValue) -> Result<Self, &'static str> {
        let content: Content =
            serde_json::from_str(content.get()).map_err(|_| "the content is not that of a presence list")?;
        let seq = content.ours.and_then(|ours| ours.seq);
        if seq.is_some_and(|seq| seq > MAX_SEQ) {
            return Err("the number of the request is out of range");
        }
        Ok(Self { kind, observer: content.observer_user, observed: content.observed_user, seq })
    }

    /// For whom the sending server speaks.
    pub fn speaker(&self) -> &UserId {
        match self.kind.half() {
            Half::Asking => &self.observer,
            Half::Answering => &self.observed,
        }
    }

    /// Who is spoken to.
    pub fn addressee(&self) -> &UserId {
        match self.kind.half() {
            Half::Asking => &self.observed,
            Half::Answering => &self.observer,
        }
    }
}

/// The type of the EDUs of a kind.
pub(in crate::server) const fn edu_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Invite => "m.presence_invite",
        Kind::Accept => "m.presence_accept",
        Kind::Deny => "m.presence_deny",
        Kind::Drop => "org.pilotlight.presence_drop",
    }
}

/// Whether EDUs of a type are about presence lists.
pub fn is_list_edu(edu_type: &str) -> bool {
    kind_of(edu_type).is_some()
}

/// The kind of EDU of a type, if it is about presence lists.
pub(super) fn kind_of(word: &str) -> Option<Kind> {
    [Kind::Invite, Kind::Accept, Kind::Deny, Kind::Drop].into_iter().find(|kind| edu_type(*kind) == word)
}

/// Who observes whom, in the relation that `message` is about.
pub(super) fn pair(message: &ListMessage) -> (OwnedUserId, OwnedUserId) {
    let (owner, contact) = (message.owner.clone(), message.contact.clone());
    match message.message.kind.half() {
        Half::Asking => (owner, contact),
        Half::Answering => (contact, owner),
    }
}

/// The content of the EDU that says `message`.
pub(in crate::server) fn content(message: &ListMessage) -> Box<RawValue> {
    let (observer_user, observed_user) = pair(message);
    let ours = Some(Ours { seq: Some(message.message.seq) });
    serde_json::value::to_raw_value(&Content { observer_user, observed_user, ours })
        .expect("identifiers and numbers are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::config::Federation;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).expect("JSON")
    }

    #[test]
    fn what_is_written_is_read_again_and_says_who_speaks() {
        let owner = OwnedUserId::try_from("@alice:a.example").expect("an ID");
        let contact = OwnedUserId::try_from("@bob:b.example").expect("an ID");
        for kind in [Kind::Invite, Kind::Accept, Kind::Deny, Kind::Drop] {
            let message = Message { kind, seq: 7 };
            let message = ListMessage { owner: owner.clone(), contact: contact.clone(), message };
            let edu = ListEdu::parse(kind, &content(&message)).expect("our own");
            assert_eq!((edu.speaker(), edu.addressee(), edu.seq), (&*owner, &*contact, Some(7)));
            assert_eq!(kind_of(edu_type(kind)), Some(kind));
        }
        assert_eq!(kind_of("m.presence"), None);
    }

    #[test]
    fn a_number_is_optional_and_bounded() {
        let with = |ours: &str| {
            let json = format!(r#"{{"observer_user":"@a:a","observed_user":"@b:b"{ours}}}"#);
            ListEdu::parse(Kind::Invite, &raw(&json)).map(|edu| edu.seq)
        };
        assert_eq!(with(""), Ok(None));
        assert_eq!(with(r#","org.pilotlight":{},"more":1"#), Ok(None));
        assert_eq!(with(&format!(r#","org.pilotlight":{{"seq":{MAX_SEQ}}}"#)), Ok(Some(MAX_SEQ)));
        for bad in [&*format!("{}", MAX_SEQ + 1), "-1", "1.5", "\"1\"", "18446744073709551615"] {
            assert!(with(&format!(r#","org.pilotlight":{{"seq":{bad}}}"#)).is_err(), "{bad}");
        }
        for bad in [r#"{"observer_user":"@a:a"}"#, r#"{"observer_user":"a","observed_user":"@b:b"}"#, "[]"] {
            assert!(ListEdu::parse(Kind::Invite, &raw(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn l2_a_server_speaks_for_its_own_users_to_ours_where_presence_is_shared() {
        let spam = Federation {
            presence_deny_servers: vec!["spam".try_into().expect("a name")],
            ..Federation::default()
        };
        let policy = Policy::new(&spam);
        let own: &ServerName = "here".try_into().expect("a name");
        for (edu_type, observer, observed, origin, taken) in [
            ("m.presence_invite", "@a:there", "@b:here", "there", true),
            ("m.presence_accept", "@b:here", "@a:there", "there", true),
            ("m.presence_accept", "@a:there", "@b:here", "there", false),
            ("m.presence_invite", "@b:here", "@a:there", "there", false),
            ("m.presence_invite", "@a:elsewhere", "@b:here", "there", false),
            ("m.presence_invite", "@a:there", "@b:elsewhere", "there", false),
            ("m.presence_invite", "@a:here", "@b:here", "here", false),
            ("m.presence_invite", "@a:spam", "@b:here", "spam", false),
            ("m.presence", "@a:there", "@b:here", "there", false),
        ] {
            let json = format!(r#"{{"observer_user":"{observer}","observed_user":"{observed}"}}"#);
            let between = Between { origin: origin.try_into().expect("a name"), own, policy: &policy };
            let judged = ListEdu::judged(edu_type, &raw(&json), between);
            assert_eq!(judged.is_ok(), taken, "{edu_type} {observer} {observed} {origin}");
        }
    }
}
