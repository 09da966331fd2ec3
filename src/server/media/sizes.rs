//! In which sizes pictures are shown: a few, so that what is made once does for everybody.
//!
//! Source: Matrix client-server API, "Thumbnails".

/// Width and height, in pixels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size {
    /// From left to right.
    pub width: u32,
    /// From top to bottom.
    pub height: u32,
}

/// What becomes of the form of a picture.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// It stays, within the size.
    Scale,
    /// It becomes that of the size: what sticks out is cut off.
    Crop,
}

/// What is done with a picture.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Plan {
    /// Nothing: it is not larger than that.
    Itself,
    /// It is made as large as `scaled`, of which the middle, as large as `cut`, is kept.
    Made { scaled: Size, cut: Size },
}

/// Those of the specification, and some for what screens have become.
const SCALED: [Size; 4] = [size(320, 240), size(640, 480), size(800, 600), size(1600, 1200)];
const CROPPED: [Size; 4] = [size(32, 32), size(96, 96), size(320, 320), size(640, 640)];

const fn size(width: u32, height: u32) -> Size {
    Size { width, height }
}

/// The smallest size of the table that is no smaller than `wanted`; `None`: there is none.
pub(super) fn of_table(wanted: Size, method: Method) -> Option<Size> {
    let table = match method {
        Method::Scale => &SCALED,
        Method::Crop => &CROPPED,
    };
    table.iter().copied().find(|size| size.width >= wanted.width && size.height >= wanted.height)
}

/// What is done with a picture of the size `has` for somebody who wants it in the size `wanted`. It is never made larger.
pub(super) fn plan(has: Size, wanted: Size, method: Method) -> Plan {
    let fits = |within: Size| has.width <= within.width && has.height <= within.height;
    let Some(of) = of_table(wanted, method).filter(|of| !fits(wanted) && !fits(*of)) else {
        return Plan::Itself;
    };
    let by_width = u64::from(of.width) * u64::from(has.height);
    let by_height = u64::from(of.height) * u64::from(has.width);
    // As wide as the size, or as high.
    let is_as_wide = match method {
        Method::Scale => by_width <= by_height,
        Method::Crop => by_width >= by_height,
    };
    let part = |of: u32, by: u32, over: u32| -> u32 {
        let exact = (u64::from(of) * u64::from(by) + u64::from(over) / 2) / u64::from(over.max(1));
        u32::try_from(exact.max(1)).unwrap_or(u32::MAX)
    };
    let scaled = if is_as_wide {
        size(of.width, part(has.height, of.width, has.width))
    } else {
        size(part(has.width, of.height, has.height), of.height)
    };
    let scaled = if scaled.width > has.width || scaled.height > has.height { has } else { scaled };
    let cut = match method {
        Method::Scale => scaled,
        Method::Crop => size(scaled.width.min(of.width), scaled.height.min(of.height)),
    };
    Plan::Made { scaled, cut }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_picture_is_scaled_into_a_size_or_cut_to_it_and_stays_as_it_is_when_it_is_small() {
        use Method::{Crop, Scale};
        let table = [
            ((1000, 500), (320, 240), Scale, Some(((320, 160), (320, 160)))),
            ((500, 1000), (320, 240), Scale, Some(((120, 240), (120, 240)))),
            ((1000, 500), (300, 100), Scale, Some(((320, 160), (320, 160)))),
            ((1000, 500), (1, 1), Scale, Some(((320, 160), (320, 160)))),
            ((3000, 2000), (641, 1), Scale, Some(((800, 533), (800, 533)))),
            ((3000, 2000), (900, 900), Scale, Some(((1600, 1067), (1600, 1067)))),
            ((3000, 2000), (2000, 1500), Scale, None),
            ((300, 200), (320, 240), Scale, None),
            ((310, 200), (300, 190), Scale, None),
            ((1000, 500), (32, 32), Crop, Some(((64, 32), (32, 32)))),
            ((500, 1000), (96, 96), Crop, Some(((96, 192), (96, 96)))),
            ((500, 1000), (33, 10), Crop, Some(((96, 192), (96, 96)))),
            ((50, 200), (96, 96), Crop, Some(((50, 200), (50, 96)))),
            ((32, 32), (32, 32), Crop, None),
            ((2000, 2000), (1000, 1000), Crop, None),
            ((20_000, 1), (32, 32), Crop, Some(((20_000, 1), (32, 1)))),
            ((20_000, 1), (320, 240), Scale, Some(((320, 1), (320, 1)))),
        ];
        for ((width, height), wanted, method, expected) in table {
            let plan = plan(size(width, height), size(wanted.0, wanted.1), method);
            let made = match plan {
                Plan::Itself => None,
                Plan::Made { scaled, cut } => Some(((scaled.width, scaled.height), (cut.width, cut.height))),
            };
            assert_eq!(made, expected, "{width}x{height} for {wanted:?}, {method:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_made_larger_and_nothing_smaller_than_wanted_unless_it_is(
            has in (1..60_000u32, 1..60_000u32),
            wanted in (1..2_000u32, 1..2_000u32),
            crop in any::<bool>(),
        ) {
            let (has, wanted) = (size(has.0, has.1), size(wanted.0, wanted.1));
            let method = if crop { Method::Crop } else { Method::Scale };
            if let Plan::Made { scaled, cut } = plan(has, wanted, method) {
                let of = of_table(wanted, method).expect("of the table");
                prop_assert!(scaled.width <= has.width && scaled.height <= has.height);
                prop_assert!(cut.width <= scaled.width && cut.height <= scaled.height);
                prop_assert!(cut.width >= 1 && cut.height >= 1);
                prop_assert!(cut.width <= of.width && cut.height <= of.height);
                let fills = |made: u32, of: u32, has: u32| made == of.min(has);
                let (wide, high) = (fills(cut.width, of.width, has.width), fills(cut.height, of.height, has.height));
                match method {
                    Method::Scale => prop_assert!(wide || high),
                    Method::Crop => prop_assert!(wide && high),
                }
            }
        }
    }
}
