//! Server-sent events in all forms and cuts.

use proptest::prelude::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// All that a stream says that comes in these chunks; each write as its `id` and its events.
fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut stream = EventStream::default();
    let mut said = Vec::new();
    for chunk in chunks {
        stream.handle_chunk(chunk).unwrap();
        while let Some(piece) = stream.poll_piece().unwrap() {
            said.push(match piece {
                Piece::Comment => String::from(":"),
                Piece::Hello(data) => format!("hello {data}"),
                Piece::End(data) => format!("end {data}"),
                Piece::Write { id, text } => {
                    let frames = frames(&text);
                    let events: Vec<_> =
                        frames.iter().map(|frame| format!("{}={}", frame.kind, frame.data)).collect();
                    format!("{id} [{}]", events.join(", "))
                }
            });
        }
    }
    said
}

#[test]
fn what_a_stream_says_whatever_its_form() {
    for (text, said) in [
        ("event: hello\ndata: {}\n\n", vec!["hello {}"]),
        ("event:hello\ndata:{}\nid:1\n\n", vec!["1 [hello={}]"]),
        (": here\n\n", vec![":"]),
        (":\n:\n\n:\n", vec![":", ":", ":"]),
        ("event: p\ndata: a\n\nevent: e\ndata: b\nid: 7\n\n", vec!["7 [p=a, e=b]"]),
        ("id: 7\nevent: p\ndata: a\n\n", vec!["7 [p=a]"]),
        ("event: p\ndata: a\n\nid: 7\n\n", vec!["7 [p=a]"]),
        ("event: p\ndata: a\n\nevent: p\ndata: b\n\n", vec![]),
        ("event: p\ndata: a\nid: 7\n", vec![]),
        ("event: p\ndata: a\n\n: c\n\nevent: p\ndata: b\nid: 8\n\n", vec![":", "8 [p=a, p=b]"]),
        ("data: a\ndata:  b\ndata\ndata:\nid: 1\n\n", vec!["1 [=a\n b\n\n]"]),
        ("retry: 5\nx: y\nevent: new\ndata: a\nid: 1\n\n", vec!["1 [new=a]"]),
        ("id\nevent: p\ndata: a\n\nid: a\0b\ndata: b\n\nid: 2\n\n", vec!["2 [p=a, =b]"]),
        ("event: p\n\ndata: a\nid: 1\n\n", vec!["1 [=a]"]),
        ("\u{feff}event: hello\ndata: 1\n\n", vec!["hello 1"]),
        ("\u{feff}\u{feff}event: hello\ndata: 1\n\n", vec![]),
        ("event: end\ndata: {\"reason\":\"slow\"}\n\n", vec!["end {\"reason\":\"slow\"}"]),
        ("event: p\ndata: a\n\nevent: end\ndata: x\n\n", vec!["end x"]),
        ("\n\n\nid: 1\ndata: ü\n\n\nid: 2\n\n", vec!["1 [=ü]", "2 []"]),
    ] {
        for end in ["\n", "\r\n", "\r"] {
            let text = text.replace('\n', end);
            let bytes = text.as_bytes();
            assert_eq!(read([bytes]), said, "{text:?}");
            for first in 0..=bytes.len() {
                for second in first..=bytes.len() {
                    let chunks = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                    assert_eq!(read(chunks), said, "{text:?} cut at {first} and {second}");
                }
            }
        }
    }
}

#[test]
fn heartbeats_take_no_memory() {
    let mut stream = EventStream::default();
    for text in [": \n\n", ":\n", "\n", "event: hello\ndata: {}\n\n", "event: p\ndata: a\nid: 1\n\n"] {
        for _ in 0..3 {
            stream.handle_chunk(text.as_bytes()).unwrap();
            while stream.poll_piece().unwrap().is_some() {}
            assert!(stream.is_between_writes(), "{text:?}");
        }
        assert!(stream.bytes.len() < 100, "{text:?}");
    }
    stream.handle_chunk(b"event: p\ndata: a\n\n").unwrap();
    assert_eq!(stream.poll_piece(), Ok(None));
    assert!(!stream.is_between_writes());
}

#[test]
fn what_is_no_text_or_has_no_end_is_refused() {
    let mut stream = EventStream::default();
    stream.handle_chunk(b"data: \xff\nid: 1\n\n").unwrap();
    assert_eq!(stream.poll_piece(), Err(BadStream));
    let mut stream = EventStream::default();
    let chunk = vec![b'x'; 1 << 20];
    let taken = (0..100).take_while(|_| stream.handle_chunk(&chunk).is_ok()).count();
    assert_eq!(taken << 20, MAX_WRITE_BYTES);
}

proptest! {
    #![proptest_config(crate::core::testing::config())]

    /// However any bytes are cut, what they say is the same.
    #[test]
    fn a_cut_changes_nothing(
        parts in prop::collection::vec(prop::sample::select(&[
            "event: p\n", "event: hello\n", "event: end\n", "data: {}\n", "data: ä\n", "id: 1\n", "id: 22\n", "id\n",
            ":\n", "\n", "\r", "\r\n", "x", "\u{feff}", ":", "data", " ",
        ][..]), 0..30),
        cuts in prop::collection::vec(0usize..200, 0..6),
    ) {
        let bytes = parts.concat().into_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
        cuts.sort_unstable();
        let chunks = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        prop_assert_eq!(read(chunks), read([&bytes[..]]));
    }
}
