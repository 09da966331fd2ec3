//! A picture made smaller. How large it is, is read before anything is made of it.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, ErrorKind, Read, Seek, SeekFrom},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use image::{
    DynamicImage, ImageDecoder, ImageFormat, Limits,
    codecs::{gif::GifDecoder, jpeg::JpegDecoder, jpeg::JpegEncoder, png::PngDecoder, webp::WebPDecoder},
    imageops::FilterType,
    metadata::Orientation,
};

use super::sizes::{self, Method, Plan, Size};

/// The largest file that is looked into, in bytes.
const MAX_FILE: u64 = 32 << 20;

/// The largest picture, in pixels, and in bytes when it is unpacked.
const MAX_PIXELS: u64 = 32_000_000;
const MAX_UNPACKED: u64 = 144 << 20;

/// How good a thumbnail looks that loses something, of 100.
const QUALITY: u8 = 80;

/// Colour profiles up to this size go into a thumbnail, in bytes.
const MAX_PROFILE: usize = 16 << 10;

/// What is wanted of a picture.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wanted {
    /// How large it should be at least.
    pub size: Size,
    /// What becomes of its form.
    pub method: Method,
    /// Whether it may move, if that costs nothing.
    pub may_move: bool,
}

/// What is shown of it.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Shown {
    /// The file itself, of this kind.
    Itself(&'static str),
    /// A thumbnail.
    Smaller(Made),
}

/// A thumbnail.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Made {
    pub(super) kind: Kind,
    /// It is as large as the picture, which moves.
    pub(super) is_still: bool,
    /// The file.
    pub(super) bytes: Vec<u8>,
}

/// The kinds of thumbnails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Png,
    Jpeg,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Jpeg, Self::Png];

    /// As `Content-Type` says it.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
        }
    }

    /// How the name of such a file ends.
    pub(super) fn ending(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
        }
    }
}

/// Why a picture cannot be shown smaller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unshown {
    /// It is none, not whole, or of an unknown kind.
    NotAPicture,
    /// It is too large for us.
    TooLarge,
    /// The disk does not give it: nothing is known of it.
    Unread,
}

/// A file of which is noted when the disk fails: what a decoder makes of that looks like what it makes of a picture that is
/// not whole.
struct Watched {
    file: File,
    has_failed: Arc<AtomicBool>,
}

impl Watched {
    fn watch<T>(&self, done: io::Result<T>) -> io::Result<T> {
        if done.as_ref().is_err_and(|e| e.kind() != ErrorKind::Interrupted) {
            self.has_failed.store(true, Ordering::Relaxed);
        }
        done
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer);
        self.watch(read)
    }
}

impl Seek for Watched {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        // To nowhere goes who reads a number in the file that is wrong.
        self.file.seek(to)
    }
}

/// A picture whose head was read.
pub(super) struct Opened {
    decoder: Box<dyn ImageDecoder>,
    format: ImageFormat,
    /// Whether it may move.
    moves: bool,
    /// Whether the disk failed.
    has_failed: Arc<AtomicBool>,
}

/// Reads the head of a picture, whatever it is said to be.
pub(super) fn open(file: File) -> Result<Opened, Unshown> {
    let has_failed = Arc::new(AtomicBool::new(false));
    if file.metadata().map_err(|_| Unshown::Unread)?.len() > MAX_FILE {
        return Err(Unshown::TooLarge);
    }
    let opened = open_watched(Watched { file, has_failed: Arc::clone(&has_failed) });
    unless_failed(&has_failed, opened)
}

/// What came of a picture, unless the disk failed meanwhile.
fn unless_failed<T>(has_failed: &AtomicBool, done: Result<T, Unshown>) -> Result<T, Unshown> {
    done.map_err(|e| if has_failed.load(Ordering::Relaxed) { Unshown::Unread } else { e })
}

fn open_watched(file: Watched) -> Result<Opened, Unshown> {
    let has_failed = Arc::clone(&file.has_failed);
    let reader = image::ImageReader::new(BufReader::new(file));
    let reader = reader.with_guessed_format().map_err(|_| Unshown::NotAPicture)?;
    let format = reader.format().ok_or(Unshown::NotAPicture)?;
    let file = reader.into_inner();
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_UNPACKED * 2);
    let (mut decoder, moves): (Box<dyn ImageDecoder>, bool) = match format {
        ImageFormat::Png => {
            let decoder = PngDecoder::with_limits(file, limits.clone()).map_err(unshown)?;
            let moves = decoder.is_apng().map_err(unshown)?;
            (Box::new(decoder), moves)
        }
        ImageFormat::Jpeg => (Box::new(JpegDecoder::new(file).map_err(unshown)?), false),
        ImageFormat::Gif => (Box::new(GifDecoder::new(file).map_err(unshown)?), true),
        ImageFormat::WebP => {
            let decoder = WebPDecoder::new(file).map_err(unshown)?;
            let moves = decoder.has_animation();
            (Box::new(decoder), moves)
        }
        _ => return Err(Unshown::NotAPicture),
    };
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS || decoder.total_bytes() > MAX_UNPACKED {
        return Err(Unshown::TooLarge);
    }
    decoder.set_limits(limits).map_err(unshown)?;
    Ok(Opened { decoder, format, moves, has_failed })
}

