//! Events that are known only because others rest upon them: kept if their own auth events allow them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ruma::{OwnedEventId, room_version_rules::RoomVersionRules};

use super::{check::Checked, form::named_create, order::in_order};
use crate::server::{
    rooms::{judge::by_auth_events, parts::Rooms, pdu::Pdu, refusal::Refusal},
    store::{NewEvent, NotCommitted, RoomChange, RoomCommit, RoomRow},
};

/// Events in one write: others do not wait long for it.
const PAGE: usize = 200;

impl Rooms {
    /// Keeps those of `events` that are not here and of which all auth events are, or come with them.
    pub(super) async fn keep_outliers(
        &self,
        room: &RoomRow,
        rules: &RoomVersionRules,
        events: Vec<Checked>,
    ) -> Result<(), Refusal> {
        let (events, _) = in_order(events, Checked::event_id, |event| event.auth_events().cloned().collect());
        let mut known: BTreeMap<OwnedEventId, Arc<Pdu>> = BTreeMap::new();
        for page in events.chunks(PAGE) {
            self.know(room, rules, page, &mut known).await?;
            let (mut rows, mut rejected) = (Vec::new(), BTreeSet::new());
            for event in page {
                if known.contains_key(event.event_id()) {
                    continue;
                }
                let create = named_create(rules, &room.room_id).filter(|_| !event.is_create());
                let auth: Option<BTreeMap<OwnedEventId, Arc<Pdu>>> = event
                    .auth_events()
                    .chain(&create)
                    .map(|id| Some((id.clone(), Arc::clone(known.get(id)?))))
                    .collect();
                let Some(auth) = auth else { continue };
                self.judged.add(1);
                let pdu = match by_auth_events(&rules.authorization, &event.pdu, &auth) {
                    Ok(()) => Arc::clone(&event.pdu),
                    Err(why) => {
                        tracing::debug!(event = %event.event_id(), why, "an event that others rest upon is not allowed");
                        rejected.insert(event.event_id().to_owned());
                        event.pdu.as_rejected()
                    }
                };
                rows.push(event.row(&room.room_id, false, None));
                known.insert(event.event_id().to_owned(), pdu);
            }
            self.write_outliers(room, rows, rejected).await?;
        }
        Ok(())
    }

    /// Reads what is here of some events and of what allows them.
    async fn know(
        &self,
        room: &RoomRow,
        rules: &RoomVersionRules,
        events: &[Checked],
        known: &mut BTreeMap<OwnedEventId, Arc<Pdu>>,
    ) -> Result<(), Refusal> {
        let mut ids: BTreeSet<OwnedEventId> =
            events.iter().map(|event| event.event_id().to_owned()).collect();
        ids.extend(events.iter().flat_map(Checked::auth_events).cloned());
        ids.extend(named_create(rules, &room.room_id));
        ids.retain(|id| !known.contains_key(id));
        let ids: Vec<OwnedEventId> = ids.into_iter().collect();
        for (id, event) in self.store.graph_events(&ids).await? {
            if event.room_id == room.room_id {
                known.insert(id, Pdu::of_graph(&event)?);
            }
        }
        Ok(())
    }

    pub(super) async fn write_outliers(
        &self,
        room: &RoomRow,
        events: Vec<NewEvent>,
        rejected: BTreeSet<OwnedEventId>,
    ) -> Result<(), Refusal> {
        if events.is_empty() {
            return Ok(());
        }
        let change = RoomChange::Outliers { room: room.room_id.clone(), events, rejected };
        let commit = RoomCommit { changes: vec![change], ..RoomCommit::default() };
        match self.store.commit_rooms(commit).await?.await {
            Ok(_) => Ok(()),
            Err(NotCommitted::Store(e)) => Err(e.into()),
            Err(e) => Err(Refusal::Internal(format!("outliers cannot be kept: {e:?}"))),
        }
    }
}
