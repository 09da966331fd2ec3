//! Paths of requests to other servers, with identifiers in them.

/// Fills the `{}` of a template, each with one part of the path.
pub fn path(template: &str, parts: &[&str]) -> String {
    let mut filled =
        String::with_capacity(template.len() + parts.iter().map(|part| part.len()).sum::<usize>());
    let mut parts = parts.iter();
    for (n, piece) in template.split("{}").enumerate() {
        if n > 0 {
            parts.next().into_iter().for_each(|part| encode(part, &mut filled));
        }
        filled.push_str(piece);
    }
    filled
}

/// Everything but what RFC 3986 calls unreserved: what an identifier has must not end a part of the path.
fn encode(part: &str, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => {
                let digit = |n: u8| char::from(DIGITS[usize::from(n & 15)]);
                out.extend(['%', digit(byte >> 4), digit(byte)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_one_part_of_the_path_whatever_they_contain() {
        let rows = [
            ("!a:b.example", "/x/%21a%3Ab.example/y"),
            ("$a/b+c", "/x/%24a%2Fb%2Bc/y"),
            ("@é ?#%:x", "/x/%40%C3%A9%20%3F%23%25%3Ax/y"),
        ];
        for (part, expected) in rows {
            assert_eq!(path("/x/{}/y", &[part]), expected);
        }
        assert_eq!(path("/v2/{}/{}?a={}", &["1", "2", "3"]), "/v2/1/2?a=3");
    }
}
