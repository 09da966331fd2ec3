//! M18: pictures made smaller: how large, which way up, of what kinds; and pictures that are made to do harm.

use std::io::{Cursor, Write};

use flate2::{Compression, Crc, write::ZlibEncoder};
use image::{DynamicImage, Frame, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage, codecs::gif::GifEncoder};
use serde_json::json;

use super::{
    cli::Serve,
    media::{File, MEDIA, ask, download, files, upload},
    memory::resident,
    support::{Client, TempDir, TestServer},
};

/// A picture whose corners differ: red, green, and below them blue, white; with a gradient between.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (right, below) = (x * 4 / width, y * 4 / height);
        match (right, below) {
            (0, 0) => Rgb([255, 0, 0]),
            (3, 0) => Rgb([0, 255, 0]),
            (0, 3) => Rgb([0, 0, 255]),
            (3, 3) => Rgb([255, 255, 255]),
            _ => Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 128]),
        }
    })
}

fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    if format == ImageFormat::Gif {
        // In the quickest manner: of colours nobody asks.
        let frame = Frame::new(picture.into().into_rgba8());
        GifEncoder::new_with_speed(&mut bytes, 30).encode_frame(frame).expect("is written");
        return bytes.into_inner();
    }
    picture.into().write_to(&mut bytes, format).expect("is written");
    bytes.into_inner()
}

/// A GIF of two frames, red and then blue.
fn moving(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    for colour in [[255, 0, 0, 255], [0, 0, 255, 255]] {
        encoder
            .encode_frame(Frame::new(RgbaImage::from_pixel(width, height, Rgba(colour))))
            .expect("is written");
    }
    drop(encoder);
    bytes
}

fn thumbnail(client: &Client, of: &str, query: &str) -> File {
    ask(client, "GET", &format!("{MEDIA}/thumbnail/{of}?{query}"), &[], None)
}

/// A thumbnail that can be looked at: it is kept among the artefacts when `PICTURES` names a folder.
#[track_caller]
fn seen(file: &File, name: &str) -> DynamicImage {
    assert_eq!(file.status, 200, "{name}: {}", String::from_utf8_lossy(&file.bytes));
    if let Ok(folder) = std::env::var("PICTURES") {
        std::fs::write(format!("{folder}/{name}"), &file.bytes).expect("is written");
    }
    image::load_from_memory(&file.bytes).expect("is a picture")
}

#[test]
fn pictures_of_every_kind_are_made_smaller_in_the_sizes_of_the_specification_and_never_larger() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let alice = server.register("alice");
    for (format, kind, made) in [
        (ImageFormat::Png, "image/png", "image/png"),
        (ImageFormat::Jpeg, "image/jpeg", "image/jpeg"),
        (ImageFormat::Gif, "image/gif", "image/png"),
        (ImageFormat::WebP, "image/webp", "image/jpeg"),
    ] {
        let bytes = encoded(picture(840, 630), format);
        // What it is said to be makes no difference.
        let of = upload(&alice, "text/html", &bytes);
        for (width, height, method, expected) in [
            (32, 32, "crop", (32, 32)),
            (96, 96, "crop", (96, 96)),
            (64, 40, "crop", (96, 96)),
            (320, 240, "scale", (320, 240)),
            (640, 480, "scale", (640, 480)),
            (800, 600, "scale", (800, 600)),
            (20, 20, "scale", (320, 240)),
        ] {
            let file = thumbnail(&alice, &of, &format!("width={width}&height={height}&method={method}"));
            let name = format!("{method}-{width}x{height}.{}", kind.rsplit('/').next().expect("a part"));
            let small = seen(&file, &name);
            assert_eq!((small.width(), small.height()), expected, "{name}");
            assert_eq!(file.header("content-type"), made, "{name}");
            assert!(
                file.header("content-disposition").starts_with("inline; filename=\"thumbnail."),
                "{name}"
            );
            assert_eq!(file.header("x-content-type-options"), "nosniff");
            let is_less = method == "scale" || file.bytes.len() < bytes.len();
            assert!(is_less, "{name}: {} bytes of {}", file.bytes.len(), bytes.len());
            if method == "scale" {
                assert_corners(
                    &small.to_rgb8(),
                    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]],
                    &name,
                );
            }
        }
        let itself = thumbnail(&alice, &of, "width=840&height=630&animated=true");
        assert_eq!((itself.bytes == bytes, itself.header("content-type")), (true, kind));
    }
    assert_eq!(files(server.data_dir()).1, 0);
}

