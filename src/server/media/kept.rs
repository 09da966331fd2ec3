//! The files that are kept: uploaded, awaited, found.

use std::{fs::File, ops::Range, sync::Arc, time::Duration};

use axum::body::{Body, Bytes};
use ruma::{OwnedServerName, OwnedUserId, ServerName, UserId};
use tokio::sync::{Notify, Semaphore};

use super::{
    desk::Desk,
    fetching::Fetching,
    folder::{FileName, Folder, Readable, Unsettled},
    pieces::{Pieces, READERS},
    receive::{Described, Received, Receiver, Sent, aside},
    refusal::Refusal,
    workshop::Workshop,
};
use crate::server::{
    clock::Clock,
    config::Config,
    finish::finish,
    store::{MediaRow, Store, StoreError, StoredMedia},
};

/// How long an address is kept for which nothing is uploaded.
const AWAITED: Duration = Duration::from_secs(24 * 3600);

/// How long who asks for a file waits at most until it is uploaded.
pub const MAX_PATIENCE: Duration = Duration::from_secs(60);

/// The longest identifier of a file, in bytes.
const MAX_ID: usize = 255;

/// The files.
#[derive(Debug)]
pub struct Media {
    pub(super) store: Arc<Store>,
    pub(super) clock: Clock,
    own: OwnedServerName,
    pub(super) folder: Arc<Folder>,
    pub(super) workshop: Workshop,
    pub(super) receiver: Receiver,
    pub(super) fetching: Fetching,
    pub(super) max_upload_size: u64,
    pub(super) remote_cache: u64,
    pub(super) thumbnail_cache: u64,
    /// What all thumbnails take, in bytes. Who holds it puts some there, or takes some away.
    pub(super) shelf: tokio::sync::Mutex<u64>,
    readers: Arc<Semaphore>,
    /// An awaited file was uploaded.
    pub(super) uploaded: Notify,
}

/// A file that is there.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it is.
    pub(super) what: Readable,
    /// Bytes.
    pub size: u64,
    /// What kind it is, as its owner says, and what it is called.
    pub described: Described,
}

impl Found {
    /// Which thumbnail of its file it is; empty: the file itself.
    pub fn variant(&self) -> &str {
        self.what.thumbnail.as_deref().unwrap_or_default()
    }
}

