//! Many PDUs at once: read, their keys asked for once, their signatures verified off the asynchronous workers.

use std::sync::Arc;

use ruma::{OwnedEventId, RoomId, room_version_rules::RoomVersionRules};
use serde_json::value::RawValue;

use super::{
    check::{Checked, Flaw, Unproven, read},
    elsewhere::Elsewhere,
};
use crate::server::{
    keys::{EventKeys, NeededKeys},
    rooms::parts::Rooms,
};

/// PDUs that are verified in one go: some milliseconds of computing.
const AT_ONCE: usize = 64;

impl Rooms {
    /// Verifies PDUs; each with its ID, or what is wrong with it.
    pub(in crate::server::rooms) async fn prove<E: Elsewhere>(
        &self,
        elsewhere: &E,
        rules: &RoomVersionRules,
        pdus: Vec<Unproven>,
    ) -> Vec<(OwnedEventId, Result<Checked, Flaw>)> {
        let mut needs = NeededKeys::new();
        pdus.iter().for_each(|pdu| pdu.need(rules, &mut needs));
        let keys = Arc::new(self.keys(elsewhere, needs).await);
        let mut proven = Vec::with_capacity(pdus.len());
        let mut pdus = pdus.into_iter().peekable();
        while pdus.peek().is_some() {
            let some: Vec<Unproven> = pdus.by_ref().take(AT_ONCE).collect();
            let ids: Vec<OwnedEventId> = some.iter().map(|pdu| pdu.event_id().to_owned()).collect();
            let (rules, keys) = (rules.clone(), Arc::clone(&keys));
            let verify = move || some.into_iter().map(|pdu| pdu.prove(&rules, &keys)).collect::<Vec<_>>();
            let interrupted = |e: tokio::task::JoinError| {
                let flaw = Flaw::Signature(format!("verifying was interrupted: {e}"));
                ids.iter().map(|_| Err(flaw.clone())).collect()
            };
            let results = tokio::task::spawn_blocking(verify).await.unwrap_or_else(interrupted);
            proven.extend(ids.into_iter().zip(results));
        }
        proven
    }

    /// Those of the texts that are PDUs of `room`, and are right; what is wrong with the others nobody asks.
    pub(super) async fn prove_texts<E: Elsewhere>(
        &self,
        elsewhere: &E,
        rules: &RoomVersionRules,
        room: &RoomId,
        texts: &[Box<RawValue>],
    ) -> Vec<Checked> {
        let mut needs = NeededKeys::new();
        for text in texts {
            if let Ok(pdu) = read(rules, room, text.get()) {
                pdu.need(rules, &mut needs);
            }
        }
        let keys = Arc::new(self.keys(elsewhere, needs).await);
        self.prove_with(&keys, rules, room, texts.to_vec()).await
    }

    /// The same with keys that are known. Of few of them more than the text is in memory at once.
    pub(super) async fn prove_with(
        &self,
        keys: &Arc<EventKeys>,
        rules: &RoomVersionRules,
        room: &RoomId,
        texts: Vec<Box<RawValue>>,
    ) -> Vec<Checked> {
        let mut right = Vec::with_capacity(texts.len());
        let mut texts = texts.into_iter().peekable();
        while texts.peek().is_some() {
            let some: Vec<Box<RawValue>> = texts.by_ref().take(AT_ONCE).collect();
            let (rules, keys, room) = (rules.clone(), Arc::clone(keys), room.to_owned());
            let verify = move || {
                let verified = some.iter().filter_map(|text| {
                    let checked = read(&rules, &room, text.get()).and_then(|pdu| pdu.prove(&rules, &keys));
                    checked
                        .inspect_err(
                            |flaw| tracing::debug!(%room, %flaw, "an event that was asked for is dropped"),
                        )
                        .ok()
                });
                verified.collect::<Vec<_>>()
            };
            match tokio::task::spawn_blocking(verify).await {
                Ok(some) => right.extend(some),
                Err(error) => tracing::debug!(%error, "verifying was interrupted"),
            }
        }
        right
    }

    /// These keys, as far as they can be found out; this server's are known here.
    pub(in crate::server::rooms) async fn keys<E: Elsewhere>(
        &self,
        elsewhere: &E,
        mut needed: NeededKeys,
    ) -> EventKeys {
        let own = self.signer.event_keys();
        needed = own.lacking(&needed);
        needed.remove(&self.server_name);
        if needed.is_empty() {
            return own;
        }
        let mut keys = elsewhere.keys(needed).await;
        keys.join(own);
        keys
    }
}
