//! From a draft to an event of the log: references, hash, signature, and every check that another
//! server would make.
//!
//! Server-server API, "Checks performed on receipt of a PDU" and "Auth events selection".

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, DeviceId, EventId, OwnedEventId, OwnedRoomId, RoomId,
    RoomVersionId, TransactionId, UserId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
    signatures::{JsonError, reference_hash},
    state_res::{
        auth_types_for_event, check_pdu_format, check_state_dependent_auth_rules,
        check_state_independent_auth_rules,
    },
};
use serde_json::value::RawValue;

use super::{bounds::MAX_PDU_BYTES, pdu::Pdu, refusal::Refusal};
use crate::server::{
    event::{
        client::stripped_event,
        stored::{Membership, StoredEvent},
    },
    keys::Signer,
    store::{Extremity, NewEvent, RoomRow, RoomWrite},
};

/// Forward extremities that one event follows, at most (room version 1, "Event format").
const MAX_PREV_EVENTS: usize = 20;

/// The state that somebody who is invited is shown (client-server API, "Stripped state").
const SHOWN_TO_INVITED: [&str; 8] = [
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
    "m.room.history_visibility",
];

/// An event before it has its place in a room.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub kind: String,
    /// `None`: not a state event.
    pub state_key: Option<String>,
    pub content: CanonicalJsonObject,
    /// For a redaction in a room of version 10.
    pub redacts: Option<OwnedEventId>,
}

impl Draft {
    /// A state event.
    pub(super) fn state(kind: &str, state_key: &str, content: CanonicalJsonObject) -> Self {
        Self { kind: kind.to_owned(), state_key: Some(state_key.to_owned()), content, redacts: None }
    }
}

/// Who sends an event, when, and with which transaction ID of which device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Author<'a> {
    pub signer: &'a Signer,
    pub sender: &'a UserId,
    pub now_ms: u64,
    pub transaction: Option<(&'a DeviceId, &'a TransactionId)>,
}

/// The rules of a room version that this server has rooms of.
pub(super) fn rules(version: &RoomVersionId) -> Result<RoomVersionRules, Refusal> {
    version.rules().ok_or(Refusal::UnsupportedVersion)
}

/// Makes a room of an `m.room.create` draft. Before version 12, its ID is `room_id`.
pub(super) fn append_create(
    write: &RoomWrite<'_>,
    author: Author<'_>,
    version: &RoomVersionId,
    room_id: OwnedRoomId,
    listed: bool,
    draft: Draft,
) -> Result<RoomRow, Refusal> {
    let rules = rules(version)?;
    let named = !rules.authorization.room_create_event_id_as_room_id;
    let object = object(author, &draft, named.then_some(&*room_id), &[], &[]);
    let built = Built::new(author, &rules, object)?;
    let room_id = if named {
        room_id
    } else {
        let id = format!("!{}", built.event_id.as_str().trim_start_matches('$'));
        OwnedRoomId::try_from(id).map_err(|e| Refusal::Internal(e.to_string()))?
    };
    let pdu = Pdu::parse(built.event_id.clone(), &built.json)?;
    check_state_independent_auth_rules(&rules.authorization, &pdu, |_: &EventId| None::<Arc<Pdu>>)
        .map_err(|e| Refusal::InvalidState(e.into()))?;
    let room = write.create_room(&room_id, version, listed)?;
    insert(write, author, &room, &draft, &built, (&[], &[]))?;
    Ok(room)
}

/// Appends an event to a room, if the room's state allows it.
pub(super) fn append(
    write: &RoomWrite<'_>,
    author: Author<'_>,
    room: &RoomRow,
    draft: &Draft,
) -> Result<Arc<StoredEvent>, Refusal> {
    let rules = rules(&room.version)?;
    let auth = AuthState::select(write, author, room, &rules, draft)?;
    let mut extremities = write.extremities(room)?;
    extremities.truncate(MAX_PREV_EVENTS);
    let object = object(author, draft, Some(&room.room_id), &extremities, &auth.ids);
    let built = Built::new(author, &rules, object)?;
    let pdu = Pdu::parse(built.event_id.clone(), &built.json)?;
    let forbidden = |e: String| Refusal::Forbidden(e.into());
    check_state_independent_auth_rules(&rules.authorization, &pdu, |id: &EventId| {
        auth.by_id.get(id).map(Arc::clone)
    })
    .map_err(forbidden)?;
    check_state_dependent_auth_rules(&rules.authorization, &pdu, |kind: &StateEventType, key: &str| {
        auth.fetch(write, room, kind, key)
    })
    .map_err(forbidden)?;
    if let Some(failure) = auth.failure.into_inner() {
        return Err(failure);
    }
    insert(write, author, room, draft, &built, (&extremities, &auth.ids))
}

