//! M18: files: uploaded, read, and kept within their limits.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    cli::{Serve, run, setting},
    memory::resident,
    peer::read_message,
    poll::connect,
    support::{Client, TempDir, TestServer, http, until},
};

pub const UPLOAD: &str = "/_matrix/media/v3/upload";
pub const MEDIA: &str = "/_matrix/client/v1/media";

/// An answer with its bytes.
pub struct File {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub bytes: Vec<u8>,
}

impl File {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    #[track_caller]
    pub fn refused(&self, status: u16, errcode: &str) -> Value {
        let body = self.json();
        let text = String::from_utf8_lossy(&self.bytes);
        assert_eq!((self.status, body["errcode"].as_str()), (status, Some(errcode)), "{text}");
        body
    }
}

/// Sends anything, and takes anything.
pub fn ask(client: &Client, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> File {
    let mut request = http::Request::builder().method(method).uri(format!("{}{path}", client.base));
    if let Some(token) = &client.token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = match body {
        Some(body) => client.agent.run(request.body(body).expect("a request")),
        None => client.agent.run(request.body(()).expect("a request")),
    };
    let mut response = response.expect("the server answers");
    let bytes = match method {
        "HEAD" => Vec::new(),
        _ => response.body_mut().with_config().limit(1 << 30).read_to_vec().expect("a body"),
    };
    File { status: response.status().as_u16(), headers: response.headers().clone(), bytes }
}

/// Uploads, and answers with the path below `/download` and `/thumbnail`.
#[track_caller]
pub fn upload(client: &Client, kind: &str, bytes: &[u8]) -> String {
    let answer = ask(client, "POST", UPLOAD, &[("content-type", kind)], Some(bytes));
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.bytes));
    below(&answer.json())
}

fn below(answer: &Value) -> String {
    let uri = answer["content_uri"].as_str().expect("an address");
    uri.strip_prefix("mxc://").expect("of Matrix").to_owned()
}

pub fn download(client: &Client, of: &str) -> File {
    ask(client, "GET", &format!("{MEDIA}/download/{of}"), &[], None)
}

/// The files in a data folder that were uploaded, and those that have no place.
pub fn files(data: &Path) -> (usize, usize) {
    let count = |folder: &Path| {
        std::fs::read_dir(folder).map_or(0, |entries| {
            entries.filter(|entry| entry.as_ref().expect("an entry").path().is_file()).count()
        })
    };
    let media = data.join("media");
    let Ok(folders) = std::fs::read_dir(&media) else { return (0, 0) };
    let all: usize = folders.map(|folder| count(&folder.expect("an entry").path())).sum();
    let unsettled = count(&media.join("unsettled"));
    (all - unsettled, unsettled)
}

#[test]
fn a_file_is_read_by_everybody_with_a_token_as_it_was_uploaded_after_a_restart_too() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let bytes: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
    let mut all = Vec::new();
    for version in ["r0", "v1", "v3"] {
        let path = format!("/_matrix/media/{version}/upload?filename=cat.png");
        let answer = ask(&alice, "POST", &path, &[("content-type", "image/png")], Some(&bytes));
        assert_eq!(answer.status, 200);
        all.push(below(&answer.json()));
    }
    let check = |server: &TestServer| {
        let bob = server.log_in("bob");
        for of in &all {
            let file = download(&bob, of);
            assert_eq!((file.status, file.bytes == bytes), (200, true));
            assert_eq!(file.header("content-type"), "image/png");
            assert_eq!(file.header("content-length"), bytes.len().to_string());
            assert_eq!(file.header("content-disposition"), "inline; filename=\"cat.png\"");
            assert_eq!(file.header("cache-control"), "private, max-age=31536000, immutable");
            assert_eq!(file.header("cross-origin-resource-policy"), "cross-origin");
            assert_eq!(file.header("x-content-type-options"), "nosniff");
            assert_eq!(file.header("access-control-allow-origin"), "*");
            assert!(file.header("content-security-policy").starts_with("sandbox; default-src 'none'; "));
        }
    };
    check(&server);
    drop((alice, bob));
    check(&server.restart());
}

