//! A file by its address, wherever it is.

use std::{pin::pin, sync::Arc, time::Duration};

use ruma::{OwnedServerName, UserId};

use super::parts::App;
use crate::server::{
    federation::{Federation, media::FileError},
    finish::finish,
    media::{Described, Fetch, Found, Refusal},
};

impl App {
    /// The file at `mxc://server/id`; of another server it is fetched for `who`, unless it was lately. One that is not uploaded
    /// yet, or of which nothing has come yet, is waited for, for `patience` at most.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::NotYetUploaded`], [`Refusal::RemoteTooLarge`], [`Refusal::Remote`], and that of a step.
    pub async fn file(
        &self,
        who: &UserId,
        server: &str,
        id: &str,
        patience: Duration,
    ) -> Result<Found, Refusal> {
        let found = self.media.find(server, id, patience).await;
        let (Err(Refusal::NotFound), Some(federation)) = (&found, &self.federation) else { return found };
        let Ok(origin) = OwnedServerName::try_from(server) else { return found };
        if origin == self.server_name() || !self.media.may_be(id) {
            return found;
        }
        let Some(fetch) = self.media.fetch(who, &origin, id)? else {
            return self.media.find(server, id, patience).await;
        };
        // The fetching is everybody's who waits for the file: it goes on when the patience of the first ends.
        let mut fetching = pin!(finish(fetched(Arc::clone(federation), fetch, origin, id.to_owned())));
        let waiting = tokio::select! {
            biased;
            fetched = &mut fetching => fetched,
            found = self.media.find(server, id, patience) => match found {
                // It has just ended in vain.
                Err(Refusal::NotFound) => fetching.await,
                found => return found,
            }
        };
        waiting.map_err(|e| match e {
            Refusal::Unreadable(why) => Refusal::Remote(why),
            Refusal::TooSlow => Refusal::Remote("it did not come in time".to_owned()),
            e => e,
        })?;
        self.media.find(server, id, patience).await
    }
}

/// Asks a server for a file, and keeps it.
async fn fetched(
    federation: Arc<Federation>,
    fetch: Fetch,
    origin: OwnedServerName,
    id: String,
) -> Result<(), Refusal> {
    let asking = async {
        federation.file(&origin, &id).await.map_err(|e| match e {
            FileError::Unknown => Refusal::NotFound,
            e => Refusal::Remote(e.to_string()),
        })
    };
    let coming = fetch.ask(asking).await?;
    let described = Described::by_other(coming.content_type, coming.file_name);
    fetch.keep(coming.body, described).await
}
