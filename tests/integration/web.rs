//! The web client as the binary serves it.

use ureq::http::StatusCode;

use crate::support::TestServer;

fn get(url: &str, etag: Option<&str>) -> ureq::http::Response<ureq::Body> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.get(url);
    if let Some(etag) = etag {
        request = request.header("if-none-match", etag);
    }
    request.call().expect("the server answers")
}

#[test]
fn page_its_scripts_and_styles_come_with_their_types_and_a_strict_policy() {
    let server = TestServer::start();
    for (path, media_type, inside) in [
        ("/", "text/html; charset=utf-8", "/app.js\"></script>"),
        ("/app.js", "text/javascript; charset=utf-8", "from \"./pkg/index.js\""),
        ("/css/base.css", "text/css; charset=utf-8", "color-scheme"),
        ("/icons.svg", "image/svg+xml", "<symbol"),
    ] {
        let mut response = get(&format!("{}{path}", server.url()), None);
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let header = |name: &str| {
            response.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
        };
        assert_eq!(header("content-type"), media_type, "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        let policy = header("content-security-policy");
        assert!(policy.contains("script-src 'self' 'wasm-unsafe-eval';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe-inline"), "{path}: {policy}");
        let body = response.body_mut().read_to_string().expect("a text");
        assert!(body.contains(inside), "{path} lacks {inside}");
    }
}

#[test]
fn unchanged_file_is_not_sent_again() {
    let server = TestServer::start();
    let url = format!("{}/app.js", server.url());
    let first = get(&url, None);
    let etag = first.headers()["etag"].to_str().expect("a readable tag").to_owned();
    let mut again = get(&url, Some(&etag));
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(again.body_mut().read_to_string().expect("a body"), "");
    assert_eq!(get(&url, Some("\"something else\"")).status(), StatusCode::OK);
}

/// The addresses that a page names.
fn named(page: &str) -> Vec<String> {
    let attributes = page.split("=\"/").skip(1);
    attributes.map(|rest| ["/", rest.split('"').next().unwrap_or_default()].concat()).collect()
}

#[test]
fn what_the_page_names_is_kept_for_ever_below_a_hash_and_the_page_itself_is_asked_for_again() {
    let server = TestServer::start();
    let mut page = get(&format!("{}/", server.url()), None);
    assert_eq!(page.headers()["cache-control"], "no-cache");
    let page = page.body_mut().read_to_string().expect("a page");
    let files = named(&page);
    assert!(files.len() >= 9 && files.iter().any(|file| file.ends_with("/app.js")), "{files:?}");
    for file in &files {
        let answer = get(&format!("{}{file}", server.url()), None);
        assert_eq!(answer.status(), StatusCode::OK, "{file}");
        assert_eq!(answer.headers()["cache-control"], "public, max-age=31536000, immutable", "{file}");
    }
    // What an older page names is still there, and not taken for what it was.
    for file in ["/assets/0123456789abcdef/app.js", "/app.js", "/favicon.svg"] {
        let answer = get(&format!("{}{file}", server.url()), None);
        assert_eq!(
            (answer.status(), answer.headers()["cache-control"].to_str().expect("text")),
            (StatusCode::OK, "no-cache"),
            "{file}"
        );
    }
    let missing = files[0].replace(".css", ".missing").replace("favicon", "missing");
    assert_eq!(get(&format!("{}{missing}", server.url()), None).status(), StatusCode::NOT_FOUND, "{missing}");
}

#[test]
fn files_are_compressed_for_those_who_take_that() {
    let server = TestServer::start();
    let url = format!("{}/app.js", server.url());
    let answered = |encodings: Option<&str>| {
        let agent: ureq::Agent = ureq::Agent::config_builder().accept_encoding("").build().into();
        let mut request = agent.get(&url);
        if let Some(encodings) = encodings {
            request = request.header("accept-encoding", encodings);
        }
        request.call().expect("the server answers")
    };
    for (encodings, gzip) in [
        (None, false),
        (Some("gzip, deflate, br, zstd"), true),
        (Some("GZIP"), true),
        (Some("br;q=1, *;q=0.5"), true),
        (Some("gzip;q=0.1"), true),
        (Some("gzip;q=0"), false),
        (Some("gzip; q=0, *"), false),
        (Some("br"), false),
        (Some("identity"), false),
        (Some(";;;,,q="), false),
    ] {
        let mut answer = answered(encodings);
        let encoding =
            answer.headers().get("content-encoding").map(|value| value.to_str().expect("text").to_owned());
        assert_eq!(encoding.as_deref(), gzip.then_some("gzip"), "{encodings:?}");
        assert_eq!(answer.headers()["vary"], "Accept-Encoding");
        let etag = answer.headers()["etag"].to_str().expect("text").to_owned();
        assert_eq!(etag.contains("gzip"), gzip, "a form of its own: {etag}");
        let bytes = answer.body_mut().read_to_vec().expect("a body");
        assert_eq!(bytes.starts_with(&[0x1f, 0x8b]), gzip, "{encodings:?}");
    }
}

#[test]
fn nothing_but_the_client_can_be_read() {
    let server = TestServer::start();
    for path in [
        "/missing.js",
        "/pkg/package.json",
        "/pkg/test/x.js",
        "/..%2fCargo.toml",
        "/css/../../Cargo.toml",
        "/_matrix/none",
        "//etc/passwd",
        "/assets/",
        "/assets/x",
        "/assets/x/../../Cargo.toml",
        "/assets/x/assets/x/app.js",
    ] {
        let mut response = get(&format!("{}{path}", server.url()), None);
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        let body: serde_json::Value = response.body_mut().read_json().expect("a Matrix error");
        assert_eq!(body["errcode"], "M_UNRECOGNIZED", "{path}");
    }
}
