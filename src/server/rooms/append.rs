//! From a draft to an event of a room: references, hash, signature, and every check that another server would make.
//!
//! Server-server API, "Checks performed on receipt of a PDU" and "Auth events selection".

use std::{collections::BTreeMap, sync::Arc};

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedRoomId, RoomId, RoomVersionId, UserId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
    signatures::{JsonError, reference_hash},
    state_res::{auth_types_for_event, check_pdu_format},
};
use serde_json::value::RawValue;

use super::{
    bounds::{
        MAX_AWAITED_ROOMS, MAX_AWAITED_ROOMS_WITH_CONTACTS, MAX_INVITES_BY_ONE, MAX_JOINED_ROOMS,
        MAX_PDU_BYTES,
    },
    coming::{Place, Places},
    draft::{Draft, Told},
    invite::check_invite,
    judge::{Evidence, State, Verdict, judge},
    parts::Rooms,
    pdu::Pdu,
    proposal::{Author, Proposal},
    refusal::Refusal,
};
use crate::server::{
    event::stored::Membership,
    keys::Signer,
    store::{Extremity, NewEvent, RoomRow},
};

/// Forward extremities that one event follows, at most (room version 1, "Event format").
pub(super) const MAX_PREV_EVENTS: usize = 20;

/// The state that somebody who is invited is shown (client-server API, "Stripped state").
pub(super) const SHOWN_TO_INVITED: [&str; 8] = [
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
    "m.room.history_visibility",
];

/// The rules of a room version that this server has rooms of.
pub(super) fn rules(version: &RoomVersionId) -> Result<RoomVersionRules, Refusal> {
    version.rules().ok_or(Refusal::UnsupportedVersion)
}

