//! Files of other servers: fetched when somebody looks at one, kept while there is room, and let go by who was not looked at
//! for longest.

use std::sync::Arc;

use axum::body::Body;
use ruma::{OwnedServerName, UserId};

use super::{
    folder::FileName,
    kept::{Media, stored},
    receive::{Described, aside, unless_ended},
    refusal::Refusal,
    under_way::Place,
};
use crate::server::finish::finish;

/// Files that are let go in one step.
const STEP: u32 = 50;

/// A file that is being fetched, until dropped.
#[derive(Debug)]
pub struct Fetch {
    media: Arc<Media>,
    key: (OwnedServerName, String),
    place: Place,
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.media.fetching.end(&self.key);
        self.media.uploaded.notify_waiters();
    }
}

impl Media {
    /// Begins to fetch a file for `who`; `None`: somebody does so already, see [`Self::find`].
    ///
    /// # Errors
    /// [`Refusal::Busy`] when many are.
    pub fn fetch(
        self: &Arc<Self>,
        who: &UserId,
        server: &OwnedServerName,
        id: &str,
    ) -> Result<Option<Fetch>, Refusal> {
        let key = (server.clone(), id.to_owned());
        let place = self.fetching.begin(who, &key)?;
        Ok(place.map(|place| Fetch { media: Arc::clone(self), key, place }))
    }
}

impl Fetch {
    /// What its server says, unless it has to make room for another before.
    ///
    /// # Errors
    /// [`Refusal::TooSlow`], and those of `asking`.
    pub async fn ask<T>(&self, asking: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        unless_ended(asking, self.place.ended()).await
    }

    /// Keeps what comes, to its end even if who asked for it goes away.
    ///
    /// # Errors
    /// [`Refusal::RemoteTooLarge`], [`Refusal::ServerFull`], [`Refusal::TooSlow`] and what can be wrong with a body.
    pub async fn keep(self, body: Body, described: Described) -> Result<(), Refusal> {
        finish(async move {
            let media = Arc::clone(&self.media);
            let most = media.remote_cache.min(media.max_upload_size);
            let grow = |bytes: u64| match bytes > most {
                true => Err(Refusal::RemoteTooLarge),
                false => media.fetching.note(&self.place, bytes),
            };
            let (file, size) = unless_ended(media.receiver.fetch(body, grow), self.place.ended()).await?;
            let (server, id) = self.key.clone();
            let row = stored(&file, size, described)?;
            let put = media.store.put_borrowed_media(server, id, row, media.clock.unix_ms());
            media.settle(file, put).await?;
            media.let_go().await
        })
        .await
    }
}

impl Media {
    /// Lets files of other servers go until the rest has room.
    async fn let_go(&self) -> Result<(), Refusal> {
        let mut over = self.store.media_totals().await?.borrowed.saturating_sub(self.remote_cache);
        while over > 0 {
            let oldest = self.store.oldest_borrowed_media(STEP).await?;
            if oldest.is_empty() {
                return Ok(());
            }
            for (file, size) in oldest {
                if over == 0 {
                    break;
                }
                let name = FileName::parse(&file);
                if let Some(name) = name.clone() {
                    let folder = Arc::clone(&self.folder);
                    aside(move || folder.unsettle(&name)).await?;
                }
                self.store.forget_borrowed_media(file.clone()).await?;
                if let Some(name) = name {
                    let folder = Arc::clone(&self.folder);
                    aside(move || folder.remove_unsettled(&name)).await?;
                }
                self.forget_thumbnails(file).await?;
                over = over.saturating_sub(size);
            }
        }
        Ok(())
    }
}
