//! Escaping of path segments and query values (RFC 3986).

/// Appends `text`, escaped for use as one path segment or one query value.
pub fn push_escaped(out: &mut String, text: &str) {
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte as char);
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                out.push(b"0123456789ABCDEF"[usize::from(nibble)] as char);
            }
        }
    }
}

/// Joins the prefix of an API with escaped segments: `path("/_matrix/client/v3", &["rooms", "!a:b"])`.
pub fn path(prefix: &str, segments: &[&str]) -> String {
    let mut out = String::from(prefix);
    for segment in segments {
        out.push('/');
        push_escaped(&mut out, segment);
    }
    out
}

/// Appends `name=value` to a path, escaped.
pub fn push_query(path: &mut String, name: &str, value: &str) {
    path.push(if path.contains('?') { '&' } else { '?' });
    path.push_str(name);
    path.push('=');
    push_escaped(path, value);
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn nothing_in_an_id_can_leave_its_segment() {
        let mut out = path("/p", &["rooms", "!a/b?c#d:ex.org", "ü %"]);
        push_query(&mut out, "from", "a&b=c");
        push_query(&mut out, "dir", "b");
        assert_eq!(out, "/p/rooms/%21a%2Fb%3Fc%23d%3Aex.org/%C3%BC%20%25?from=a%26b%3Dc&dir=b");
    }
}