#[test]
fn without_a_token_nothing_is_read_or_uploaded_and_the_old_paths_have_no_files() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let of = upload(&alice, "text/plain", b"hello");
    let nobody = server.anonymous();
    for path in [
        format!("{MEDIA}/download/{of}"),
        format!("{MEDIA}/download/{of}/name.txt"),
        format!("{MEDIA}/thumbnail/{of}?width=32&height=32"),
        format!("{MEDIA}/config"),
        "/_matrix/media/v3/config".to_owned(),
    ] {
        ask(&nobody, "GET", &path, &[], None).refused(401, "M_MISSING_TOKEN");
        let gone = nobody.clone().with_token(&json!("pltl_wrong"));
        ask(&gone, "GET", &path, &[], None).refused(401, "M_UNKNOWN_TOKEN");
    }
    ask(&nobody, "POST", UPLOAD, &[], Some(b"x")).refused(401, "M_MISSING_TOKEN");
    ask(&nobody, "POST", "/_matrix/media/v1/create", &[], Some(b"")).refused(401, "M_MISSING_TOKEN");
    ask(&nobody, "PUT", &format!("{UPLOAD}/{of}"), &[], Some(b"x")).refused(401, "M_MISSING_TOKEN");
    for version in ["r0", "v1", "v3"] {
        for what in ["download", "thumbnail"] {
            for client in [&nobody, &alice] {
                let path = format!("/_matrix/media/{version}/{what}/{of}?width=32&height=32");
                ask(client, "GET", &path, &[], None).refused(404, "M_NOT_FOUND");
            }
        }
        let path = format!("/_matrix/media/{version}/download/{of}/name.txt");
        ask(&nobody, "GET", &path, &[], None).refused(404, "M_NOT_FOUND");
    }
    let spare = server.log_in("alice");
    spare.post("/_matrix/client/v3/logout", json!({})).ok();
    ask(&spare, "GET", &format!("{MEDIA}/download/{of}"), &[], None).refused(401, "M_UNKNOWN_TOKEN");
    for version in ["v3", "r0", "v1"] {
        let path = format!("/_matrix/media/{version}/preview_url?url=http://localhost/");
        ask(&alice, "GET", &path, &[], None).refused(404, "M_UNRECOGNIZED");
    }
    let path = format!("{MEDIA}/preview_url?url=http://localhost/");
    ask(&alice, "GET", &path, &[], None).refused(404, "M_UNRECOGNIZED");
}

#[test]
fn what_could_run_in_a_page_is_saved_and_whatever_it_is_called_says_nothing_else() {
    let server = TestServer::start();
    let alice = server.register("alice");
    for (kind, name, disposition) in [
        ("text/html", "x.html", "attachment; filename=\"x.html\""),
        ("image/svg+xml", "x.svg", "attachment; filename=\"x.svg\""),
        ("text/plain; charset=utf-8", "a%20b", "inline; filename=\"a b\""),
        (
            "image/png",
            "%22%0D%0Ax%3A%20y",
            "inline; filename=\"___x: y\"; filename*=UTF-8''%22%0D%0Ax%3A%20y",
        ),
        ("image/png", "%D0%BA.png", "inline; filename=\"_.png\"; filename*=UTF-8''%D0%BA.png"),
    ] {
        let path = format!("{UPLOAD}?filename={name}");
        let answer =
            ask(&alice, "POST", &path, &[("content-type", kind)], Some(b"<script>alert(1)</script>"));
        let of = below(&answer.json());
        let file = download(&alice, &of);
        assert_eq!(file.header("content-type"), kind);
        assert_eq!(file.header("content-disposition"), disposition);
        assert_eq!(file.headers.get_all("content-disposition").iter().count(), 1);
        let file = download(&alice, &format!("{of}/other%2Fname"));
        assert!(file.header("content-disposition").ends_with("; filename=\"other/name\""), "{kind}");
    }
    // Nothing is said of it: it is bytes, without a name.
    let of = below(&ask(&alice, "POST", UPLOAD, &[], Some(b"?")).json());
    for of in [of.clone(), format!("{of}/")] {
        let file = download(&alice, &of);
        assert_eq!(file.header("content-type"), "application/octet-stream");
        assert_eq!(file.header("content-disposition"), "attachment");
    }
    let long = "x".repeat(1025);
    ask(&alice, "POST", &format!("{UPLOAD}?filename={long}"), &[], Some(b"x"))
        .refused(400, "M_INVALID_PARAM");
    ask(&alice, "POST", UPLOAD, &[("content-type", &long)], Some(b"x")).refused(400, "M_INVALID_PARAM");
}

