//! A server with two users, a room and a list, in a folder of its own, and one request after the other to it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    net::Ipv4Addr,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, Uri},
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::ServiceExt;

use crate::{
    core::time::{Instant, UnixMillis},
    server::{
        app::App,
        clock::Clock,
        config::{Config, RateLimits},
        limits::Origin,
        router,
    },
};

/// When everything happens: the clock stands still.
const TODAY: UnixMillis = UnixMillis(1_800_000_000_000);

/// How long, of real time, a request may wait for something before the clock goes on, if it is the clock.
const PATIENCE: Duration = Duration::from_millis(300);

/// By how much it goes on then: longer than any poll.
const LONG: Duration = Duration::from_secs(150);

/// How often it goes on for one request.
const MOST_WAITS: usize = 100;

/// The longest answer that is read, in bytes.
const LONGEST: usize = 16 << 20;

/// What a server was found to answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Names of what there is in the first server, by which inputs ask for them: `{room}`.
type Words = BTreeMap<String, String>;

/// The files from which every server begins, and what they hold.
#[derive(Debug)]
struct Beginning {
    files: Vec<(OsString, Vec<u8>)>,
    words: Words,
}

impl Beginning {
    /// What a server leaves in which people were.
    fn new() -> Self {
        let mut world = World::open(Folder::new(), Words::new(), None);
        world.people();
        let (folder, words) = (Arc::clone(&world.folder), world.words.clone());
        drop(world);
        let files = fs::read_dir(&folder.0).expect("is there").map(|file| {
            let file = file.expect("a file");
            (file.file_name(), fs::read(file.path()).expect("can be read"))
        });
        Self { files: files.collect(), words }
    }

    fn folder(&self) -> Folder {
        let folder = Folder::new();
        for (name, bytes) in &self.files {
            fs::write(folder.0.join(name), bytes).expect("can be written");
        }
        folder
    }
}

/// A folder that is removed at the end.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    /// An empty one: in memory where the system has a place for that, since nothing here has to outlive a power cut.
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let name =
            format!("pilotlight-fuzzed-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = parent.join(name);
        fs::DirBuilder::new().mode(0o700).create(&path).expect("a folder can be made");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("is there");
    }
}

/// A server, and what is known of it.
pub(super) struct World {
    runtime: Runtime,
    app: Arc<App>,
    /// Those that inputs ask, and those for clients.
    routes: Router,
    for_clients: Router,
    words: Words,
    folder: Arc<Folder>,
}

impl World {
    /// The same server each time. `across`: it answers that other server, and no client but by
    /// [`Self::ask`].
    pub(super) fn new(across: Option<&str>) -> Self {
        static BEGINNING: OnceLock<Beginning> = OnceLock::new();
        let beginning = BEGINNING.get_or_init(Beginning::new);
        Self::open(beginning.folder(), beginning.words.clone(), across)
    }

    fn open(folder: Folder, words: Words, across: Option<&str>) -> Self {
        // The cause of an answer that is the server's fault is in the log, and nowhere else.
        let log = tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR).with_test_writer();
        if log.try_init().is_err() {
            tracing::trace!("it is kept by now");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut config = Config { data_dir: folder.0.clone(), ..Config::default() };
        config.rate_limits = RateLimits { enabled: false, ..config.rate_limits };
        if let Some(peer) = across {
            config.federation.listen = Some(([127, 0, 0, 1], 0).into());
            config.federation.allow_servers = Some(vec![peer.try_into().expect("a server's name")]);
        }
        let app = runtime.block_on(App::open(config, Clock::driven(TODAY))).expect("opens");
        // What it says to other servers waits: nobody is there to hear it.
        let (presence, typing) = (Arc::clone(&app.presence), Arc::clone(&app.typing));
        runtime.spawn(async move { presence.run().await });
        runtime.spawn(async move { typing.run().await });
        let for_clients = router::router(Arc::clone(&app));
        let routes = match across {
            Some(_) => router::federation_router(Arc::clone(&app)),
            None => for_clients.clone(),
        };
        Self { runtime, app, routes, for_clients, words, folder: Arc::new(folder) }
    }

    /// The server's parts.
    pub(super) fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// What it is now: later than before if a request waited for that.
    pub(super) fn now(&self) -> Instant {
        self.app.now()
    }

    /// Waits for something that a part does.
    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// `text` with what is meant by its words in braces.
    pub(super) fn meant(&self, text: &str) -> String {
        self.words
            .iter()
            .fold(text.to_owned(), |text, (word, meant)| text.replace(&format!("{{{word}}}"), meant))
    }

