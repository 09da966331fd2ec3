use std::{io::Cursor, path::PathBuf};

use image::{DynamicImage, ImageFormat, RgbImage};
use ruma::{owned_server_name, owned_user_id, server_name};

use super::*;
use crate::{
    core::time::UnixMillis,
    server::{
        media::{Method, Size, Wanted},
        store::Access,
    },
};

/// Files in a folder of their own.
struct World {
    folder: PathBuf,
    media: Arc<Media>,
}

impl World {
    async fn new(name: &str, keep_free: u64) -> Self {
        let folder = std::env::temp_dir().join(format!("pilotlight-{name}-{}", std::process::id()));
        let store = Store::open(&folder, server_name!("here"), Access::Sole, Arc::default()).expect("opens");
        let mut config = Config { data_dir: folder.clone(), ..Config::default() };
        config.server_name = owned_server_name!("here");
        config.media.keep_free = 0;
        let clock = Clock::driven(UnixMillis(1_000_000));
        let mut media = Media::load(Arc::new(store), clock, &config).await.expect("can be read");
        media.receiver.keep_free = keep_free;
        Self { folder, media: Arc::new(media) }
    }

    async fn received(&self, bytes: Vec<u8>) -> Received {
        let folder = Arc::clone(&self.media.folder);
        let desk = Arc::clone(&self.media.receiver.desk);
        let receiver = Receiver { folder, desk, keep_free: 0 };
        let sent = Sent { body: Body::from(bytes), length: None, waits: false };
        receiver.receive(&owned_user_id!("@alice:here"), 0, sent).await.expect("comes")
    }

    async fn kept(&self, bytes: Vec<u8>) -> Found {
        let received = self.received(bytes).await;
        let id = self.media.keep(owned_user_id!("@alice:here"), received, Described::default()).await;
        self.media.find("here", &id.expect("is kept"), Duration::ZERO).await.expect("is there")
    }

    async fn shown(&self, of: &Found, wanted: Wanted) -> Result<(u32, u32), Refusal> {
        let shown = self.media.thumbnail(of, wanted, "@alice:here").await?;
        let bytes = self.media.folder.read(&shown.what, 0, shown.size as usize).expect("can be read");
        let picture = image::load_from_memory(&bytes).expect("is a picture");
        Ok((picture.width(), picture.height()))
    }

    async fn end(self) {
        self.media.store.close().await;
        std::fs::remove_dir_all(self.folder).expect("can be removed");
    }
}

fn picture(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(RgbImage::new(200, 100)).write_to(&mut bytes, format).expect("is written");
    bytes.into_inner()
}

fn wanted(side: u32, method: Method) -> Wanted {
    Wanted { size: Size { width: side, height: side }, method, may_move: false }
}

#[tokio::test]
async fn a_picture_that_stands_still_for_a_large_size_is_made_smaller_for_a_small_one() {
    let world = World::new("still", 0).await;
    let gif = world.kept(picture(ImageFormat::Gif)).await;
    for side in [2_000, 240] {
        let large = world.shown(&gif, wanted(side, Method::Scale)).await.expect("is shown");
        assert_eq!(large, (200, 100));
    }
    assert_eq!(world.shown(&gif, wanted(32, Method::Crop)).await.expect("is shown"), (32, 32));
    let moving = Wanted { may_move: true, ..wanted(240, Method::Scale) };
    let itself = world.media.thumbnail(&gif, moving, "@alice:here").await.expect("is shown");
    assert_eq!(itself.variant(), "", "it may move, so it does");
    world.end().await;
}

#[tokio::test]
async fn thumbnails_leave_the_disk_what_it_keeps_free() {
    let world = World::new("thumbnail-room", u64::MAX).await;
    let png = world.kept(picture(ImageFormat::Png)).await;
    let refused = world.shown(&png, wanted(32, Method::Crop)).await;
    assert!(matches!(refused, Err(Refusal::ServerFull)), "{refused:?}");
    world.end().await;
}

#[tokio::test]
async fn a_picture_that_is_not_whole_is_looked_at_once() {
    let world = World::new("not-whole", 0).await;
    let mut bytes = picture(ImageFormat::Png);
    bytes.truncate(bytes.len() / 2);
    let png = world.kept(bytes).await;
    let refused = world.shown(&png, wanted(32, Method::Crop)).await;
    assert!(matches!(refused, Err(Refusal::NotAPicture)), "{refused:?}");
    world.media.folder.unsettle(&png.what.name).expect("moves");
    world.media.folder.remove_unsettled(&png.what.name).expect("goes");
    let again = world.shown(&png, wanted(32, Method::Crop)).await;
    assert!(matches!(again, Err(Refusal::NotAPicture)), "nobody looks for it: {again:?}");
    world.end().await;
}