#[test]
fn a_part_of_a_file_is_answered_and_what_was_had_before_is_not_sent_again() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let of = upload(&alice, "text/plain", b"0123456789");
    let path = format!("{MEDIA}/download/{of}");
    let get = |headers: &[(&str, &str)]| ask(&alice, "GET", &path, headers, None);
    let etag = get(&[]).header("etag").to_owned();
    for (range, status, content_range, bytes) in [
        ("bytes=0-3", 206, "bytes 0-3/10", &b"0123"[..]),
        ("bytes=7-", 206, "bytes 7-9/10", b"789"),
        ("bytes=-2", 206, "bytes 8-9/10", b"89"),
        ("bytes=3-100", 206, "bytes 3-9/10", b"3456789"),
        ("bytes=0-1,4-5", 200, "", b"0123456789"),
        ("nonsense", 200, "", b"0123456789"),
        ("bytes=10-", 416, "bytes */10", b""),
    ] {
        let file = get(&[("range", range)]);
        assert_eq!((file.status, file.header("content-range")), (status, content_range), "{range}");
        assert_eq!(file.bytes, bytes, "{range}");
        assert_eq!(file.header("accept-ranges"), "bytes");
    }
    assert_eq!(get(&[("range", "bytes=0-3"), ("if-range", &etag)]).bytes, b"0123");
    assert_eq!(get(&[("range", "bytes=0-3"), ("if-range", "\"other\"")]).bytes, b"0123456789");
    let known = get(&[("if-none-match", &etag)]);
    assert_eq!((known.status, known.bytes.len()), (304, 0));
    let head = ask(&alice, "HEAD", &path, &[("range", "bytes=0-3")], None);
    assert_eq!((head.status, head.header("content-length")), (200, "10"));
    let empty = upload(&alice, "text/plain", b"");
    let file = download(&alice, &empty);
    assert_eq!((file.status, file.header("content-length"), file.bytes.len()), (200, "0", 0));
    let empty = format!("{MEDIA}/download/{empty}");
    assert_eq!(ask(&alice, "GET", &empty, &[("range", "bytes=0-")], None).status, 416);
}

#[test]
fn what_is_no_address_of_a_file_is_not_found_and_leads_nowhere() {
    let server = TestServer::start();
    let alice = server.register("alice");
    upload(&alice, "text/plain", b"hello");
    for of in [
        "localhost/unknown",
        "localhost/..%2F..%2Fpilotlight.db",
        "localhost/%2e%2e",
        "localhost/%00",
        "localhost/a.b",
        "127.0.0.1%2F../x",
        "local%20host/x",
        "elsewhere.example/x",
        &format!("localhost/{}", "x".repeat(300)),
    ] {
        download(&alice, of).refused(404, "M_NOT_FOUND");
    }
    let of = "localhost/unknown";
    for query in ["timeout_ms=-1", "timeout_ms=soon"] {
        let path = format!("{MEDIA}/download/{of}?{query}");
        ask(&alice, "GET", &path, &[], None).refused(400, "M_INVALID_PARAM");
    }
    ask(&alice, "POST", &format!("{MEDIA}/download/{of}"), &[], Some(b"")).refused(405, "M_UNRECOGNIZED");
    ask(&alice, "GET", UPLOAD, &[], None).refused(405, "M_UNRECOGNIZED");
}