/// State by type and key; `None`: known to be absent.
type StateMap = BTreeMap<(String, String), Option<Arc<Pdu>>>;

/// The state that says whether an event may be sent.
struct AuthState {
    /// The auth events, in the order of their selection.
    ids: Vec<OwnedEventId>,
    by_id: BTreeMap<OwnedEventId, Arc<Pdu>>,
    by_key: RefCell<StateMap>,
    failure: RefCell<Option<Refusal>>,
}

impl AuthState {
    fn select(
        write: &RoomWrite<'_>,
        author: Author<'_>,
        room: &RoomRow,
        rules: &RoomVersionRules,
        draft: &Draft,
    ) -> Result<Self, Refusal> {
        let content = RawValue::from_string(canonical(&draft.content)?)
            .map_err(|e| Refusal::BadJson(e.to_string().into()))?;
        let types = auth_types_for_event(
            &TimelineEventType::from(&*draft.kind),
            author.sender,
            draft.state_key.as_deref(),
            &content,
            &rules.authorization,
        )
        .map_err(|e| Refusal::BadJson(e.into()))?;
        let mut selected = Self {
            ids: Vec::new(),
            by_id: BTreeMap::new(),
            by_key: RefCell::default(),
            failure: RefCell::default(),
        };
        for (kind, key) in types {
            if let Some(pdu) = selected.fetch(write, room, &kind, &key) {
                let id = ruma::state_res::Event::event_id(&*pdu).clone();
                selected.ids.push(id.clone());
                selected.by_id.insert(id, pdu);
            }
        }
        // Version 12: named by the room ID instead of by auth_events.
        if let Some(create) = selected.fetch(write, room, &StateEventType::RoomCreate, "") {
            selected.by_id.insert(ruma::state_res::Event::event_id(&*create).clone(), create);
        }
        match selected.failure.take() {
            Some(failure) => Err(failure),
            None => Ok(selected),
        }
    }

    /// The rules ask for state through a function that cannot fail: a failure is kept for afterwards.
    fn fetch(
        &self,
        write: &RoomWrite<'_>,
        room: &RoomRow,
        kind: &StateEventType,
        key: &str,
    ) -> Option<Arc<Pdu>> {
        let name = (kind.to_string(), key.to_owned());
        if let Some(known) = self.by_key.borrow().get(&name) {
            return known.clone();
        }
        let found = write
            .state(room, &name.0, key)
            .map_err(Refusal::from)
            .and_then(|event| event.map(|event| Pdu::of(&event)).transpose());
        match found {
            Ok(pdu) => {
                self.by_key.borrow_mut().insert(name, pdu.clone());
                pdu
            }
            Err(e) => {
                self.failure.replace(Some(e));
                None
            }
        }
    }
}

/// An event that is hashed, signed and of the right format.
struct Built {
    event_id: OwnedEventId,
    json: String,
    depth: u64,
}

impl Built {
    fn new(
        author: Author<'_>,
        rules: &RoomVersionRules,
        mut object: CanonicalJsonObject,
    ) -> Result<Self, Refusal> {
        let too_large = || Refusal::TooLarge(format!("an event has at most {MAX_PDU_BYTES} bytes").into());
        author.signer.hash_and_sign(&mut object, &rules.redaction).map_err(|e| match e {
            JsonError::PduTooLarge => too_large(),
            e => Refusal::BadJson(e.to_string().into()),
        })?;
        let json = canonical(&object)?;
        if json.len() > MAX_PDU_BYTES {
            return Err(too_large());
        }
        check_pdu_format(&object, &rules.event_format).map_err(|e| Refusal::BadJson(e.into()))?;
        let hash = reference_hash(&object, rules).map_err(|e| Refusal::BadJson(e.to_string().into()))?;
        let event_id = OwnedEventId::try_from(format!("${hash}"))
            .map_err(|e| Refusal::Internal(format!("reference hash: {e}")))?;
        let depth = match object.get("depth") {
            Some(CanonicalJsonValue::Integer(depth)) => i64::from(*depth).cast_unsigned(),
            _ => 0,
        };
        Ok(Self { event_id, json, depth })
    }
}