impl Opened {
    /// How large it is, in millions of pixels.
    pub(super) fn megapixels(&self) -> u32 {
        let (width, height) = self.decoder.dimensions();
        u32::try_from((u64::from(width) * u64::from(height)).div_ceil(1_000_000)).unwrap_or(u32::MAX)
    }

    /// Makes what is wanted of it.
    pub(super) fn show(self, wanted: Wanted) -> Result<Shown, Unshown> {
        let has_failed = Arc::clone(&self.has_failed);
        unless_failed(&has_failed, self.made(wanted))
    }

    fn made(self, wanted: Wanted) -> Result<Shown, Unshown> {
        let Self { mut decoder, format, moves, .. } = self;
        let (width, height) = decoder.dimensions();
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let upright = turned(Size { width, height }, orientation);
        let (scaled, cut, is_still) = match sizes::plan(upright, wanted.size, wanted.method) {
            Plan::Itself if !moves || wanted.may_move => return Ok(Shown::Itself(format.to_mime_type())),
            Plan::Itself => (upright, upright, true),
            Plan::Made { scaled, cut } => (scaled, cut, false),
        };
        let profile = decoder.icc_profile().ok().flatten().filter(|profile| profile.len() <= MAX_PROFILE);
        let picture = DynamicImage::from_decoder(decoder).map_err(unshown)?;
        let mut small = smaller(picture, turned(scaled, orientation));
        small.apply_orientation(orientation);
        if scaled != cut {
            let (left, top) = ((scaled.width - cut.width) / 2, (scaled.height - cut.height) / 2);
            small = small.crop_imm(left, top, cut.width, cut.height);
        }
        let keeps_all = matches!(format, ImageFormat::Png | ImageFormat::Gif) || small.color().has_alpha();
        let kind = if keeps_all { Kind::Png } else { Kind::Jpeg };
        let bytes = write(&small, kind, profile).ok_or(Unshown::NotAPicture)?;
        Ok(Shown::Smaller(Made { kind, is_still, bytes }))
    }
}

/// Of width and height, as they are in the file or as they are seen, the other.
fn turned(size: Size, orientation: Orientation) -> Size {
    match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => Size { width: size.height, height: size.width },
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => size,
    }
}

fn smaller(picture: DynamicImage, to: Size) -> DynamicImage {
    let Size { width, height } = to;
    if (picture.width(), picture.height()) == (width, height) {
        return eight_bits(picture);
    }
    // Most of the way in the quick manner, the rest in the one that looks good.
    let quick = if picture.width() / 4 > width && picture.height() / 4 > height {
        picture.thumbnail_exact(width * 2, height * 2)
    } else {
        picture
    };
    eight_bits(quick).resize_exact(width, height, FilterType::CatmullRom)
}

/// The same with as much in a colour as all kinds of thumbnails can have.
fn eight_bits(picture: DynamicImage) -> DynamicImage {
    use DynamicImage::{ImageLuma8, ImageLumaA8, ImageRgb8, ImageRgba8};
    match picture {
        ImageLuma8(_) | ImageLumaA8(_) | ImageRgb8(_) | ImageRgba8(_) => picture,
        other if other.color().has_alpha() => ImageRgba8(other.into_rgba8()),
        other => ImageRgb8(other.into_rgb8()),
    }
}

fn write(picture: &DynamicImage, kind: Kind, profile: Option<Vec<u8>>) -> Option<Vec<u8>> {
    use image::{ImageEncoder, codecs::png::PngEncoder};
    fn with<E: ImageEncoder>(mut encoder: E, picture: &DynamicImage, profile: Option<Vec<u8>>) -> Option<()> {
        if let Some(profile) = profile.filter(|_| picture.color().has_color())
            && let Err(e) = encoder.set_icc_profile(profile)
        {
            tracing::trace!(error = %e, "a thumbnail has no colour profile");
        }
        picture.write_with_encoder(encoder).ok()
    }
    let mut bytes = Cursor::new(Vec::new());
    let written = match kind {
        Kind::Png => with(PngEncoder::new(&mut bytes), picture, profile),
        Kind::Jpeg => with(JpegEncoder::new_with_quality(&mut bytes, QUALITY), picture, profile),
    };
    written.map(|()| bytes.into_inner())
}

fn unshown(e: image::ImageError) -> Unshown {
    match e {
        image::ImageError::Limits(_) => Unshown::TooLarge,
        _ => Unshown::NotAPicture,
    }
}