#[test]
fn an_address_can_be_had_before_its_file_which_is_waited_for_and_comes_once() {
    let server = TestServer::driven();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let create = || {
        let answer = alice.post("/_matrix/media/v1/create", json!({})).ok();
        (below(&answer), answer["unused_expires_at"].as_u64().expect("a time"))
    };
    let (of, expires_ms) = create();
    assert_eq!(expires_ms, server.app().unix_ms() + 24 * 3600 * 1000);
    let path = format!("{MEDIA}/download/{of}?timeout_ms=0");
    ask(&bob, "GET", &path, &[], None).refused(504, "M_NOT_YET_UPLOADED");
    let put = |who: &Client, of: &str| {
        let headers = [("content-type", "text/plain")];
        ask(who, "PUT", &format!("{UPLOAD}/{of}?filename=a.txt"), &headers, Some(b"late"))
    };
    put(&bob, &of).refused(403, "M_FORBIDDEN");
    put(&alice, "localhost/unknown").refused(404, "M_NOT_FOUND");
    put(&alice, "elsewhere.example/x").refused(404, "M_NOT_FOUND");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| download(&bob, &of));
        // It waits for its own time, which does not pass.
        until("somebody waits", || {
            server.app().clock.next_deadline().is_some_and(|at| at > server.app().now())
        });
        assert_eq!(put(&alice, &of).json(), json!({}));
        let file = waiting.join().expect("no panic");
        assert_eq!((file.status, &file.bytes[..]), (200, &b"late"[..]));
        assert_eq!(file.header("content-disposition"), "inline; filename=\"a.txt\"");
    });
    put(&alice, &of).refused(409, "M_CANNOT_OVERWRITE_MEDIA");
    let uploaded = upload(&alice, "text/plain", b"x");
    put(&alice, &uploaded).refused(409, "M_CANNOT_OVERWRITE_MEDIA");
    let (late, _) = create();
    server.pass(Duration::from_secs(24 * 3600));
    put(&alice, &late).refused(404, "M_NOT_FOUND");
    download(&alice, &late).refused(404, "M_NOT_FOUND");
    assert_eq!(download(&alice, &of).bytes, b"late");
}

#[test]
fn who_waits_for_a_file_that_does_not_come_is_told_so() {
    let server = TestServer::start();
    let alice = server.register("alice");
    let of = below(&alice.post("/_matrix/media/v1/create", json!({})).ok());
    let path = format!("{MEDIA}/download/{of}?timeout_ms=200");
    let begun = std::time::Instant::now();
    ask(&alice, "GET", &path, &[], None).refused(504, "M_NOT_YET_UPLOADED");
    assert!(begun.elapsed() >= Duration::from_millis(200));
}

#[test]
fn addresses_without_files_are_few_and_are_given_back_when_they_are_too_old() {
    let server = TestServer::driven_with(|config| config.rate_limits.enabled = false);
    let alice = server.register("alice");
    let create = || alice.post("/_matrix/media/v1/create", json!({}));
    for _ in 0..100 {
        create().ok();
    }
    let refused = create().refused(429, "M_LIMIT_EXCEEDED");
    assert_eq!(refused["retry_after_ms"], 24 * 3600 * 1000);
    server.register("bob").post("/_matrix/media/v1/create", json!({})).ok();
    server.pass(Duration::from_secs(24 * 3600));
    create().ok();
}

