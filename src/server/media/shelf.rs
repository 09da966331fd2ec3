//! The thumbnails that are kept: as many as there is room for, and let go by which was not looked at for longest. Each can be
//! made again.

use std::sync::Arc;

use super::{
    folder::{FileName, Readable},
    kept::Media,
    receive::aside,
    refusal::Refusal,
};

/// What a thumbnail takes of the disk is a multiple of this, in bytes.
const BLOCK: u64 = 4 << 10;

/// Thumbnails that are let go in one step.
const STEP: u32 = 50;

/// How long after a look the next is noted, in milliseconds.
const NOTED_AFTER_MS: u64 = 3_600_000;

impl Media {
    /// Puts a thumbnail beside its file, and lets others go until the rest has room.
    pub(super) async fn keep_thumbnail(&self, what: &Readable, bytes: Vec<u8>) -> Result<(), Refusal> {
        let (size, keep_free, folder) =
            (bytes.len() as u64, self.receiver.keep_free, Arc::clone(&self.folder));
        let file = aside(move || {
            if folder.free_space()? < keep_free.saturating_add(size) {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            let file = folder.begin()?;
            file.append(&bytes)?;
            file.sync()?;
            Ok(file)
        });
        let file = file.await?;
        let mut shelf = self.shelf.lock().await;
        let (name, thumbnail) = (what.name.as_str().to_owned(), what.thumbnail.clone().unwrap_or_default());
        let (takes, now_ms) = (size.next_multiple_of(BLOCK), self.clock.unix_ms());
        // What a row names and is not there is counted, and goes in its turn; the other way round it would stay for ever.
        *shelf += self.store.put_thumbnail(name, thumbnail, takes, now_ms).await?;
        let (folder, of) = (Arc::clone(&self.folder), what.clone());
        aside(move || folder.settle_thumbnail(file, &of)).await?;
        if let Err(error) = self.let_thumbnails_go(&mut shelf, what).await {
            tracing::warn!(%error, "thumbnails that nobody looks at stay for now");
        }
        Ok(())
    }

    /// Somebody looks at a thumbnail; that is noted once an hour, when there is time.
    pub(super) async fn note_thumbnail_use(&self, what: &Readable) {
        let (file, name) = (what.name.as_str(), what.thumbnail.as_deref().unwrap_or_default());
        let now_ms = self.clock.unix_ms();
        match self.store.thumbnail_use(file, name).await {
            Ok(Some(used_ms)) if used_ms + NOTED_AFTER_MS < now_ms => {
                self.store.note_thumbnail_use(file.to_owned(), name.to_owned(), now_ms);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "a look at a thumbnail is not noted"),
        }
    }

    /// Forgets the thumbnails of a file that is gone.
    pub(super) async fn forget_thumbnails(&self, of: String) -> Result<(), Refusal> {
        let mut shelf = self.shelf.lock().await;
        let gone = self.store.forget_thumbnails(of).await?;
        *shelf = shelf.saturating_sub(gone);
        Ok(())
    }

    /// Lets thumbnails go until the rest has room, but for that which was just made.
    async fn let_thumbnails_go(&self, shelf: &mut u64, but: &Readable) -> Result<(), Refusal> {
        while *shelf > self.thumbnail_cache {
            let mut oldest = self.store.oldest_thumbnails(STEP).await?;
            oldest.retain(|one| {
                one.file != but.name.as_str() || Some(one.name.as_str()) != but.thumbnail.as_deref()
            });
            if oldest.is_empty() {
                return Ok(());
            }
            for one in oldest {
                if *shelf <= self.thumbnail_cache {
                    break;
                }
                if let Some(name) = FileName::parse(&one.file) {
                    let what = Readable { name, thumbnail: Some(one.name.clone()) };
                    let folder = Arc::clone(&self.folder);
                    aside(move || folder.remove_thumbnail(&what)).await?;
                }
                self.store.forget_thumbnail(one.file, one.name).await?;
                *shelf = shelf.saturating_sub(one.size);
            }
        }
        Ok(())
    }
}
