//! Whether a PDU of another server may be looked at at all: its form, its size, its hash, its signatures.
//!
//! Pure: which keys prove a PDU is said ([`Unproven::needs`]), where they come from is not known here. What fails is
//! dropped as if it had never come. Server-server API, "Checks performed on receipt of a PDU", steps 1 to 3.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, EventId, OwnedEventId, OwnedServerName, RoomId, UserId,
    canonical_json::redact,
    room_version_rules::RoomVersionRules,
    signatures::{
        Verified, reference_hash, required_server_signatures_to_verify_event, verify_event, verify_json,
    },
    state_res::{Event, check_pdu_format},
};

use crate::{
    core::time::UnixMillis,
    server::{
        event::stored::Membership,
        keys::{EventKeys, NeededKeys},
        rooms::{
            bounds::{MAX_ID_BYTES, MAX_PDU_BYTES},
            pdu::Pdu,
        },
    },
};

/// The longest text of a PDU that is parsed, in bytes: what counts as its size is canonical JSON without `unsigned`.
pub const MAX_TEXT: usize = 256 << 10;

/// Signatures of one server on an event that are looked at.
const MAX_SIGNATURES: usize = 8;

/// Why a PDU is dropped.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Flaw {
    /// Not JSON as events are made of.
    #[error("the event is no canonical JSON: {0}")]
    Json(String),
    /// Not what an event of the room's version looks like.
    #[error("the event has a wrong form: {0}")]
    Form(String),
    /// Larger than an event may be.
    #[error("the event is too large")]
    TooLarge,
    /// It says that it is of another room.
    #[error("the event is of another room")]
    OtherRoom,
    /// A server whose signature it needs did not sign it, or not with a key that counts.
    #[error("the event is not signed as it has to be: {0}")]
    Signature(String),
}

/// A PDU of the right form, with its ID, of which nobody knows yet who made it.
#[derive(Debug)]
pub struct Unproven {
    pub(in crate::server::rooms) pdu: Pdu,
    json: String,
    object: CanonicalJsonObject,
    servers: Vec<OwnedServerName>,
    sent: UnixMillis,
}

/// A PDU of which form, size, hash and signatures are right.
#[derive(Clone, Debug)]
pub struct Checked {
    pub(in crate::server::rooms) pdu: Arc<Pdu>,
    /// Canonical JSON without `unsigned`; the redacted form if the content is not what was hashed.
    pub(in crate::server::rooms) json: String,
    pub(in crate::server::rooms) depth: u64,
    pub(in crate::server::rooms) content: Content,
    /// It invites a user of this server, and this server was not asked.
    pub(in crate::server::rooms) unasked: bool,
}

impl Checked {
    /// Its ID.
    pub fn event_id(&self) -> &EventId {
        self.pdu.id()
    }

    /// Canonical JSON, as it is stored.
    pub fn json(&self) -> &str {
        &self.json
    }
}

/// Reads the text of a PDU of `room`, whose version has these rules.
///
/// # Errors
/// [`Flaw`].
pub fn read(rules: &RoomVersionRules, room: &RoomId, text: &str) -> Result<Unproven, Flaw> {
    if text.len() > MAX_TEXT {
        return Err(Flaw::TooLarge);
    }
    let mut object: CanonicalJsonObject =
        serde_json::from_str(text).map_err(|e| Flaw::Json(e.to_string()))?;
    // What servers tell each other beside an event is nobody's word: neither hashed nor signed.
    object.remove("unsigned");
    // Signed by nobody: the wrong signatures, and not a wrong form.
    object.entry("signatures".to_owned()).or_insert_with(|| CanonicalJsonValue::Object(BTreeMap::new()));
    check_form(rules, &object)?;
    let form = |what: &str| Flaw::Form(what.to_owned());
    for key in ["content", "hashes", "signatures"] {
        if !matches!(object.get(key), Some(CanonicalJsonValue::Object(_))) {
            return Err(form(&format!("`{key}` is no object")));
        }
    }
    let sent_ms = match object.get("origin_server_ts") {
        Some(CanonicalJsonValue::Integer(ts)) => u64::try_from(i64::from(*ts)).ok(),
        _ => None,
    };
    let sent_ms = sent_ms.ok_or_else(|| form("`origin_server_ts` is no time"))?;
    let event_id = event_id(rules, &object)?;
    check_room(rules, room, &event_id, &object)?;
    // The types of everything that the rules look at, before anything is asked of anybody.
    let json = serde_json::to_string(&object).map_err(|e| Flaw::Json(e.to_string()))?;
    if json.len() > MAX_PDU_BYTES {
        return Err(Flaw::TooLarge);
    }
    let pdu = Pdu::parse(event_id, &json).map_err(|e| Flaw::Form(format!("{e:?}")))?;
    let servers =
        required_server_signatures_to_verify_event(&object, &signature_rules(rules, &object).signatures)
            .map_err(|e| Flaw::Form(e.to_string()))?
            .into_iter()
            .collect();
    Ok(Unproven { pdu, json, object, servers, sent: UnixMillis(sent_ms) })
}