impl Proposal<'_> {
    /// Makes a room of an `m.room.create` draft. Before version 12, its ID is `room_id`.
    pub(super) async fn append_create(
        &mut self,
        version: &RoomVersionId,
        room_id: OwnedRoomId,
        listed: bool,
        draft: Draft,
    ) -> Result<RoomRow, Refusal> {
        let rules = rules(version)?;
        let named = !rules.authorization.room_create_event_id_as_room_id;
        let object = object(&self.author, &draft, named.then_some(&*room_id), &[], &[]);
        let built = Built::new(&self.rooms.signer, &rules, object)?;
        let room_id = if named {
            room_id
        } else {
            let id = format!("!{}", built.event_id.as_str().trim_start_matches('$'));
            OwnedRoomId::try_from(id).map_err(|e| Refusal::Internal(e.to_string()))?
        };
        let pdu = Arc::new(Pdu::parse(built.event_id.clone(), &built.json)?);
        let (nothing, no_state) = (BTreeMap::new(), State::new());
        let evidence = Evidence { auth_events: &nothing, before: Some(&no_state), current: &no_state };
        self.rooms.judged.add(1);
        match judge(&rules.authorization, &pdu, evidence) {
            Verdict::Accepted => {}
            Verdict::Rejected(why) | Verdict::SoftFailed(why) => {
                return Err(Refusal::InvalidState(why.into()));
            }
            Verdict::Missing(ids) => return Err(Refusal::Internal(format!("a first event names {ids:?}"))),
        }
        let room = RoomRow { room_id, version: version.clone(), listed };
        self.create_room(&room);
        self.insert(&room, &draft, &pdu, built, (&[], Vec::new())).await?;
        Ok(room)
    }

    /// Appends an event to a room, if the room's state allows it, and an invite if it is wanted.
    pub(super) async fn append(&mut self, room: &RoomRow, draft: &Draft) -> Result<Arc<Pdu>, Refusal> {
        let rules = rules(&room.version)?;
        let Drawn { object, state, follows, auth_ids } = self.draw(room, &rules, draft).await?;
        let built = Built::new(&self.rooms.signer, &rules, object)?;
        let pdu = Arc::new(Pdu::parse(built.event_id.clone(), &built.json)?);
        self.check_allowed(&rules, &pdu, &state)?;
        check_invite(self, room, draft).await?;
        self.insert(room, draft, &pdu, built, (&follows, auth_ids)).await?;
        Ok(pdu)
    }

    /// An event as it would be appended if it were signed, if the room's state allows it. Nothing is changed.
    pub(super) async fn template(
        &mut self,
        room: &RoomRow,
        draft: &Draft,
    ) -> Result<CanonicalJsonObject, Refusal> {
        let rules = rules(&room.version)?;
        let Drawn { object, state, .. } = self.draw(room, &rules, draft).await?;
        let unsigned = reference_hash(&object, &rules).map_err(|e| Refusal::BadJson(e.to_string().into()))?;
        let id = OwnedEventId::try_from(format!("${unsigned}"))
            .map_err(|e| Refusal::Internal(format!("reference hash: {e}")))?;
        self.check_allowed(&rules, &Pdu::parse(id, &canonical(&object)?)?, &state)?;
        Ok(object)
    }

    /// An event signed as it would be appended, if the room's state allows it: its ID and canonical JSON. Nothing is
    /// changed.
    pub(super) async fn signed(
        &mut self,
        room: &RoomRow,
        draft: &Draft,
    ) -> Result<(OwnedEventId, String), Refusal> {
        let rules = rules(&room.version)?;
        let Drawn { object, state, .. } = self.draw(room, &rules, draft).await?;
        let Built { event_id, json, .. } = Built::new(&self.rooms.signer, &rules, object)?;
        self.check_allowed(&rules, &Pdu::parse(event_id.clone(), &json)?, &state)?;
        Ok((event_id, json))
    }

    /// Whether `state`, which the event names, allows it.
    fn check_allowed(&self, rules: &RoomVersionRules, pdu: &Pdu, state: &State) -> Result<(), Refusal> {
        let auth_events = state.values().map(|pdu| (pdu.id().to_owned(), Arc::clone(pdu))).collect();
        self.rooms.judged.add(1);
        let evidence = Evidence { auth_events: &auth_events, before: Some(state), current: state };
        match judge(&rules.authorization, pdu, evidence) {
            Verdict::Accepted => Ok(()),
            Verdict::Rejected(why) | Verdict::SoftFailed(why) => Err(Refusal::Forbidden(why.into())),
            Verdict::Missing(ids) => Err(Refusal::Internal(format!("own events are missing: {ids:?}"))),
        }
    }

    /// A draft at the end of a room, with all but hash and signature.
    async fn draw(&self, room: &RoomRow, rules: &RoomVersionRules, draft: &Draft) -> Result<Drawn, Refusal> {
        let (state, auth_ids) = self.auth_state(room, rules, draft).await?;
        let mut follows = self.extremities(room);
        follows.truncate(MAX_PREV_EVENTS);
        let object = object(&self.author, draft, Some(&room.room_id), &follows, &auth_ids);
        Ok(Drawn { object, state, follows, auth_ids })
    }

    /// The state that says whether an event may be sent, and the IDs of it that the event names.
    async fn auth_state(
        &self,
        room: &RoomRow,
        rules: &RoomVersionRules,
        draft: &Draft,
    ) -> Result<(State, Vec<OwnedEventId>), Refusal> {
        let content = RawValue::from_string(canonical(&draft.content)?)
            .map_err(|e| Refusal::BadJson(e.to_string().into()))?;
        let types = auth_types_for_event(
            &TimelineEventType::from(&*draft.kind),
            &self.author.sender,
            draft.state_key.as_deref(),
            &content,
            &rules.authorization,
        )
        .map_err(|e| Refusal::BadJson(e.into()))?;
        let (mut state, mut ids) = (State::new(), Vec::new());
        for (kind, key) in types {
            let name = (kind.to_string(), key);
            if let Some(pdu) = self.state(room, &name.0, &name.1).await? {
                ids.push(pdu.id().to_owned());
                state.insert(name, pdu);
            }
        }
        // Version 12: named by the room ID instead of by auth_events.
        if let Some(create) = self.state(room, "m.room.create", "").await? {
            state.insert((StateEventType::RoomCreate.to_string(), String::new()), create);
        }
        Ok((state, ids))
    }

    async fn insert(
        &mut self,
        room: &RoomRow,
        draft: &Draft,
        pdu: &Arc<Pdu>,
        built: Built,
        (follows, auth_events): (&[Extremity], Vec<OwnedEventId>),
    ) -> Result<(), Refusal> {
        let text = |object: &CanonicalJsonObject, key: &str| {
            object.get(key).and_then(CanonicalJsonValue::as_str).map(str::to_owned)
        };
        let relation = draft.content.get("m.relates_to").and_then(CanonicalJsonValue::as_object);
        let relates_to = relation.and_then(|r| Some((text(r, "event_id")?, text(r, "rel_type"))));
        let membership = if draft.state_key.is_some() && draft.kind == "m.room.member" {
            let word = text(&draft.content, "membership").unwrap_or_default();
            let membership =
                Membership::parse(&word).ok_or_else(|| Refusal::BadJson("not a membership".into()))?;
            self.check_room_for_more(room, draft, membership)?;
            Some((membership, self.invite_state(room, membership).await?))
        } else {
            None
        };
        let once = self.author.once.as_ref();
        let event = NewEvent {
            room: room.room_id.clone(),
            event_id: built.event_id,
            kind: draft.kind.clone(),
            state_key: draft.state_key.clone(),
            sender: self.author.sender.clone(),
            origin_server_ts: self.author.origin_server_ts(),
            depth: built.depth,
            pdu: built.json,
            prev_events: follows.iter().map(|e| e.event_id.clone()).collect(),
            auth_events,
            relates_to,
            transaction: once.map(|once| (once.device.clone(), once.transaction.clone())),
            membership,
            unasked: false,
            hidden: false,
            on_behalf: draft.told == Told::AtOnce,
        };
        self.add(event, pdu);
        Ok(())
    }

    /// Whether who becomes something in `room` is not in too many rooms already.
    fn check_room_for_more(
        &mut self,
        room: &RoomRow,
        draft: &Draft,
        becomes: Membership,
    ) -> Result<(), Refusal> {
        let Some(user) = draft.state_key.as_deref().and_then(|key| <&UserId>::try_from(key).ok()) else {
            return Ok(());
        };
        let (rooms, by) = (self.rooms, self.author.sender.clone());
        let mut coming = rooms.coming.lock();
        match (becomes, rooms.members.membership(user, &room.room_id)) {
            (becomes, Some(is)) if becomes == is => return Ok(()),
            (Membership::Join, _) => rooms.check_can_join(&coming, user)?,
            (Membership::Invite, None) => rooms.check_can_invite(&coming, &by, user)?,
            (Membership::Knock, None) => rooms.check_can_knock(&coming, user)?,
            (Membership::Invite | Membership::Knock, Some(_)) | (Membership::Leave | Membership::Ban, _) => {
                return Ok(());
            }
        }
        let place = Place { room: room.room_id.clone(), becomes, by };
        self.coming.push(rooms.coming.keep(&mut coming, user, place));
        Ok(())
    }

    /// What somebody who is invited (or knocks) is shown of the room, as a JSON list.
    async fn invite_state(&self, room: &RoomRow, membership: Membership) -> Result<Option<String>, Refusal> {
        if !matches!(membership, Membership::Invite | Membership::Knock) {
            return Ok(None);
        }
        let mut shown = Vec::new();
        for kind in SHOWN_TO_INVITED {
            shown.extend(self.state(room, kind, "").await?);
        }
        if membership == Membership::Invite {
            shown.extend(self.state(room, "m.room.member", self.author.sender.as_str()).await?);
        }
        let stripped: Vec<_> = shown.iter().map(|pdu| pdu.stripped()).collect();
        serde_json::to_string(&stripped).map(Some).map_err(|e| Refusal::Internal(e.to_string()))
    }
}

