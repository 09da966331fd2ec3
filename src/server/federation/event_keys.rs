//! Keys for events: what is kept of them, what their servers say, and what notaries say of servers that are gone.

use std::{sync::Arc, time::Duration};

use ruma::ServerName;
use tokio::task::JoinSet;

use super::keyring::{Asker, Inner, Keyring};
use crate::server::{
    keys::{EventKeys, NeededKeys},
    store::StoreError,
};

/// How long whoever has events to verify waits for the keys of their servers.
const PATIENCE: Duration = Duration::from_secs(60);

/// The same when there are notaries, who may know them as well.
const PATIENCE_WITH_NOTARIES: Duration = Duration::from_secs(15);

impl Keyring {
    /// The keys in `needed` with which events are verified, as far as they can be had: kept, asked of their servers, or,
    /// of those that cannot be reached, of the notaries that the operator trusts. A key that is not among them cannot
    /// be had now. Bounded in time, however many servers there are.
    ///
    /// # Errors
    /// [`StoreError`] when what is kept cannot be read.
    pub async fn event_keys(&self, needed: &NeededKeys) -> Result<EventKeys, StoreError> {
        let mut known = self.0.signer.event_keys();
        self.0.read_event_keys(needed, &mut known).await?;
        let lacking = known.lacking(needed);
        let mut asking = JoinSet::new();
        for server in lacking.keys().filter(|server| self.0.may_ask(server)) {
            let (inner, server) = (Arc::clone(&self.0), server.clone());
            asking.spawn(async move { inner.ask_for_events(&server).await });
        }
        let patience = if self.0.notaries.is_empty() { PATIENCE } else { PATIENCE_WITH_NOTARIES };
        if tokio::time::timeout(patience, asking.join_all()).await.is_err() {
            tracing::debug!(servers = lacking.len(), "not every server said in time what its keys are");
        }
        self.0.read_event_keys(&lacking, &mut known).await?;
        let lacking = known.lacking(&lacking);
        for notary in &self.0.notaries {
            let lacking = known.lacking(&lacking);
            if !lacking.is_empty() {
                self.ask_notary(notary, &lacking).await?;
                self.0.read_event_keys(&lacking, &mut known).await?;
            }
        }
        Ok(known)
    }
}

impl Inner {
    /// Whether the server may be asked for its keys at all.
    fn may_ask(&self, server: &ServerName) -> bool {
        server != self.signer.server_name() && self.policy.speaks_with(server)
    }

    /// Adds what is kept of the keys of these servers.
    async fn read_event_keys(&self, needed: &NeededKeys, known: &mut EventKeys) -> Result<(), StoreError> {
        for server in needed.keys().filter(|server| *server != self.signer.server_name()) {
            let kept = self.store.event_keys(server).await?;
            known.extend(kept.into_iter().map(|(id, key)| (server.clone(), id, key)));
        }
        Ok(())
    }

    /// Has a server asked, unless that was a moment ago.
    async fn ask_for_events(self: &Arc<Self>, server: &ServerName) {
        // Waited for before the server's turn is taken: requests of its own do not wait for other servers.
        let place = self.place_for_events().await;
        let asked = match self.server(server).await {
            Ok(entry) => self.refresh(&entry, server, Asker::Events(place)).await,
            Err(e) => Err(Arc::new(e)),
        };
        if let Err(error) = asked {
            tracing::debug!(%server, %error, "the keys of a server that signed events cannot be had");
        }
    }
}