#[tokio::test]
async fn a_file_stays_whose_row_was_put_when_nobody_hears_of_it_any_longer() {
    let world = World::new("unheard", 0).await;
    let media = &world.media;
    let Received { file, size, .. } = world.received(b"hello".to_vec()).await;
    let row = stored(&file, size, Described::default()).expect("has a name");
    let alice = owned_user_id!("@alice:here");
    let put = async {
        media.store.put_media(owned_server_name!("here"), "id".to_owned(), alice, row, 1, 100).await?;
        std::future::pending::<Result<(), Refusal>>().await
    };
    let ended = tokio::time::timeout(Duration::from_millis(300), media.settle(file, put)).await;
    assert!(ended.is_err(), "it waits for ever");
    assert_eq!(media.find("here", "id", Duration::ZERO).await.expect("is there").size, 5);
    clear(&media.store, &media.folder).await.expect("can be read");
    assert_eq!(media.find("here", "id", Duration::ZERO).await.expect("is there").size, 5);
    world.end().await;
}

#[tokio::test]
async fn a_file_that_is_refused_in_the_end_leaves_nothing() {
    let world = World::new("refused", 0).await;
    let Received { file, .. } = world.received(b"hello".to_vec()).await;
    let refused = world.media.settle(file, async { Err(Refusal::UserFull) }).await;
    assert!(matches!(refused, Err(Refusal::UserFull)));
    assert!(world.media.folder.all_unsettled().expect("can be read").is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_picture_that_the_disk_does_not_give_is_asked_for_again() {
    let world = World::new("unread", 0).await;
    let png = world.kept(picture(ImageFormat::Png)).await;
    let folder = world.folder.join("media").join(&png.what.name.as_str()[..2]);
    let (place, aside) = (folder.join(&png.what.name.as_str()[2..]), folder.join("aside"));
    std::fs::rename(&place, &aside).expect("moves");
    // What is no file cannot be read.
    std::fs::create_dir(&place).expect("can be made");
    let refused = world.shown(&png, wanted(32, Method::Crop)).await;
    assert!(matches!(refused, Err(Refusal::Folder(_))), "{refused:?}");
    std::fs::remove_dir(&place).expect("can be removed");
    std::fs::rename(&aside, &place).expect("moves");
    assert_eq!(world.shown(&png, wanted(32, Method::Crop)).await.expect("is shown"), (32, 32));
    world.end().await;
}

#[tokio::test]
async fn thumbnails_take_no_more_than_they_may_and_those_go_that_nobody_looks_at() {
    let mut world = World::new("shelf", 0).await;
    Arc::get_mut(&mut world.media).expect("nobody else has it").thumbnail_cache = 8 << 10;
    let mut files = Vec::new();
    for _ in 0..3 {
        files.push(world.kept(picture(ImageFormat::Png)).await);
    }
    let small = wanted(32, Method::Crop);
    for file in &files[..2] {
        world.shown(file, small).await.expect("is shown");
        world.media.clock.advance(Duration::from_secs(2 * 3600));
    }
    world.shown(&files[0], small).await.expect("is looked at");
    world.media.clock.advance(Duration::from_secs(2 * 3600));
    world.shown(&files[2], small).await.expect("is shown");
    let mut made = Vec::new();
    for file in &files {
        made.push(world.media.made(file, small).await.is_some());
    }
    assert_eq!(made, [true, false, true], "the second was not looked at for longest");
    assert_eq!(*world.media.shelf.lock().await, 8 << 10);
    assert_eq!(world.media.store.thumbnail_total().await.expect("can be read"), 8 << 10);
    assert_eq!(world.shown(&files[1], small).await.expect("is made again"), (32, 32));
    world.end().await;
}

#[tokio::test]
async fn one_thumbnail_is_kept_however_little_they_may_take() {
    let mut world = World::new("no-shelf", 0).await;
    Arc::get_mut(&mut world.media).expect("nobody else has it").thumbnail_cache = 0;
    let png = world.kept(picture(ImageFormat::Png)).await;
    for side in [32, 96, 32] {
        assert_eq!(world.shown(&png, wanted(side, Method::Crop)).await.expect("is shown"), (side, side));
    }
    assert_eq!(*world.media.shelf.lock().await, 4 << 10);
    world.end().await;
}