impl Rooms {
    /// Whether `user` may be in one room more, beside those that they are `coming` into.
    pub(super) fn check_can_join(&self, coming: &Places, user: &UserId) -> Result<(), Refusal> {
        let more = coming.count(&self.members, user, |place| place.becomes == Membership::Join);
        if self.members.rooms_of(user).0 + more < MAX_JOINED_ROOMS {
            return Ok(());
        }
        Err(Refusal::Forbidden(format!("{user} is in {MAX_JOINED_ROOMS} rooms and has to leave one").into()))
    }

    /// Whether `inviter` may invite `user` to one room more. Counted apart from what is joined: who invites somebody often
    /// keeps them out of nothing that they want to join. How many invitations there are of others is nobody's business.
    pub(super) fn check_can_invite(
        &self,
        coming: &Places,
        inviter: &UserId,
        user: &UserId,
    ) -> Result<(), Refusal> {
        let is_by_inviter = |place: &Place| place.becomes == Membership::Invite && place.by == inviter;
        let more = coming.count(&self.members, user, is_by_inviter);
        if self.members.invites_by(inviter, user) + more >= MAX_INVITES_BY_ONE {
            return Err(Refusal::Forbidden("this user has too many invitations from you".into()));
        }
        let most = match self.may_begin.is_contact(inviter, user) {
            true => MAX_AWAITED_ROOMS_WITH_CONTACTS,
            false => MAX_AWAITED_ROOMS,
        };
        if self.awaited_by(coming, user) < most { Ok(()) } else { Err(Refusal::Unwanted) }
    }

