//! A file on its way in: from a connection to the disk, piece by piece.

use std::{pin::Pin, pin::pin, sync::Arc, time::Duration};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use ruma::OwnedUserId;
use tokio::time::{Instant, timeout_at};

use super::{
    desk::{Desk, Turn},
    folder::{Folder, Unsettled},
    refusal::Refusal,
};

/// Bytes that are written to the disk at once.
const PIECE: usize = 64 << 10;

/// How often is looked what the disk has left, in bytes that are written.
const LOOK: u64 = 8 << 20;

/// How long a file may take to come: this long, and a second for each so many bytes that came.
const PATIENCE: Duration = Duration::from_secs(60);
const SLOWEST_PER_SECOND: u64 = 8 << 10;

/// For how long is read on of what is refused: who still sends does not listen.
const PASSED_OVER: Duration = Duration::from_secs(10);

/// A body as it comes.
#[derive(Debug)]
pub struct Sent {
    /// What is in it.
    pub body: Body,
    /// How long it says it is, in bytes.
    pub length: Option<u64>,
    /// Its sender waits to be asked for it.
    pub waits: bool,
}

/// Bytes of the name of a file at most.
pub const MAX_FILE_NAME: usize = 1024;

/// Bytes of its content type at most.
pub const MAX_CONTENT_TYPE: usize = 255;

/// What is said of a file by who uploads it.
#[derive(Clone, Debug, Default)]
pub struct Described {
    /// What kind it is.
    pub content_type: Option<String>,
    /// What it is called.
    pub file_name: Option<String>,
}

impl Described {
    /// As another server says it: of what is too long nothing is kept.
    pub fn by_other(content_type: Option<String>, file_name: Option<String>) -> Self {
        Self {
            content_type: content_type.filter(|kind| kind.len() <= MAX_CONTENT_TYPE),
            file_name: file_name.filter(|name| name.len() <= MAX_FILE_NAME),
        }
    }
}

/// A file that has come whole, and is on the disk; gone when this is dropped.
#[derive(Debug)]
pub struct Received {
    pub(super) file: Unsettled,
    pub(super) size: u64,
    pub(super) turn: Turn,
}

/// What receives.
#[derive(Clone, Debug)]
pub(super) struct Receiver {
    pub(super) folder: Arc<Folder>,
    pub(super) desk: Arc<Desk>,
    pub(super) keep_free: u64,
}

impl Receiver {
    /// Takes a file of `user`, whose files have `used` bytes.
    pub(super) async fn receive(
        &self,
        user: &OwnedUserId,
        used: u64,
        sent: Sent,
    ) -> Result<Received, Refusal> {
        let Sent { body, length, waits } = sent;
        let mut body = pin!(body);
        let taken = async {
            let turn = self.desk.begin(user, used)?;
            turn.grow_to(length.unwrap_or_default())?;
            self.check_disk(length.unwrap_or_default()).await?;
            self.take(body.as_mut(), turn).await
        };
        let taken = taken.await;
        if taken.is_err() && !waits {
            pass_over(body).await;
        }
        taken
    }

    async fn take(&self, body: Pin<&mut Body>, turn: Turn) -> Result<Received, Refusal> {
        let grow = |size| turn.grow_to(size).and_then(|()| turn.note(size));
        let (file, size) = unless_ended(self.write_all(body, grow), turn.ended()).await?;
        turn.note_whole()?;
        Ok(Received { file, size, turn })
    }

    /// Takes a file that another server sends; `grow` is told how large it is so far.
    pub(super) async fn fetch(
        &self,
        body: Body,
        grow: impl FnMut(u64) -> Result<(), Refusal>,
    ) -> Result<(Unsettled, u64), Refusal> {
        self.check_disk(0).await?;
        self.write_all(pin!(body), grow).await
    }

    async fn write_all(
        &self,
        mut body: Pin<&mut Body>,
        mut grow: impl FnMut(u64) -> Result<(), Refusal>,
    ) -> Result<(Unsettled, u64), Refusal> {
        let folder = Arc::clone(&self.folder);
        let mut file = aside(move || folder.begin()).await?;
        let begun = Instant::now();
        let (mut size, mut looked) = (0, 0);
        let mut piece = Vec::with_capacity(PIECE);
        loop {
            let until = begun + PATIENCE + Duration::from_secs(size / SLOWEST_PER_SECOND);
            let frame = timeout_at(until, body.frame()).await.map_err(|_| Refusal::TooSlow)?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|e| Refusal::Unreadable(e.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            size += data.len() as u64;
            grow(size)?;
            piece.extend_from_slice(&data);
            if piece.len() >= PIECE {
                (file, piece) = write(file, piece).await?;
            }
            if size - looked >= LOOK {
                looked = size;
                self.check_disk(0).await?;
            }
        }
        (file, _) = write(file, piece).await?;
        let file = aside(move || file.sync().map(|()| file)).await?;
        Ok((file, size))
    }

    /// An error when the disk has too little left for so many more `bytes`.
    async fn check_disk(&self, bytes: u64) -> Result<(), Refusal> {
        let folder = Arc::clone(&self.folder);
        let free = aside(move || folder.free_space()).await?;
        if free < self.keep_free.saturating_add(bytes) {
            tracing::warn!(free, "the disk has no room for uploaded files");
            return Err(Refusal::ServerFull);
        }
        Ok(())
    }
}

/// Does this unless it has to make room for another.
pub(super) async fn unless_ended<T>(
    work: impl Future<Output = Result<T, Refusal>>,
    ended: impl Future<Output = ()>,
) -> Result<T, Refusal> {
    tokio::select! {
        done = work => done,
        () = ended => Err(Refusal::TooSlow),
    }
}

/// Writes a piece, and gives back what it was in.
async fn write(file: Unsettled, mut piece: Vec<u8>) -> Result<(Unsettled, Vec<u8>), Refusal> {
    aside(move || {
        file.append(&piece)?;
        piece.clear();
        Ok((file, piece))
    })
    .await
}

/// Does what waits for the disk where nobody waits for it.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.unwrap_or_else(|e| Err(std::io::Error::other(e)))?)
}

