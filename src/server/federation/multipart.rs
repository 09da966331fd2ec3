//! `multipart/mixed`, as it comes: the way in which another server sends a file.
//!
//! Source: RFC 2046, section 5.1; Matrix server-server API, "Content repository".

use bytes::{Buf, Bytes, BytesMut};

/// The longest boundary, and the longest head of a part, in bytes.
const MAX_BOUNDARY: usize = 70;
const MAX_HEAD: usize = 8 << 10;

/// What the head of a part says, of what we look at.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PartHead {
    /// What kind it is.
    pub content_type: Option<String>,
    /// What it is called, among others.
    pub disposition: Option<String>,
    /// Where it is instead.
    pub location: Option<String>,
}

/// A piece of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece {
    /// A part begins.
    Head(PartHead),
    /// Some of its bytes.
    Content(Bytes),
    /// There are no more parts.
    End,
}

/// It is not as it must be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the parts of the answer are not told apart")]
pub struct Malformed;

/// What has come and was not looked at yet. Of content that is not more than a boundary, of a head [`MAX_HEAD`].
#[derive(Debug)]
pub struct Multipart {
    /// What stands between two parts.
    delimiter: Vec<u8>,
    rest: BytesMut,
    at: At,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum At {
    Preamble,
    Delimiter,
    Head,
    Content,
    End,
}

impl Multipart {
    /// For an answer of this `Content-Type`; `None`: it has no parts.
    pub fn of(content_type: &str) -> Option<Self> {
        let mut words = content_type.split(';');
        if !words.next()?.trim().eq_ignore_ascii_case("multipart/mixed") {
            return None;
        }
        let boundary = words.find_map(|word| {
            let (name, value) = word.split_once('=')?;
            name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
        })?;
        if boundary.is_empty() || boundary.len() > MAX_BOUNDARY || !boundary.is_ascii() {
            return None;
        }
        // The first one can stand at the very beginning.
        let rest = BytesMut::from(&b"\r\n"[..]);
        Some(Self { delimiter: format!("\r\n--{boundary}").into_bytes(), rest, at: At::Preamble })
    }

    /// Takes what has come.
    pub fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
    }

    /// The next piece; `None`: more has to come first.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn next_piece(&mut self) -> Result<Option<Piece>, Malformed> {
        loop {
            match self.at {
                At::Preamble | At::Content => {
                    let found = find(&self.rest, &self.delimiter);
                    let ends = found.unwrap_or((self.rest.len() + 1).saturating_sub(self.delimiter.len()));
                    let content = self.rest.split_to(ends).freeze();
                    let is_content = self.at == At::Content;
                    if found.is_some() {
                        self.rest.advance(self.delimiter.len());
                        self.at = At::Delimiter;
                    }
                    if is_content && !content.is_empty() {
                        return Ok(Some(Piece::Content(content)));
                    }
                    if found.is_none() {
                        return Ok(None);
                    }
                }
                At::Delimiter => {
                    if self.rest.len() < 2 {
                        return Ok(None);
                    }
                    if self.rest.starts_with(b"--") {
                        self.at = At::End;
                        continue;
                    }
                    let Some(end) = self.line_end(b"\r\n")? else { return Ok(None) };
                    if !self.rest[..end].iter().all(|b| b" \t".contains(b)) {
                        return Err(Malformed);
                    }
                    // The line stays: a head can be empty.
                    self.rest.advance(end);
                    self.at = At::Head;
                }
                At::Head => {
                    let Some(end) = self.line_end(b"\r\n\r\n")? else { return Ok(None) };
                    let head = self.rest.split_to(end + 4);
                    self.at = At::Content;
                    return parse(&head[2..]).map(|head| Some(Piece::Head(head)));
                }
                At::End => return Ok(Some(Piece::End)),
            }
        }
    }
}

impl Multipart {
    /// Where what is no content ends; it is not long.
    fn line_end(&self, end: &[u8]) -> Result<Option<usize>, Malformed> {
        match find(&self.rest[..self.rest.len().min(MAX_HEAD)], end) {
            None if self.rest.len() >= MAX_HEAD => Err(Malformed),
            found => Ok(found),
        }
    }
}

/// The head of a part, with the empty line at its end.
fn parse(head: &[u8]) -> Result<PartHead, Malformed> {
    let mut space = [httparse::EMPTY_HEADER; 16];
    let (_, headers) = match httparse::parse_headers(head, &mut space) {
        Ok(httparse::Status::Complete(parsed)) => parsed,
        Ok(httparse::Status::Partial) | Err(_) => return Err(Malformed),
    };
    let text = |name: &str| {
        let found = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        str::from_utf8(found.value).ok().map(|value| value.trim().to_owned())
    };
    Ok(PartHead {
        content_type: text("content-type"),
        disposition: text("content-disposition"),
        location: text("location"),
    })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    // Most bytes begin nothing: they are passed over quickly.
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|b| *b == what[0]) {
        let at = from + at;
        if bytes[at..].starts_with(what) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// The name of a file in a `Content-Disposition`.
pub fn file_name(disposition: &str) -> Option<String> {
    let parameters = parameters(disposition);
    let named = |wanted: &str| {
        parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str())
    };
    if let Some(encoded) = named("filename*") {
        let mut parts = encoded.splitn(3, '\'');
        let (charset, text) = (parts.next()?, parts.nth(1)?);
        return charset.eq_ignore_ascii_case("utf-8").then(|| percent_decoded(text)).flatten();
    }
    let name = named("filename")?.to_owned();
    (!name.is_empty()).then_some(name)
}