#[test]
fn files_have_a_largest_size_and_users_a_quota_and_what_is_refused_leaves_nothing() {
    let server = TestServer::start_with(|config| {
        config.media.max_upload_size = 1 << 20;
        config.media.user_quota = 1_500_000;
        config.media.quota = 2_500_000;
    });
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let config = alice.get(&format!("{MEDIA}/config")).ok();
    assert_eq!(config, json!({ "m.upload.size": 1 << 20 }));
    let send = |who: &Client, size: usize| ask(who, "POST", UPLOAD, &[], Some(&vec![7; size]));
    assert_eq!(send(&alice, 1 << 20).status, 200, "as large as allowed");
    send(&alice, (1 << 20) + 1).refused(413, "M_TOO_LARGE");
    send(&alice, 8 << 20).refused(413, "M_TOO_LARGE");
    send(&alice, 500_000).refused(403, "M_FORBIDDEN");
    assert_eq!(send(&alice, 400_000).status, 200);
    assert_eq!(send(&bob, 1_000_000).status, 200);
    send(&bob, 400_000).refused(507, "M_UNKNOWN");
    // Of one that does not say how long it is it shows late.
    let mut stream = connect(&alice);
    let token = alice.token.as_deref().expect("a token");
    let head = format!(
        "POST {UPLOAD} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("is sent");
    for _ in 0..40 {
        stream.write_all(b"10000\r\n").expect("is sent");
        stream.write_all(&[7; 65_536]).expect("is sent");
        stream.write_all(b"\r\n").expect("is sent");
    }
    stream.write_all(b"0\r\n\r\n").expect("is sent");
    let (head, _) = read_message(&mut stream).expect("an answer");
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    assert_eq!(files(server.data_dir()), (3, 0));
    let none = TestServer::start_with(|config| config.media.keep_free = u64::MAX);
    send(&none.register("alice"), 1).refused(507, "M_UNKNOWN");
    assert_eq!(files(none.data_dir()), (0, 0));
}

/// Begins an upload of `length` bytes, of which `sent` come.
fn begin_upload(client: &Client, length: usize, sent: usize) -> TcpStream {
    let mut stream = connect(client);
    let token = client.token.as_deref().expect("a token");
    let head = format!(
        "POST {UPLOAD} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("is sent");
    stream.write_all(&vec![7; sent]).expect("is sent");
    stream
}

#[test]
fn an_upload_that_breaks_off_or_whose_sender_is_logged_out_leaves_nothing() {
    let server = TestServer::start();
    let (alice, spare) = (server.register("alice"), server.log_in("alice"));
    let stream = begin_upload(&alice, 1 << 20, 1 << 19);
    until("it comes", || files(server.data_dir()).1 == 1);
    drop(stream);
    until("it is gone", || files(server.data_dir()) == (0, 0));
    let mut stream = begin_upload(&spare, 1 << 20, 1 << 19);
    until("it comes", || files(server.data_dir()).1 == 1);
    spare.post("/_matrix/client/v3/logout", json!({})).ok();
    stream.write_all(&[7; 1 << 19]).expect("is sent");
    let (head, _) = read_message(&mut stream).expect("an answer");
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    until("it is gone", || files(server.data_dir()) == (0, 0));
}

#[test]
fn a_server_that_is_killed_while_a_file_comes_leaves_nothing_of_it_and_all_that_had_come() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &[]);
    let alice = server.client.clone().register("alice");
    let of = upload(&alice, "text/plain", &[1; 300_000]);
    let _stream = begin_upload(&alice, 8 << 20, 4 << 20);
    until("it comes", || files(data.path()).1 == 1);
    server.end("-KILL");
    // As after a power cut between the row and the place.
    let media = data.path().join("media");
    let folder = std::fs::read_dir(&media).expect("is there").map(|entry| entry.expect("an entry").path());
    let folder = folder.into_iter().find(|path| !path.ends_with("unsettled")).expect("one has its place");
    let file = std::fs::read_dir(&folder).expect("is there").next().expect("the file").expect("an entry");
    let name = [folder.file_name().expect("two digits"), &file.file_name()]
        .map(|part| part.to_string_lossy().into_owned());
    std::fs::rename(file.path(), media.join("unsettled").join(name.concat())).expect("moves");
    assert_eq!(files(data.path()), (0, 2));
    let server = Serve::start(data.path(), &[]);
    assert_eq!(files(data.path()), (1, 0));
    let alice = server.client.clone().log_in("alice");
    assert_eq!(download(&alice, &of).bytes, [1; 300_000]);
    upload(&alice, "text/plain", b"goes on");
    std::fs::remove_dir_all(&media).expect("goes");
    download(&alice, &of).refused(404, "M_NOT_FOUND");
}

/// MiB of a file that is large, and by how many memory may grow with it.
const LARGE: usize = 100;
const FLAT: f64 = 12.0;

