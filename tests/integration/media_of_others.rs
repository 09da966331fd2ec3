//! M18: files of other servers: asked of them, kept for a while, and refused when they are too large.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{
    authority::Authority,
    media::{MEDIA, ask, download, files, upload},
    peer::Peer,
    support::{Client, until},
};

/// Where a server is asked for its files.
const FILES: &str = "/_matrix/federation/v1/media/download/";

#[test]
fn a_file_of_another_server_is_fetched_once_and_read_like_one_of_this() {
    let ca = Authority::new();
    let ((a_name, a), (_, b)) = (ca.trusting_server(), ca.trusting_server());
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    let bytes: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let path = format!("{}?filename=%D0%BA.png", super::media::UPLOAD);
    let answer = ask(&alice, "POST", &path, &[("content-type", "image/png")], Some(&bytes)).json();
    let of = answer["content_uri"].as_str().and_then(|uri| uri.strip_prefix("mxc://")).expect("an address");
    assert!(of.starts_with(a_name.as_str()), "{of}");
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4).map(|_| scope.spawn(|| download(&bob, of))).collect();
        for reader in readers {
            let file = reader.join().expect("no panic");
            assert_eq!((file.status, file.bytes == bytes), (200, true));
            assert_eq!(file.header("content-type"), "image/png");
            assert!(file.header("content-disposition").ends_with("filename*=UTF-8''%D0%BA.png"));
        }
    });
    assert_eq!(files(b.data_dir()), (1, 0));
    let path = format!("{MEDIA}/download/{of}");
    let part = ask(&bob, "GET", &path, &[("range", "bytes=4-7")], None);
    assert_eq!((part.status, &part.bytes[..]), (206, &1u32.to_le_bytes()[..]));
    // It is there without the other server.
    drop(a);
    assert_eq!(download(&bob, of).status, 200);
    download(&bob, &format!("{a_name}/another")).refused(502, "M_UNKNOWN");
}

#[test]
fn what_another_server_does_not_have_is_not_found_and_what_is_too_large_is_not_taken() {
    let ca = Authority::new();
    let (a_name, a) = ca.trusting_server();
    let (_, b) = ca.server(&ca.file("ca.pem"), |config| {
        config.media.max_upload_size = 1 << 20;
        config.media.remote_cache = 1 << 20;
    });
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    download(&bob, &format!("{a_name}/unknown")).refused(404, "M_NOT_FOUND");
    let large = upload(&alice, "text/plain", &vec![7; (1 << 20) + 1]);
    download(&bob, &large).refused(502, "M_TOO_LARGE");
    assert_eq!(files(b.data_dir()), (0, 0), "nothing is left of it");
    let all: Vec<_> = (0..3).map(|n| upload(&alice, "text/plain", &vec![n; 500_000])).collect();
    for of in &all {
        let file = download(&bob, of);
        assert_eq!(file.bytes.len(), 500_000, "{}", file.json());
    }
    assert_eq!(files(b.data_dir()), (2, 0), "of three there is room for two");
    for (n, of) in all.iter().enumerate() {
        assert_eq!(download(&bob, of).bytes[0], n as u8, "what was let go is fetched again");
    }
}

#[test]
fn who_asks_for_a_file_that_another_asked_for_waits_as_they_say_themselves() {
    let ca = Authority::new();
    let peer = Peer::start(&ca, Duration::ZERO);
    let (_, b) = ca.trusting_server();
    let (bob, carol) = (b.register("bob"), b.register("carol"));
    peer.says(FILES, 0, Value::Null);
    let waits = |client: &Client, ms: u64| {
        let (path, begun) =
            (format!("{MEDIA}/download/{}/silent?timeout_ms={ms}", peer.name), Instant::now());
        ask(client, "GET", &path, &[], None).refused(504, "M_NOT_YET_UPLOADED");
        begun.elapsed()
    };
    let asked = || peer.heard().iter().filter(|heard| heard.path.starts_with(FILES)).count();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| waits(&bob, 3_000));
        until("the server of the file is asked", || asked() == 1);
        let second = waits(&carol, 500);
        assert!(second >= Duration::from_millis(500) && !first.is_finished(), "{second:?}");
        let longer = scope.spawn(|| waits(&carol, 5_000));
        let first = first.join().expect("no panic");
        assert!((3..10).contains(&first.as_secs()), "{first:?}");
        assert!(!longer.is_finished(), "that the first goes ends it for nobody else");
        let longer = longer.join().expect("no panic");
        assert!((5..12).contains(&longer.as_secs()), "{longer:?}");
    });
    assert_eq!(asked(), 1, "one request for all");
}

#[test]
fn a_picture_of_another_server_has_thumbnails_here() {
    let ca = Authority::new();
    let ((_, a), (_, b)) = (ca.trusting_server(), ca.trusting_server());
    let (alice, bob) = (a.register("alice"), b.register("bob"));
    let picture = image::RgbImage::from_pixel(400, 400, image::Rgb([200, 10, 10]));
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png).expect("is written");
    let of = upload(&alice, "image/png", &png.into_inner());
    let small =
        ask(&bob, "GET", &format!("{MEDIA}/thumbnail/{of}?width=96&height=96&method=crop"), &[], None);
    let small = image::load_from_memory(&small.bytes).expect("is a picture");
    assert_eq!((small.width(), small.height()), (96, 96));
}