impl Media {
    /// The files in the data folder. Clears away what a server that ended by force left of uploads.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(store: Arc<Store>, clock: Clock, config: &Config) -> Result<Self, StoreError> {
        let folder = Arc::new(Folder::of(&config.data_dir));
        let totals = store.media_totals().await?;
        if totals.own > 0 && !folder.exists() {
            tracing::warn!("the folder of uploaded files is gone: they are not found until it is restored");
        }
        clear(&store, &folder).await?;
        let desk = Arc::new(Desk::new(config.media, totals.own));
        let keep_free = config.media.keep_free;
        let shelf = tokio::sync::Mutex::new(store.thumbnail_total().await?);
        Ok(Self {
            store,
            clock,
            own: config.server_name.clone(),
            receiver: Receiver { folder: Arc::clone(&folder), desk, keep_free },
            folder,
            workshop: Workshop::default(),
            fetching: Fetching::default(),
            max_upload_size: config.media.max_upload_size,
            remote_cache: config.media.remote_cache,
            thumbnail_cache: config.media.thumbnail_cache,
            shelf,
            readers: Arc::new(Semaphore::new(READERS)),
            uploaded: Notify::new(),
        })
    }

    /// How large a file may be, in bytes.
    pub fn max_upload_size(&self) -> u64 {
        self.max_upload_size
    }

    /// Takes a file of `user` in; without [`Self::keep`] it is gone again.
    ///
    /// # Errors
    /// [`Refusal`], as soon as it shows.
    pub async fn receive(&self, user: &OwnedUserId, sent: Sent) -> Result<Received, Refusal> {
        let used = self.store.media_of(user).await?;
        self.receiver.receive(user, used, sent).await
    }

    /// Keeps a file at a new address; answers with its identifier. Once begun this is brought to its end.
    ///
    /// # Errors
    /// [`Refusal::UserFull`] when others came before it; [`Refusal::Store`].
    pub async fn keep(
        self: &Arc<Self>,
        user: OwnedUserId,
        received: Received,
        described: Described,
    ) -> Result<String, Refusal> {
        let (media, id) = (Arc::clone(self), new_id());
        finish(async move {
            let Received { file, size, turn } = received;
            let stored = stored(&file, size, described)?;
            let (own, now_ms, quota) = (media.own.clone(), media.clock.unix_ms(), media.user_quota());
            let put = media.store.put_media(own, id.clone(), user, stored, now_ms, quota);
            media.settle(file, put).await?;
            turn.kept(size);
            Ok(id)
        })
        .await
    }

    /// Gives `user` an address to upload a file to later; answers with its identifier, and until when, in milliseconds
    /// since the Unix epoch.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when the user has too many; [`Refusal::Store`].
    pub async fn create(&self, user: OwnedUserId) -> Result<(String, u64), Refusal> {
        let (id, now_ms) = (new_id(), self.clock.unix_ms());
        let expires_ms = now_ms + u64::try_from(AWAITED.as_millis()).unwrap_or_default();
        let awaited = self.store.await_media(self.own.clone(), id.clone(), user, now_ms, expires_ms).await;
        awaited.map_err(|e| Refusal::of_awaiting(e, now_ms))?;
        Ok((id, expires_ms))
    }

    /// Whether `user` can upload a file to this address.
    ///
    /// # Errors
    /// [`Refusal`] says why not.
    pub async fn check_awaited(&self, origin: &str, id: &str, user: &UserId) -> Result<(), Refusal> {
        let row = self.row(origin, id).await?.filter(|_| origin == self.own.as_str());
        let row = row.ok_or(Refusal::NotFound)?;
        if row.owner.as_deref() != Some(user) {
            return Err(Refusal::NotYours);
        }
        if row.stored.is_some() {
            return Err(Refusal::Taken);
        }
        Ok(())
    }

    /// Keeps a file at an address that was given out for it. Once begun this is brought to its end.
    ///
    /// # Errors
    /// As for [`Self::keep`] and [`Self::check_awaited`].
    pub async fn keep_awaited(
        self: &Arc<Self>,
        id: String,
        user: OwnedUserId,
        received: Received,
        described: Described,
    ) -> Result<(), Refusal> {
        let media = Arc::clone(self);
        finish(async move {
            let Received { file, size, turn } = received;
            let stored = stored(&file, size, described)?;
            let quota = media.user_quota();
            let put = media.store.put_awaited_media(media.own.clone(), id, user, stored, quota);
            media.settle(file, put).await?;
            turn.kept(size);
            media.uploaded.notify_waiters();
            Ok(())
        })
        .await
    }

    /// The file at `mxc://origin/id`; if it is not uploaded yet, or nothing of it has come yet, it is waited for, for
    /// `patience` at most.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::NotYetUploaded`], [`Refusal::Store`].
    pub async fn find(&self, origin: &str, id: &str, patience: Duration) -> Result<Found, Refusal> {
        let until = self.clock.now() + patience.min(MAX_PATIENCE);
        loop {
            let uploaded = self.uploaded.notified();
            let mut uploaded = std::pin::pin!(uploaded);
            // Before the look: else what comes between it and the waiting is missed.
            uploaded.as_mut().enable();
            let row = self.row(origin, id).await?;
            // What is being fetched is like what is being uploaded.
            if row.is_none() && !self.fetching.has(origin, id) {
                return Err(Refusal::NotFound);
            }
            if let Some(MediaRow { stored: Some(stored), owner, .. }) = row {
                if owner.is_none() {
                    self.store.note_media_use(stored.file.clone(), self.clock.unix_ms());
                }
                return self.found(stored).await;
            }
            if self.fetching.has_begun(origin, id) {
                // It comes within bounds of its own.
                uploaded.await;
                continue;
            }
            if self.clock.now() >= until {
                return Err(Refusal::NotYetUploaded);
            }
            tokio::select! {
                () = uploaded => {}
                () = self.clock.sleep_until(until) => {}
            }
        }
    }

    /// The bytes of a file from `part.start` up to `part.end`.
    pub fn read(&self, found: &Found, part: Range<u64>) -> Body {
        Body::new(self.pieces(found, part))
    }

    /// All of a file, with something before and after it.
    pub fn read_between(&self, before: Bytes, found: &Found, after: Bytes) -> Body {
        Body::new(Pieces { before, after, ..self.pieces(found, 0..found.size) })
    }

    fn pieces(&self, found: &Found, part: Range<u64>) -> Pieces {
        Pieces {
            folder: Arc::clone(&self.folder),
            readers: Arc::clone(&self.readers),
            what: found.what.clone(),
            left: part,
            reading: None,
            before: Bytes::new(),
            after: Bytes::new(),
        }
    }

    /// Whether there can be a file of this identifier.
    pub fn may_be(&self, id: &str) -> bool {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
        (1..=MAX_ID).contains(&id.len()) && id.bytes().all(is_allowed)
    }

    /// What is known of an address, unless nothing can be uploaded to it any longer.
    async fn row(&self, origin: &str, id: &str) -> Result<Option<MediaRow>, Refusal> {
        let Ok(origin) = <&ServerName>::try_from(origin) else { return Ok(None) };
        if !self.may_be(id) {
            return Ok(None);
        }
        let now_ms = self.clock.unix_ms();
        let row = self.store.media(origin, id).await?;
        Ok(row.filter(|row| row.stored.is_some() || row.expires_ms.is_none_or(|until| now_ms < until)))
    }

    /// The file that a row names, if it is there whole.
    async fn found(&self, stored: StoredMedia) -> Result<Found, Refusal> {
        let StoredMedia { file, size, content_type, file_name } = stored;
        let name = FileName::parse(&file).ok_or(Refusal::NotFound)?;
        let what = Readable { name, thumbnail: None };
        let there = self.open(&what).await;
        let there = there.and_then(|file| Ok(file.metadata()?));
        if !there.is_ok_and(|there| there.len() == size) {
            tracing::warn!(
                file,
                "an uploaded file is not in its folder, or not whole: restore it from a backup"
            );
            return Err(Refusal::NotFound);
        }
        Ok(Found { what, size, described: Described { content_type, file_name } })
    }

    /// A file to read from.
    pub(super) async fn open(&self, what: &Readable) -> Result<File, Refusal> {
        let (folder, what) = (Arc::clone(&self.folder), what.clone());
        aside(move || folder.open(&what)).await
    }

    fn user_quota(&self) -> u64 {
        self.receiver.desk.user_quota()
    }

    /// Puts the row that names a file, and gives the file its place; without one it is found all the same.
    pub(super) async fn settle<E: Into<Refusal>>(
        &self,
        file: Unsettled,
        put: impl Future<Output = Result<(), E>>,
    ) -> Result<(), Refusal> {
        // The row can be there although nobody hears of it any longer: the file stays until it is known that it is not.
        let name = file.keep().ok_or(Refusal::NotFound)?;
        let folder = Arc::clone(&self.folder);
        if let Err(e) = put.await {
            if let Ok(false) = self.store.has_media_file(name.as_str()).await {
                aside(move || folder.remove_unsettled(&name)).await?;
            }
            return Err(e.into());
        }
        if let Err(e) = aside(move || folder.settle(&name)).await {
            tracing::warn!(error = %e, "an uploaded file gets its place with the next start");
        }
        Ok(())
    }
}

/// The identifier of a new file: 24 letters and digits, of which nobody guesses one.
fn new_id() -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..24).map(|_| char::from(LETTERS[rand::random_range(0..LETTERS.len())])).collect()
}

pub(super) fn stored(file: &Unsettled, size: u64, described: Described) -> Result<StoredMedia, Refusal> {
    let name = file.name().ok_or(Refusal::NotFound)?.as_str().to_owned();
    let Described { content_type, file_name } = described;
    Ok(StoredMedia { file: name, size, content_type, file_name })
}

/// Gives the files their places that rows name, and removes those that none does.
async fn clear(store: &Store, folder: &Folder) -> Result<(), StoreError> {
    let unsettled = folder.all_unsettled().unwrap_or_else(|e| {
        tracing::warn!(error = %e, "the folder of uploaded files cannot be read");
        Vec::new()
    });
    for name in unsettled {
        let done = if store.has_media_file(name.as_str()).await? {
            folder.settle(&name)
        } else {
            folder.remove_unsettled(&name)
        };
        if let Err(e) = done {
            tracing::warn!(error = %e, file = name.as_str(), "a file cannot be moved");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