    /// Sends a request, and lets time pass when its answer waits for that; `None`: no such request can be made.
    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        self.send_by(&self.routes, method, path, headers, body)
    }

    /// The same by routes of the caller's choice.
    fn send_by(
        &self,
        routes: &Router,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        let (method, uri) = (Method::from_bytes(method.as_bytes()).ok()?, path.parse::<Uri>().ok()?);
        let mut request =
            Request::builder().method(method).uri(uri).extension(Origin::new(Ipv4Addr::LOCALHOST.into()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_vec())).ok()?;
        let answer = async {
            let answer = routes.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
            let status = answer.status().as_u16();
            let body = axum::body::to_bytes(answer.into_body(), LONGEST).await.expect("is not longer");
            Answer { status, body: body.to_vec() }
        };
        self.runtime.block_on(async {
            tokio::pin!(answer);
            for _ in 0..MOST_WAITS {
                if let Ok(answer) = tokio::time::timeout(PATIENCE, &mut answer).await {
                    return Some(answer);
                }
                if self.app.clock.next_deadline().is_some() {
                    self.app.clock.advance(LONG);
                }
            }
            panic!("no answer to {path}");
        })
    }

    /// What a client of `who` is answered, at the port for clients.
    pub(super) fn ask(&self, who: &str, path: &str) -> Answer {
        let bearer = self.meant(&format!("Bearer {{token_{who}}}"));
        let answer =
            self.send_by(&self.for_clients, "GET", &self.meant(path), &[("authorization", &bearer)], b"");
        answer.expect("a request")
    }

    /// The same of a request that changes something, and has to be taken.
    fn act(&self, who: &str, method: &str, path: &str, body: &Value) -> Value {
        let bearer = self.meant(&format!("Bearer {{token_{who}}}"));
        let headers = [("authorization", &*bearer), ("content-type", "application/json")];
        let (path, body) = (self.meant(path), self.meant(&body.to_string()));
        let answer = self.send(method, &path, &headers, body.as_bytes()).expect("a request");
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    fn name(&mut self, word: &str, answer: &Value, key: &str) {
        self.words.insert(word.to_owned(), answer[key].as_str().expect("a string").to_owned());
    }

    /// Alice and Bob have each other on their lists and share a room with two messages; Alice has another one.
    fn people(&mut self) {
        for who in ["alice", "bob"] {
            self.words.insert(format!("token_{who}"), String::new());
            let account =
                json!({ "username": who, "password": "secret", "auth": { "type": "m.login.dummy" } });
            let answer = self.act(who, "POST", "/_matrix/client/v3/register", &account);
            self.name(&format!("token_{who}"), &answer, "access_token");
            self.name(who, &answer, "user_id");
            self.name(&format!("device_{who}"), &answer, "device_id");
        }
        let room = json!({ "preset": "public_chat", "name": "Lobby", "room_alias_name": "lobby" });
        let answer = self.act("alice", "POST", "/_matrix/client/v3/createRoom", &room);
        self.name("room", &answer, "room_id");
        let answer = self.act("alice", "POST", "/_matrix/client/v3/createRoom", &json!({ "name": "Mine" }));
        self.name("mine", &answer, "room_id");
        self.act("bob", "POST", "/_matrix/client/v3/join/{room}", &json!({}));
        for who in ["alice", "bob"] {
            let message = json!({ "msgtype": "m.text", "body": "hello" });
            let path = "/_matrix/client/v3/rooms/{room}/send/m.room.message/first";
            let answer = self.act(who, "PUT", path, &message);
            self.name(&format!("event_{who}"), &answer, "event_id");
        }
        let list = "/_matrix/client/v3/presence/list";
        let answers = "/_matrix/client/unstable/org.pilotlight/presence/requests";
        self.act("alice", "POST", &format!("{list}/{{alice}}"), &json!({ "invite": ["{bob}"] }));
        self.act("bob", "POST", &format!("{answers}/{{bob}}/{{alice}}"), &json!({ "answer": "accept" }));
        self.act("bob", "POST", &format!("{list}/{{bob}}"), &json!({ "invite": ["{alice}"] }));
        let filter = json!({ "room": { "timeline": { "limit": 3 } } });
        let answer = self.act("alice", "POST", "/_matrix/client/v3/user/{alice}/filter", &filter);
        self.name("filter", &answer, "filter_id");
        let sync = "/_matrix/client/v3/sync?timeout=0&set_presence=offline";
        let answer = self.act("alice", "GET", sync, &Value::Null);
        self.name("since", &answer, "next_batch");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.runtime.block_on(self.app.close());
    }
}
