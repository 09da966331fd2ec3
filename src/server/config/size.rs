//! Sizes as people write them: `4096`, `512K`, `100M`, `10G`; units are powers of 1024.

const UNITS: [(&str, u64); 3] = [("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];

/// Reads a whole number of bytes, or one with a unit.
pub(super) fn parse(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" => 1,
        unit => UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Writes a size in the largest unit that fits it exactly.
pub(super) fn show(bytes: u64) -> String {
    match UNITS.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{}{name}", bytes / unit),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_a_number_and_perhaps_a_unit() {
        let table = [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("512K", Some(512 << 10)),
            ("100M", Some(100 << 20)),
            ("10G", Some(10 << 30)),
            ("", None),
            ("M", None),
            ("-1", None),
            ("1.5M", None),
            ("1 M", None),
            ("1MB", None),
            ("1m", None),
            ("99999999999999999999", None),
            ("18446744073709551615G", None),
        ];
        for (text, bytes) in table {
            assert_eq!(parse(text), bytes, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(bytes in any::<u64>()) {
            prop_assert_eq!(parse(&show(bytes)), Some(bytes));
        }
    }
}