#[test]
fn a_large_file_goes_both_ways_and_memory_stays_flat() {
    let data = TempDir::new();
    let server = Serve::start(data.path(), &["--set", "rate_limits.enabled=false"]);
    let alice = server.client.clone().register("alice");
    let warm = upload(&alice, "video/mp4", &vec![3; 4 << 20]);
    download(&alice, &warm);
    let before = resident(&server);
    let (mut most, mut stream) = (before, begin_upload(&alice, LARGE << 20, 0));
    let piece = vec![7; 1 << 20];
    for _ in 0..LARGE {
        stream.write_all(&piece).expect("is sent");
        most = most.max(resident(&server));
    }
    let (head, body) = read_message(&mut stream).expect("an answer");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let of = below(&serde_json::from_slice(&body).expect("JSON"));
    let mut stream = connect(&alice);
    let token = alice.token.as_deref().expect("a token");
    let request = format!(
        "GET {MEDIA}/download/{of} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("is sent");
    let (mut piece, mut read, mut sevens) = (vec![0; 1 << 20], 0, 0);
    loop {
        let count = stream.read(&mut piece).expect("comes");
        if count == 0 {
            break;
        }
        if read >> 20 != (read + count) >> 20 {
            most = most.max(resident(&server));
        }
        read += count;
        sevens += piece[..count].iter().filter(|byte| **byte == 7).count();
    }
    eprintln!("{before:.1} MiB before, {most:.1} MiB at most");
    assert_eq!(sevens, LARGE << 20);
    assert!(most < before + FLAT, "{before:.1} MiB before, {most:.1} MiB at most");
}

#[test]
fn a_backup_has_the_files_and_says_which_are_missing() {
    let (data, place) = (TempDir::new(), TempDir::new());
    let server = Serve::start(data.path(), &[]);
    let alice = server.client.clone().register("alice");
    let of = upload(&alice, "text/plain", b"kept twice");
    let made = backup(data.path(), &place.path().join("first"));
    assert_eq!(made.status.code(), Some(0), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::remove_dir_all(data.path().join("media")).expect("goes");
    let made = backup(data.path(), &place.path().join("second"));
    let said = String::from_utf8_lossy(&made.stderr).into_owned();
    assert_eq!(made.status.code(), Some(1), "{said}");
    assert!(said.contains("1 of 1 uploaded files are not in "), "{said}");
    server.end("-TERM");
    let restored = Serve::start(&place.path().join("first"), &[]);
    let alice = restored.client.clone().with_token(&json!(alice.token));
    assert_eq!(download(&alice, &of).bytes, b"kept twice");
    restored.end("-TERM");
    let without = Serve::start(&place.path().join("second"), &[]);
    let alice = without.client.clone().with_token(&json!(alice.token));
    download(&alice, &of).refused(404, "M_NOT_FOUND");
    let (_, log) = without.end("-TERM");
    assert!(log.contains("the folder of uploaded files is gone"), "{log}");
}

fn backup(data: &Path, to: &Path) -> std::process::Output {
    run(&["backup", &to.display().to_string(), "--set", &setting(data)])
}

#[test]
fn two_uploads_to_one_address_at_once_leave_one_file() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let alice = server.register("alice");
    for _ in 0..8 {
        let of = below(&alice.post("/_matrix/media/v1/create", json!({})).ok());
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let put = |byte: u8| {
                let (alice, of) = (alice.clone(), of.clone());
                scope.spawn(move || {
                    ask(&alice, "PUT", &format!("{UPLOAD}/{of}"), &[], Some(&vec![byte; 100_000])).status
                })
            };
            let both = [put(1), put(2)];
            both.map(|one| one.join().expect("no panic")).to_vec()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert!(statuses.contains(&409), "{statuses:?}");
        let bytes = download(&alice, &of).bytes;
        assert!(bytes.len() == 100_000 && bytes.iter().all(|byte| *byte == bytes[0]));
    }
    assert_eq!(files(server.data_dir()), (8, 0));
}

#[test]
fn nobody_uploads_more_at_once_than_there_are_turns_for_one() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let open: Vec<_> = (0..16).map(|_| begin_upload(&alice, 1000, 10)).collect();
    until("they come", || files(server.data_dir()).1 == 16);
    let refused = ask(&alice, "POST", UPLOAD, &[], Some(b"one more")).refused(429, "M_LIMIT_EXCEEDED");
    assert!(refused["retry_after_ms"].as_u64().is_some_and(|wait| wait > 0));
    upload(&bob, "text/plain", b"has turns");
    drop(open);
    until("they are gone", || files(server.data_dir()) == (1, 0));
    upload(&alice, "text/plain", b"has turns again");
}