    /// Whether `user` may knock at one room more.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`].
    pub fn check_can_knock_more(&self, user: &UserId) -> Result<(), Refusal> {
        self.check_can_knock(&self.coming.lock(), user)
    }

    fn check_can_knock(&self, coming: &Places, user: &UserId) -> Result<(), Refusal> {
        if self.awaited_by(coming, user) < MAX_AWAITED_ROOMS {
            return Ok(());
        }
        let why = format!("{user} has {MAX_AWAITED_ROOMS} invitations and knocks that are not answered");
        Err(Refusal::Forbidden(why.into()))
    }

    /// How many rooms `user` is invited to or knocks at, or is about to.
    fn awaited_by(&self, coming: &Places, user: &UserId) -> usize {
        let is_awaited = |place: &Place| matches!(place.becomes, Membership::Invite | Membership::Knock);
        self.members.rooms_of(user).1 + coming.count(&self.members, user, is_awaited)
    }
}

/// An event without hash and signature, what allows it, and what it follows.
struct Drawn {
    object: CanonicalJsonObject,
    state: State,
    follows: Vec<Extremity>,
    auth_ids: Vec<OwnedEventId>,
}

/// An event that is hashed, signed and of the right format.
pub(super) struct Built {
    pub(super) event_id: OwnedEventId,
    pub(super) json: String,
    depth: u64,
}

impl Built {
    pub(super) fn new(
        signer: &Signer,
        rules: &RoomVersionRules,
        mut object: CanonicalJsonObject,
    ) -> Result<Self, Refusal> {
        let too_large = || Refusal::TooLarge(format!("an event has at most {MAX_PDU_BYTES} bytes").into());
        signer.hash_and_sign(&mut object, &rules.redaction).map_err(|e| match e {
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
    author: &Author,
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
        ("origin_server_ts".to_owned(), number(author.origin_server_ts())),
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

/// Canonical JSON as text.
pub(super) fn canonical(object: &CanonicalJsonObject) -> Result<String, Refusal> {
    serde_json::to_string(object).map_err(|e| Refusal::BadJson(e.to_string().into()))
}