/// The parameters of a header, by their names: what stands in quotes is not looked into, and a backslash there goes before
/// what would mean something.
fn parameters(header: &str) -> Vec<(String, String)> {
    let (mut all, mut part, mut is_quoted) = (Vec::new(), (String::new(), None::<String>), false);
    let mut rest = header.chars();
    while let Some(c) = rest.next() {
        match (c, &mut part.1) {
            ('\\', Some(value)) if is_quoted => value.extend(rest.next()),
            ('"', Some(_)) => is_quoted = !is_quoted,
            (';', _) if !is_quoted => all.push(std::mem::take(&mut part)),
            ('=', None) => part.1 = Some(String::new()),
            (c, Some(value)) => value.push(c),
            (c, None) => part.0.push(c),
        }
    }
    all.push(part);
    let named =
        |(name, value): (String, Option<String>)| Some((name.trim().to_owned(), value?.trim().to_owned()));
    all.into_iter().skip(1).filter_map(named).collect()
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        bytes.push(u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(bytes).ok().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes of a body that arrives in pieces of this size.
    fn read(body: &[u8], size: usize) -> Result<(Vec<PartHead>, Vec<u8>), Malformed> {
        let mut parts = Multipart::of("multipart/mixed; boundary=\"b\"").expect("has parts");
        let (mut heads, mut last) = (Vec::new(), Vec::new());
        for piece in body.chunks(size) {
            parts.take(piece);
            while let Some(piece) = parts.next_piece()? {
                match piece {
                    Piece::Head(head) => {
                        heads.push(head);
                        last.clear();
                    }
                    Piece::Content(bytes) => last.extend_from_slice(&bytes),
                    Piece::End => return Ok((heads, last)),
                }
            }
        }
        Err(Malformed)
    }

    proptest! {
        #[test]
        fn a_file_is_read_however_it_is_cut(content in proptest::collection::vec(any::<u8>(), 0..300), size in 1..50_usize) {
            prop_assume!(find(&content, b"\r\n--b").is_none());
            let body = [
                &b"--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\ncontent-type: image/png\r\n\r\n"[..],
                &content,
                b"\r\n--b--\r\n",
            ]
            .concat();
            let (heads, last) = read(&body, size).expect("is well formed");
            prop_assert_eq!(heads.len(), 2);
            prop_assert_eq!(heads[1].content_type.as_deref(), Some("image/png"));
            prop_assert_eq!(last, content);
        }
    }

    #[test]
    fn what_is_not_told_apart_is_no_file() {
        for body in
            [&b""[..], b"--b\r\n\r\n{}", b"--bx\r\n\r\n{}\r\n--b--", b"--b\r\nno header\r\n\r\n\r\n--b--"]
        {
            assert_eq!(read(body, 7), Err(Malformed), "{}", String::from_utf8_lossy(body));
        }
        assert_eq!(read(b"--b\r\n\r\nx\r\n--b--", 3), Ok((vec![PartHead::default()], b"x".to_vec())));
        for kind in
            ["application/json", "multipart/mixed", "multipart/mixed; boundary=", "text/plain; boundary=b"]
        {
            assert!(Multipart::of(kind).is_none(), "{kind}");
        }
    }

    #[test]
    fn a_name_is_read_in_either_form() {
        for (said, name) in [
            ("inline; filename=\"a b.png\"", Some("a b.png")),
            ("attachment; filename=a.png", Some("a.png")),
            ("inline; filename=\"_\"; filename*=utf-8''%D0%BA.png", Some("к.png")),
            ("inline; filename*=utf-8''%zz", None),
            ("inline; filename*=iso-8859-1''x", None),
            ("inline", None),
            ("inline; filename=\"\"", None),
            ("inline; filename=\"my; cat.png\"", Some("my; cat.png")),
            ("inline; x=1; filename=\"x=1;filename=evil.exe\"", Some("x=1;filename=evil.exe")),
            (r#"inline; filename="a\"b\\.png""#, Some(r#"a"b\.png"#)),
            ("inline; filename=\"never ends; x=y", Some("never ends; x=y")),
            ("inline; filename=\"a\\", Some("a")),
            ("filename=a.png", None),
        ] {
            assert_eq!(file_name(said).as_deref(), name, "{said}");
        }
    }
}