#[track_caller]
fn assert_corners(picture: &RgbImage, expected: [[u8; 3]; 4], name: &str) {
    let (right, below) = (picture.width() - 4, picture.height() - 4);
    let corners = [(3, 3), (right, 3), (3, below), (right, below)];
    for ((x, y), expected) in corners.into_iter().zip(expected) {
        let found = picture.get_pixel(x, y).0;
        let differs = found.iter().zip(expected).any(|(a, b)| a.abs_diff(b) > 24);
        assert!(!differs, "{name}: {found:?} at {x}, {y}, not {expected:?}");
    }
}

#[test]
fn a_photograph_is_shown_the_way_up_in_which_it_was_taken() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let jpeg = encoded(picture(1200, 800), ImageFormat::Jpeg);
    let [red, green, blue, white] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]];
    for (orientation, size, corners) in [
        (1, (320, 213), [red, green, blue, white]),
        (3, (320, 213), [white, blue, green, red]),
        (6, (160, 240), [blue, red, white, green]),
        (8, (160, 240), [green, white, red, blue]),
    ] {
        let of = upload(&alice, "image/jpeg", &with_orientation(&jpeg, orientation));
        let name = format!("orientation-{orientation}.jpg");
        let small = seen(&thumbnail(&alice, &of, "width=320&height=240&method=scale"), &name);
        assert_eq!((small.width(), small.height()), size, "{name}");
        assert_corners(&small.to_rgb8(), corners, &name);
    }
}

/// A JPEG that says by EXIF which way up it is.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = u16::try_from(exif.len() + 2).expect("is short").to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

#[test]
fn a_moving_picture_stands_still_unless_it_may_move_and_what_is_seen_through_stays_so() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let bytes = moving(200, 100);
    let of = upload(&alice, "image/gif", &bytes);
    for query in ["width=320&height=240", "width=320&height=240&animated=false", "width=1000&height=1000"] {
        // The second time it is there.
        for _ in 0..2 {
            let file = thumbnail(&alice, &of, query);
            assert_eq!(file.header("content-type"), "image/png", "{query}");
            let still = seen(&file, "still.png").to_rgb8();
            assert_eq!((still.dimensions(), still.get_pixel(50, 50).0), ((200, 100), [255, 0, 0]), "{query}");
        }
    }
    let file = thumbnail(&alice, &of, "width=320&height=240&animated=true");
    assert_eq!((file.header("content-type"), file.bytes == bytes), ("image/gif", true));
    let small =
        seen(&thumbnail(&alice, &of, "width=32&height=32&method=crop&animated=true"), "moving-crop.png");
    assert_eq!((small.width(), small.height()), (32, 32));
    for format in [ImageFormat::Png, ImageFormat::WebP] {
        let half =
            RgbaImage::from_fn(600, 600, |x, _| if x < 300 { Rgba([0; 4]) } else { Rgba([9, 9, 9, 255]) });
        let of = upload(&alice, "image/png", &encoded(half, format));
        let file = thumbnail(&alice, &of, "width=96&height=96&method=crop");
        let small = seen(&file, "through.png").to_rgba8();
        assert_eq!((small.get_pixel(5, 50).0[3], small.get_pixel(90, 50).0[3]), (0, 255));
    }
}

#[test]
fn a_thumbnail_is_made_once_and_is_not_sent_again_to_who_has_it() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let of = upload(&alice, "image/png", &encoded(picture(1000, 1000), ImageFormat::Png));
    let query = "width=96&height=96&method=crop";
    let first = thumbnail(&alice, &of, query);
    assert_eq!(files(server.data_dir()), (2, 0));
    let second = thumbnail(&alice, &of, "width=90&height=90&method=crop");
    assert_eq!((first.bytes == second.bytes, first.header("etag") == second.header("etag")), (true, true));
    assert_eq!(files(server.data_dir()), (2, 0));
    let path = format!("{MEDIA}/thumbnail/{of}?{query}");
    let known = ask(&alice, "GET", &path, &[("if-none-match", first.header("etag"))], None);
    assert_eq!((known.status, known.bytes.len()), (304, 0));
    assert_ne!(first.header("etag"), download(&alice, &of).header("etag"));
    let server = server.restart();
    let alice = server.log_in("alice");
    assert!(thumbnail(&alice, &of, query).bytes == first.bytes);
}

