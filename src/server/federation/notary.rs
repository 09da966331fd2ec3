//! Notaries: asking those that the operator trusts for the keys of servers that are gone, and being one for others.
//!
//! A notary can make keys up for a server that cannot be asked, so the word of just any server does not count.
//! Source: Matrix server-server API, "Querying keys through another server".

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use ruma::{CanonicalJsonObject, OwnedServerName, ServerName, signatures::verify_json};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    key_document::{KeyDocument, signed_by, unproven},
    key_error::KeyError,
    keyring::{Asker, Keyring},
};
use crate::{
    core::time::UnixMillis,
    server::{
        keys::{EventKey, NeededKeys},
        limits::Origin,
        store::StoreError,
    },
};

/// Servers that a notary is asked for in one request: the answer is to fit what is read of one.
const IN_ONE_REQUEST: usize = 50;

const QUERY: &str = "/_matrix/key/v2/query";

#[derive(Serialize)]
struct Query<'a> {
    server_keys: BTreeMap<&'a ServerName, BTreeMap<&'a str, Criteria>>,
}

#[derive(Serialize)]
struct Criteria {
    minimum_valid_until_ts: u64,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    server_keys: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Named {
    server_name: OwnedServerName,
}

impl Keyring {
    /// Asks a trusted notary for keys, and keeps what it says of those that are needed.
    pub(super) async fn ask_notary(
        &self,
        notary: &ServerName,
        needed: &NeededKeys,
    ) -> Result<(), StoreError> {
        for batch in batches(needed, IN_ONE_REQUEST) {
            match self.asked_notary(notary, &batch).await {
                Ok(keys) => self.0.store.add_event_keys(keys).await?,
                Err(KeyError::Store(e)) => return Err(e),
                Err(error) => {
                    tracing::info!(%notary, %error, "a notary says nothing of keys that are needed");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn asked_notary(
        &self,
        notary: &ServerName,
        needed: &NeededKeys,
    ) -> Result<Vec<(OwnedServerName, String, EventKey)>, KeyError> {
        let server_keys = needed.iter().map(|(server, keys)| {
            let keys = keys.iter();
            let keys = keys.map(|(id, at)| (id.as_str(), Criteria { minimum_valid_until_ts: at.0 }));
            (&**server, keys.collect())
        });
        let body =
            serde_json::to_vec(&Query { server_keys: server_keys.collect() }).map_err(|e| unproven(&e))?;
        let answer = self.0.client.request(notary, Method::POST, QUERY, Some(Bytes::from(body))).await;
        let answer = answer.map_err(KeyError::Request)?;
        let Answer { server_keys } = serde_json::from_str(answer.get()).map_err(|e| unproven(&e))?;
        let mut keys = Vec::new();
        for document in server_keys {
            match self.vouched(notary, needed, document.get()).await {
                Ok(said) => keys.extend(rows(&said.server, said.event_keys(self.0.clock.unix()))),
                Err(error) => tracing::debug!(%notary, %error, "keys that a notary sent are left out"),
            }
        }
        Ok(keys)
    }

    /// A document that a notary sent, if it was asked for, and both the notary and the server have signed it.
    async fn vouched(
        &self,
        notary: &ServerName,
        needed: &NeededKeys,
        document: &str,
    ) -> Result<KeyDocument, KeyError> {
        let Named { server_name } = serde_json::from_str(document).map_err(|e| unproven(&e))?;
        if !needed.contains_key(&server_name) {
            return Err(unproven(&"nobody asked for them"));
        }
        let object = signed_by(notary, document)?;
        let ids = signature_ids(&object, notary);
        let id = ids.first().ok_or_else(|| unproven(&"the notary has not signed them"))?;
        let keys = self.keys(notary, id, None).await.map_err(|e| unproven(&e))?;
        verify_json(&keys, &object).map_err(|e| unproven(&e))?;
        KeyDocument::verified(&server_name, document)
    }

    /// What `server` said last of its keys, with the signature of this server beside; asked for again when its keys hold
    /// no longer than `until` (at least now). `None`: it never said anything.
    ///
    /// # Errors
    /// [`StoreError`] when what is kept cannot be read.
    pub async fn notarised(
        &self,
        server: &ServerName,
        until: Option<UnixMillis>,
        origin: Option<Origin>,
    ) -> Result<Option<CanonicalJsonObject>, StoreError> {
        let until = until.unwrap_or_else(|| self.0.clock.unix());
        let mut kept = self.0.store.key_document(server).await?;
        let holds = |kept: &Option<String>| {
            let said = kept.as_deref().and_then(|kept| KeyDocument::verified(server, kept).ok());
            said.is_some_and(|said| said.valid_until >= until)
        };
        if !holds(&kept) && self.0.policy.speaks_with(server) && server != self.0.signer.server_name() {
            let asked = match self.0.server(server).await {
                Ok(entry) => self.0.refresh(&entry, server, Asker::Request(origin)).await,
                Err(e) => Err(e.into()),
            };
            if let Err(error) = asked {
                tracing::debug!(%server, %error, "keys that somebody else wants cannot be had");
            }
            kept = self.0.store.key_document(server).await?;
        }
        let Some(kept) = kept else { return Ok(None) };
        let mut document: CanonicalJsonObject = serde_json::from_str(&kept)
            .map_err(|e| StoreError::Corrupt(format!("key_documents of {server}: {e}")))?;
        match self.0.signer.sign(&mut document) {
            Ok(()) => Ok(Some(document)),
            Err(error) => {
                tracing::debug!(%server, %error, "keys cannot be signed as they were said");
                Ok(None)
            }
        }
    }
}

/// The IDs of the keys with which `signer` has signed `object`.
fn signature_ids(object: &CanonicalJsonObject, signer: &ServerName) -> Vec<String> {
    let signatures = object.get("signatures").and_then(|signatures| signatures.as_object());
    let of_signer = signatures.and_then(|all| all.get(signer.as_str())).and_then(|own| own.as_object());
    of_signer.into_iter().flat_map(|own| own.keys().cloned()).collect()
}

/// What is needed of a few servers at a time, of at most `most`.
fn batches(needed: &NeededKeys, most: usize) -> impl Iterator<Item = NeededKeys> {
    let mut rest = needed.clone();
    std::iter::from_fn(move || {
        let mut batch = BTreeMap::new();
        while batch.len() < most {
            let Some((server, keys)) = rest.pop_first() else { break };
            batch.insert(server, keys);
        }
        (!batch.is_empty()).then_some(batch)
    })
}

/// What a server's keys are, as rows for the store.
fn rows(
    server: &ServerName,
    keys: impl Iterator<Item = (String, EventKey)>,
) -> Vec<(OwnedServerName, String, EventKey)> {
    keys.map(|(id, key)| (server.to_owned(), id, key)).collect()
}