fn object(
    author: Author<'_>,
    draft: &Draft,
    room_id: Option<&RoomId>,
    follows: &[Extremity],
    auth_events: &[OwnedEventId],
) -> CanonicalJsonObject {
    let text = |text: &str| CanonicalJsonValue::String(text.to_owned());
    let number = |n: u64| CanonicalJsonValue::Integer(ruma::Int::try_from(n).unwrap_or(ruma::Int::MAX));
    let depth = follows.iter().map(|e| e.depth).max().unwrap_or(0).saturating_add(1);
    let mut object = CanonicalJsonObject::from_iter([
        ("auth_events".to_owned(), auth_events.iter().map(|id| text(id.as_str())).collect::<Vec<_>>().into()),
        ("content".to_owned(), draft.content.clone().into()),
        ("depth".to_owned(), number(depth)),
        ("origin_server_ts".to_owned(), number(author.now_ms)),
        (
            "prev_events".to_owned(),
            follows.iter().map(|e| text(e.event_id.as_str())).collect::<Vec<_>>().into(),
        ),
        ("sender".to_owned(), text(author.sender.as_str())),
        ("type".to_owned(), text(&draft.kind)),
    ]);
    if let Some(room_id) = room_id {
        object.insert("room_id".to_owned(), text(room_id.as_str()));
    }
    if let Some(key) = &draft.state_key {
        object.insert("state_key".to_owned(), text(key));
    }
    if let Some(redacts) = &draft.redacts {
        object.insert("redacts".to_owned(), text(redacts.as_str()));
    }
    object
}

fn insert(
    write: &RoomWrite<'_>,
    author: Author<'_>,
    room: &RoomRow,
    draft: &Draft,
    built: &Built,
    (follows, auth_events): (&[Extremity], &[OwnedEventId]),
) -> Result<Arc<StoredEvent>, Refusal> {
    let text = |object: &CanonicalJsonObject, key: &str| {
        object.get(key).and_then(CanonicalJsonValue::as_str).map(str::to_owned)
    };
    let relation = draft.content.get("m.relates_to").and_then(CanonicalJsonValue::as_object);
    let relation = relation.and_then(|r| Some((text(r, "event_id")?, text(r, "rel_type"))));
    let membership = match &draft.state_key {
        Some(user) if draft.kind == "m.room.member" => {
            let word = text(&draft.content, "membership").unwrap_or_default();
            let membership =
                Membership::parse(&word).ok_or_else(|| Refusal::BadJson("not a membership".into()))?;
            Some((user.as_str(), membership, invite_state(write, room, author, membership)?))
        }
        _ => None,
    };
    let event = write.append(
        room,
        &NewEvent {
            event_id: &built.event_id,
            kind: &draft.kind,
            state_key: draft.state_key.as_deref(),
            sender: author.sender,
            origin_server_ts: author.now_ms,
            depth: built.depth,
            pdu: &built.json,
            follows,
            auth_events,
            relates_to: relation.as_ref().map(|(event, how)| (event.as_str(), how.as_deref())),
            transaction: author.transaction,
            membership,
        },
    )?;
    Ok(event)
}

/// What somebody who is invited (or knocks) is shown of the room, as a JSON list.
fn invite_state(
    write: &RoomWrite<'_>,
    room: &RoomRow,
    author: Author<'_>,
    membership: Membership,
) -> Result<Option<String>, Refusal> {
    if !matches!(membership, Membership::Invite | Membership::Knock) {
        return Ok(None);
    }
    let mut shown = Vec::new();
    for kind in SHOWN_TO_INVITED {
        shown.extend(write.state(room, kind, "")?);
    }
    if membership == Membership::Invite {
        shown.extend(write.state(room, "m.room.member", author.sender.as_str())?);
    }
    let stripped: Vec<_> = shown.iter().map(|event| stripped_event(event)).collect();
    serde_json::to_string(&stripped).map(Some).map_err(|e| Refusal::Internal(e.to_string()))
}

/// Canonical JSON as text.
pub(super) fn canonical(object: &CanonicalJsonObject) -> Result<String, Refusal> {
    serde_json::to_string(object).map_err(|e| Refusal::BadJson(e.to_string().into()))
}