/// What every event is made of. Before version 11 others take a type and a state key of so many characters, and no
/// server may take less than the rest of the room.
fn check_form(rules: &RoomVersionRules, object: &CanonicalJsonObject) -> Result<(), Flaw> {
    let check =
        |object: &CanonicalJsonObject| check_pdu_format(object, &rules.event_format).map_err(Flaw::Form);
    let counts_bytes = rules.authorization.use_room_create_sender;
    let is_long_in_bytes = |key: &&str| {
        let text = object.get(*key).and_then(CanonicalJsonValue::as_str).unwrap_or_default();
        text.len() > MAX_ID_BYTES && text.chars().count() <= MAX_ID_BYTES
    };
    let long: Vec<&str> = ["type", "state_key"].into_iter().filter(is_long_in_bytes).collect();
    if counts_bytes || long.is_empty() {
        return check(object);
    }
    let mut shorter = object.clone();
    for key in long {
        shorter.insert(key.to_owned(), CanonicalJsonValue::String(String::new()));
    }
    check(&shorter)
}

/// The ID of an event: the hash of it. In versions 1 and 2 it is part of the event, and this server takes part in no
/// room of those.
fn event_id(rules: &RoomVersionRules, object: &CanonicalJsonObject) -> Result<OwnedEventId, Flaw> {
    if rules.event_format.require_event_id {
        return Err(Flaw::Form("events of this room version are not understood".to_owned()));
    }
    let hash = reference_hash(object, rules).map_err(|e| Flaw::Form(e.to_string()))?;
    OwnedEventId::try_from(format!("${hash}")).map_err(|e| Flaw::Form(e.to_string()))
}

fn check_room(
    rules: &RoomVersionRules,
    room: &RoomId,
    event_id: &EventId,
    object: &CanonicalJsonObject,
) -> Result<(), Flaw> {
    let text = |key| object.get(key).and_then(CanonicalJsonValue::as_str);
    let is_nameless_create =
        rules.authorization.room_create_event_id_as_room_id && text("type") == Some("m.room.create");
    let is_of_room = match text("room_id") {
        Some(id) => !is_nameless_create && id == room.as_str(),
        // Named after its first event, which cannot say so itself.
        None => is_nameless_create && room.strip_sigil() == event_id.as_str().trim_start_matches('$'),
    };
    if is_of_room { Ok(()) } else { Err(Flaw::OtherRoom) }
}

/// Only of who comes in the server that let them in has to sign; of anything else that names one it need not.
fn signature_rules(rules: &RoomVersionRules, object: &CanonicalJsonObject) -> RoomVersionRules {
    let mut rules = rules.clone();
    let membership = object.get("content").and_then(CanonicalJsonValue::as_object);
    let membership = membership.and_then(|content| content.get("membership"));
    let joins = object.get("type").and_then(CanonicalJsonValue::as_str) == Some("m.room.member")
        && membership.and_then(CanonicalJsonValue::as_str) == Some("join");
    rules.signatures.check_join_authorised_via_users_server &= joins;
    rules
}

impl Unproven {
    /// Its ID.
    pub fn event_id(&self) -> &EventId {
        self.pdu.id()
    }

    /// Canonical JSON, without what was said beside it.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The events that allow it, as it says.
    pub(super) fn auth_events(&self) -> impl Iterator<Item = &OwnedEventId> {
        Event::auth_events(&self.pdu)
    }

    /// Adds the keys that prove it to those that other events need.
    pub fn need(&self, rules: &RoomVersionRules, needed: &mut NeededKeys) {
        for server in &self.servers {
            for id in self.signed_with(server) {
                let known =
                    needed.entry(server.clone()).or_default().entry(id.clone()).or_insert(UnixMillis(0));
                *known = (*known).max(self.signed_at(rules));
            }
        }
    }

    /// The same for this event alone.
    pub fn needs(&self, rules: &RoomVersionRules) -> NeededKeys {
        let mut needed = NeededKeys::new();
        self.need(rules, &mut needed);
        needed
    }