/// Reads on for a while without keeping anything.
async fn pass_over(mut body: Pin<&mut Body>) {
    let until = Instant::now() + PASSED_OVER;
    let mut passed = 0;
    while let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await {
        passed += frame.data_ref().map_or(0, Bytes::len);
    }
    tracing::trace!(passed, "read of a file that was refused");
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        task::{Context, Poll},
    };

    use hyper::body::Frame;
    use ruma::owned_user_id;
    use tokio::time::Sleep;

    use super::*;
    use crate::server::config;

    /// A byte now and then, for ever.
    struct Drips(Pin<Box<Sleep>>);

    impl hyper::body::Body for Drips {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            std::task::ready!(self.0.as_mut().poll(cx));
            self.0 = Box::pin(tokio::time::sleep(Duration::from_secs(1)));
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
        }
    }

    fn dripping() -> Sent {
        let body = Body::new(Drips(Box::pin(tokio::time::sleep(Duration::ZERO))));
        Sent { body, length: None, waits: true }
    }

    #[test]
    fn what_another_server_says_at_length_of_a_file_is_not_kept() {
        let said = |len: usize| Some("x".repeat(len));
        let Described { content_type, file_name } =
            Described::by_other(said(MAX_CONTENT_TYPE), said(MAX_FILE_NAME));
        assert!(content_type.is_some() && file_name.is_some());
        let Described { content_type, file_name } =
            Described::by_other(said(MAX_CONTENT_TYPE + 1), said(MAX_FILE_NAME + 1));
        assert!(content_type.is_none() && file_name.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_drips_in_makes_room_when_others_need_it() {
        let data = std::env::temp_dir().join(format!("pilotlight-room-{}", std::process::id()));
        std::fs::create_dir_all(&data).expect("can be made");
        let folder = Arc::new(Folder::of(&data));
        let desk = Arc::new(Desk::new(config::Media::default(), 0));
        let receiver = Receiver { folder: Arc::clone(&folder), desk: Arc::clone(&desk), keep_free: 0 };
        let name = |n: usize| OwnedUserId::try_from(format!("@u{n}:x")).expect("an ID");
        let mut turns = Vec::new();
        // Four users with sixteen each are as many as there can be.
        for n in 1..64 {
            let turn = desk.begin(&name(n % 4), 0).expect("there is room");
            turn.note(1 << 40).expect("it comes");
            turns.push(turn);
        }
        let begun = Instant::now();
        let others = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            desk.begin(&name(9), 0).expect("one makes room")
        };
        let slow = name(0);
        let (refused, _turn) = tokio::join!(receiver.receive(&slow, 0, dripping()), others);
        assert!(matches!(refused, Err(Refusal::TooSlow)), "{refused:?}");
        assert!(begun.elapsed() < Duration::from_secs(6));
        assert!(turns.iter().all(|turn| turn.note(1 << 41).is_ok()), "nobody else did");
        assert!(folder.all_unsettled().expect("can be read").is_empty());
        std::fs::remove_dir_all(data).expect("can be removed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_drips_in_is_given_up_and_leaves_nothing() {
        let data = std::env::temp_dir().join(format!("pilotlight-drips-{}", std::process::id()));
        std::fs::create_dir_all(&data).expect("can be made");
        let folder = Arc::new(Folder::of(&data));
        let desk = Arc::new(Desk::new(config::Media::default(), 0));
        let receiver = Receiver { folder: Arc::clone(&folder), desk, keep_free: 0 };
        let begun = Instant::now();
        let body = Body::new(Drips(Box::pin(tokio::time::sleep(Duration::ZERO))));
        let sent = Sent { body, length: None, waits: false };
        let refused = receiver.receive(&owned_user_id!("@a:x"), 0, sent).await;
        assert!(matches!(refused, Err(Refusal::TooSlow)));
        assert!(begun.elapsed() < PATIENCE + PASSED_OVER * 2);
        assert!(folder.all_unsettled().expect("can be read").is_empty());
        std::fs::remove_dir_all(data).expect("can be removed");
    }
}
