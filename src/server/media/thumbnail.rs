//! Thumbnails: made when the first asks, a few at a time, and kept beside their file.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::{
    folder::Readable,
    kept::{Found, Media},
    picture::{self, Kind, Made, Shown, Unshown, Wanted},
    receive::{Described, aside},
    refusal::Refusal,
    sizes::{self, Method},
    workshop::{self, Failing, Place},
};
use crate::server::finish::finish;

/// How the name of one ends that shows a moving picture as large as it is, standing still.
const STILL: &str = "still";

impl Media {
    /// What is wanted of a picture by `asker`: a thumbnail, or the file itself when it is not larger.
    ///
    /// # Errors
    /// [`Refusal::NotAPicture`], [`Refusal::PictureTooLarge`], [`Refusal::Busy`], [`Refusal::ServerFull`],
    /// [`Refusal::Folder`].
    pub async fn thumbnail(
        self: &Arc<Self>,
        found: &Found,
        wanted: Wanted,
        asker: &str,
    ) -> Result<Found, Refusal> {
        if let Some(made) = self.made(found, wanted).await {
            return Ok(made);
        }
        let failing = (found.what.name.clone(), of_size(wanted), wanted.may_move);
        if self.workshop.has_failed(&failing) {
            return Err(Refusal::NotAPicture);
        }
        let place = self.workshop.place(asker).await?;
        // Others who want the same may have been before.
        if let Some(made) = self.made(found, wanted).await {
            return Ok(made);
        }
        if self.workshop.has_failed(&failing) {
            return Err(Refusal::NotAPicture);
        }
        // Also if nobody waits for it any longer: else it is made anew for each who asks and goes.
        finish(Arc::clone(self).make(found.clone(), wanted, failing, place)).await
    }

    async fn make(
        self: Arc<Self>,
        found: Found,
        wanted: Wanted,
        failing: Failing,
        _place: Place,
    ) -> Result<Found, Refusal> {
        let (folder, room, what) =
            (Arc::clone(&self.folder), Arc::clone(&self.workshop.room), found.what.clone());
        let work = move || {
            let opened = picture::open(folder.open(&what)?).map_err(refusal)?;
            let megapixels = opened.megapixels().clamp(1, workshop::MEGAPIXELS);
            let _room =
                Handle::current().block_on(room.acquire_many(megapixels)).map_err(std::io::Error::other)?;
            opened.show(wanted).map_err(refusal)
        };
        // A picture that a decoder falls over is none.
        let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| {
            tracing::warn!(error = %e, file = found.what.name.as_str(), "a thumbnail cannot be made");
            Err(Refusal::NotAPicture)
        });
        if let Err(Refusal::NotAPicture) = done {
            self.workshop.note_failed(failing);
        }
        let Made { kind, is_still, bytes } = match done? {
            Shown::Itself(kind) => return Ok(shown(found.what, found.size, kind)),
            Shown::Smaller(made) => made,
        };
        let name = if is_still { still(wanted) } else { of_size(wanted).unwrap_or_default() };
        let thumbnail = Some(format!("{name}.{}", kind.ending()));
        let what = Readable { name: found.what.name, thumbnail };
        let size = bytes.len() as u64;
        self.keep_thumbnail(&what, bytes).await?;
        Ok(shown(what, size, kind.media_type()))
    }

    /// The thumbnail, if it was made before.
    pub(super) async fn made(&self, found: &Found, wanted: Wanted) -> Option<Found> {
        for name in [of_size(wanted), (!wanted.may_move).then(|| still(wanted))].into_iter().flatten() {
            for kind in Kind::ALL {
                let thumbnail = Some(format!("{name}.{}", kind.ending()));
                let what = Readable { name: found.what.name.clone(), thumbnail };
                if let Ok(size) = self.size(&what).await {
                    self.note_thumbnail_use(&what).await;
                    return Some(shown(what, size, kind.media_type()));
                }
            }
        }
        None
    }

    async fn size(&self, what: &Readable) -> Result<u64, Refusal> {
        let (folder, what) = (Arc::clone(&self.folder), what.clone());
        aside(move || Ok(folder.open(&what)?.metadata()?.len())).await
    }
}

/// What the thumbnail is called that does for `wanted`; `None`: none does.
fn of_size(wanted: Wanted) -> Option<String> {
    let size = sizes::of_table(wanted.size, wanted.method)?;
    let method = match wanted.method {
        Method::Scale => "scale",
        Method::Crop => "crop",
    };
    Some(format!("{}x{}-{method}", size.width, size.height))
}

/// What the one is called that does for `wanted` when the picture moves, and is not larger than that. A larger size than
/// this can need it while a smaller one does not.
fn still(wanted: Wanted) -> String {
    of_size(wanted).map_or_else(|| STILL.to_owned(), |size| format!("{size}-{STILL}"))
}

fn shown(what: Readable, size: u64, kind: &str) -> Found {
    let ending = kind.rsplit('/').next().unwrap_or_default();
    let file_name = Some(format!("thumbnail.{ending}"));
    Found { what, size, described: Described { content_type: Some(kind.to_owned()), file_name } }
}

fn refusal(unshown: Unshown) -> Refusal {
    match unshown {
        Unshown::NotAPicture => Refusal::NotAPicture,
        Unshown::TooLarge => Refusal::PictureTooLarge,
        Unshown::Unread => Refusal::Folder(std::io::Error::other("a picture cannot be read from the disk")),
    }
}