#[test]
fn what_is_no_picture_has_no_thumbnail_and_what_is_asked_wrongly_is_refused() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let png = encoded(picture(400, 400), ImageFormat::Png);
    let of = upload(&alice, "image/png", &png);
    for (query, errcode) in [
        ("", "M_MISSING_PARAM"),
        ("width=32", "M_MISSING_PARAM"),
        ("width=0&height=32", "M_INVALID_PARAM"),
        ("width=-1&height=32", "M_INVALID_PARAM"),
        ("width=a&height=32", "M_INVALID_PARAM"),
        ("width=99999999999&height=32", "M_INVALID_PARAM"),
        ("width=32&height=32&method=stretch", "M_INVALID_PARAM"),
        ("width=32&height=32&animated=perhaps", "M_INVALID_PARAM"),
    ] {
        thumbnail(&alice, &of, query).refused(400, errcode);
    }
    let jpeg = encoded(picture(400, 400), ImageFormat::Jpeg);
    let webp = encoded(picture(400, 400), ImageFormat::WebP);
    for bytes in [
        b"hello, I am a picture".to_vec(),
        Vec::new(),
        b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>".to_vec(),
        b"%PDF-1.4".to_vec(),
        b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0".to_vec(),
        png[..png.len() / 2].to_vec(),
        png[..20].to_vec(),
        webp[..webp.len() / 2].to_vec(),
        jpeg[..100].to_vec(),
        moving(400, 400)[..30].to_vec(),
    ] {
        let of = upload(&alice, "image/png", &bytes);
        thumbnail(&alice, &of, "width=32&height=32&method=crop").refused(400, "M_UNKNOWN");
        assert!(download(&alice, &of).bytes == bytes, "it is a file all the same");
    }
    thumbnail(&alice, "localhost/unknown", "width=32&height=32").refused(404, "M_NOT_FOUND");
    let awaited = alice.post("/_matrix/media/v1/create", json!({})).ok();
    let awaited =
        awaited["content_uri"].as_str().and_then(|uri| uri.strip_prefix("mxc://")).expect("an address");
    thumbnail(&alice, awaited, "width=32&height=32&timeout_ms=0").refused(504, "M_NOT_YET_UPLOADED");
    let (kept, unsettled) = files(server.data_dir());
    assert_eq!((kept, unsettled), (11, 0), "no thumbnail is left of those that failed");
}

/// A PNG of so many pixels, all black, each of a bit.
fn black(width: u32, height: u32) -> Vec<u8> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    let row = vec![0; width as usize / 8 + 1];
    for _ in 0..height {
        packed.write_all(&row).expect("is taken");
    }
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let head = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[1, 0, 0, 0, 0]].concat();
    for (kind, data) in [(b"IHDR", head), (b"IDAT", packed.finish().expect("ends")), (b"IEND", Vec::new())] {
        let length = u32::try_from(data.len()).expect("is short");
        let mut sum = Crc::new();
        sum.update(kind);
        sum.update(&data);
        png.extend([&length.to_be_bytes()[..], kind, &data, &sum.sum().to_be_bytes()].concat());
    }
    png
}

/// A JPEG that says that it is this large.
fn jpeg_of(width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = encoded(picture(64, 64), ImageFormat::Jpeg);
    let frame =
        jpeg.windows(2).position(|two| two[0] == 0xff && (0xc0..=0xc2).contains(&two[1])).expect("a frame");
    jpeg[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    jpeg[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    jpeg
}

/// A GIF that says that it is this large, and so is its frame.
fn gif_of(width: u16, height: u16) -> Vec<u8> {
    let mut gif = moving(16, 16);
    gif[6..8].copy_from_slice(&width.to_le_bytes());
    gif[8..10].copy_from_slice(&height.to_le_bytes());
    gif
}

#[test]
fn a_picture_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &["--set", "rate_limits.enabled=false"]);
    let alice = server.client.clone().register("alice");
    let small = upload(&alice, "image/png", &encoded(picture(200, 200), ImageFormat::Png));
    assert_eq!(thumbnail(&alice, &small, "width=32&height=32&method=crop").status, 200);
    let before = resident(&server);
    for bytes in [black(50_000, 50_000), jpeg_of(65_500, 65_500), gif_of(65_535, 65_535)] {
        let of = upload(&alice, "image/png", &bytes);
        for query in ["width=32&height=32&method=crop", "width=800&height=600", "width=9000&height=9000"] {
            thumbnail(&alice, &of, query).refused(413, "M_TOO_LARGE");
        }
    }
    let after = resident(&server);
    assert!(after < before + 24.0, "{before:.1} MiB before, {after:.1} MiB after");
    assert_eq!(files(data.path()), (5, 0));
}