    /// When a key has to have been good. Before version 5 one proves events of any time.
    fn signed_at(&self, rules: &RoomVersionRules) -> UnixMillis {
        if rules.enforce_key_validity { self.sent } else { UnixMillis(0) }
    }

    fn signed_with(&self, server: &OwnedServerName) -> impl Iterator<Item = &String> {
        let signatures = self.object.get("signatures").and_then(CanonicalJsonValue::as_object);
        let of_server = signatures.and_then(|all| all.get(server.as_str())?.as_object());
        let ids = of_server.into_iter().flat_map(BTreeMap::keys);
        ids.filter(|id| id.starts_with("ed25519:")).take(MAX_SIGNATURES)
    }

    /// Verifies the signatures and the hash. Takes some tenths of a millisecond of computing.
    ///
    /// # Errors
    /// [`Flaw::Signature`].
    pub fn prove(self, rules: &RoomVersionRules, keys: &EventKeys) -> Result<Checked, Flaw> {
        let servers = self.servers.iter().map(|server| &**server);
        let mut map = keys.good_at(servers, self.signed_at(rules));
        for server in &self.servers {
            let signed_with: BTreeSet<&String> = self.signed_with(server).collect();
            let known = map.entry(server.to_string()).or_default();
            known.retain(|id, _| signed_with.contains(id));
            if known.is_empty() {
                return Err(Flaw::Signature(format!("no key of {server} that it is signed with is known")));
            }
        }
        let signed = verify_event(&map, &self.object, &signature_rules(rules, &self.object));
        match signed.map_err(|e| Flaw::Signature(e.to_string()))? {
            Verified::All => self.known(rules, keys, Content::AsSigned),
            Verified::Signatures => self.known(rules, keys, Content::Other),
        }
    }

    /// The same for one that was verified before.
    pub(super) fn known(
        self,
        rules: &RoomVersionRules,
        keys: &EventKeys,
        content: Content,
    ) -> Result<Checked, Flaw> {
        let unasked = self.is_unasked(rules, keys);
        let depth = match self.object.get("depth") {
            Some(CanonicalJsonValue::Integer(depth)) => u64::try_from(i64::from(*depth)).unwrap_or(0),
            _ => 0,
        };
        let Self { pdu, json, object, .. } = self;
        let (pdu, json) = match content {
            Content::AsSigned => (pdu, json),
            Content::Other => {
                let object = redact(object, &rules.redaction, None).map_err(|e| Flaw::Form(e.to_string()))?;
                let json = serde_json::to_string(&object).map_err(|e| Flaw::Json(e.to_string()))?;
                let event_id = pdu.id().to_owned();
                (Pdu::parse(event_id, &json).map_err(|e| Flaw::Form(format!("{e:?}")))?, json)
            }
        };
        Ok(Checked { pdu: Arc::new(pdu), json, depth, content, unasked })
    }

    /// Whether it invites a user of the server that verifies, which did not sign it: so it never let the invite in
    /// (server-server API, "Inviting to a room").
    fn is_unasked(&self, rules: &RoomVersionRules, keys: &EventKeys) -> bool {
        let Some(own) = keys.own() else { return false };
        let invited = self.pdu.state_key_pair().filter(|(kind, _)| kind == "m.room.member");
        let invited = invited.and_then(|(_, key)| UserId::parse(key).ok());
        if self.pdu.membership() != Some(Membership::Invite)
            || invited.is_none_or(|user| user.server_name() != own)
        {
            return false;
        }
        let signatures = self.object.get("signatures").and_then(CanonicalJsonValue::as_object);
        let ours = signatures.and_then(|all| Some((own.to_string(), all.get(own.as_str())?.clone())));
        let redacted = redact(self.object.clone(), &rules.redaction, None);
        let (Some(ours), Ok(mut object)) = (ours, redacted) else { return true };
        object.insert("signatures".to_owned(), CanonicalJsonObject::from([ours]).into());
        verify_json(&keys.good_at([own], self.signed_at(rules)), &object).is_err()
    }
}

/// Whether the content of an event is what its hash says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::server::rooms) enum Content {
    /// It is.
    AsSigned,
    /// Somebody emptied it on the way, or changed what is not signed: what is signed counts.
    Other,
}

impl Checked {
    /// What stands in the event beside what the rules look at.
    pub(in crate::server::rooms) fn prev_events(&self) -> impl Iterator<Item = &OwnedEventId> {
        Event::prev_events(&*self.pdu)
    }

    /// The events that allow it, as it says.
    pub(in crate::server::rooms) fn auth_events(&self) -> impl Iterator<Item = &OwnedEventId> {
        Event::auth_events(&*self.pdu)
    }
}

#[cfg(test)]
mod tests;
