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
        ("/", "text/html; charset=utf-8", "<script type=\"module\" src=\"/app.js\">"),
        ("/app.js", "text/javascript; charset=utf-8", "from \"/pkg/index.js\""),
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
    ] {
        let mut response = get(&format!("{}{path}", server.url()), None);
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        let body: serde_json::Value = response.body_mut().read_json().expect("a Matrix error");
        assert_eq!(body["errcode"], "M_UNRECOGNIZED", "{path}");
    }
}
