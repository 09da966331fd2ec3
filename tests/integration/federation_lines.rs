//! Connections to many other servers: bounded, and those on which nothing is said make room.

use std::{
    io::Write,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use pilotlight::server::outgoing::tls;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use super::{
    authority::{Authority, free_address},
    cli::Serve,
    contacts::list_path,
    peer::read_message,
    support::{TempDir, until},
};

/// Open files that the program may have: as few as it takes, so that there are few connections.
const FILES: u32 = 200;

/// Connections to other servers that it may have then: an eighth of 64.
const LINES: usize = 8;

/// The other servers.
const PEERS: usize = 24;

/// What all peers together are being asked.
#[derive(Default)]
struct Load {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Load {
    fn begin(&self) {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
    }

    fn end(&self) {
        self.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A server that likes everything, after a while, and leaves connections open; its port. It ends with the process.
fn peer(tls: Arc<ServerConfig>, asked: Arc<AtomicUsize>, load: Arc<Load>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("a connection");
            let (tls, asked, load) = (Arc::clone(&tls), Arc::clone(&asked), Arc::clone(&load));
            std::thread::spawn(move || {
                let mut stream = StreamOwned::new(ServerConnection::new(tls).expect("a connection"), stream);
                while read_message(&mut stream).is_some() {
                    load.begin();
                    asked.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(200));
                    // Whoever asked has the connection until they have the answer.
                    load.end();
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"pdus\":{}}";
                    if stream.write_all(answer).and_then(|()| stream.flush()).is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

/// Connections to any of `ports` that whoever made them has open, about: the system tells of one after the other, so that
/// one that was closed meanwhile can be counted with the one in its place.
fn lines_to(ports: &[u16]) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux tells");
    let is_line = |row: &&str| {
        let mut fields = row.split_whitespace().skip(2);
        let (to, state) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let port = to.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        // Established, or about to be.
        matches!(state, "01" | "02") && port.is_some_and(|port| ports.contains(&port))
    };
    table.lines().filter(is_line).count()
}

#[test]
fn many_servers_are_spoken_with_over_few_connections_of_which_half_are_kept() {
    let (ca, data, free) = (Authority::new(), TempDir::new(), free_address());
    let settings = [
        format!("server_name=localhost:{}", free.port()),
        format!("federation.listen={free}"),
        format!("federation.tls_certificate={}", ca.file("cert.pem").display()),
        format!("federation.tls_private_key={}", ca.file("key.pem").display()),
        format!("federation.trusted_ca={}", ca.file("ca.pem").display()),
        "federation.allow_addresses=127.0.0.0/8,::1/128".to_owned(),
        "rate_limits.enabled=false".to_owned(),
    ];
    let settings: Vec<_> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let server = Serve::start_with_files(data.path(), &settings, FILES);
    let config = tls::server_config(&ca.file("cert.pem"), &ca.file("key.pem")).expect("a certificate");
    let load = Arc::<Load>::default();
    let peers: Vec<_> = (0..PEERS)
        .map(|_| {
            let asked = Arc::<AtomicUsize>::default();
            (peer(Arc::clone(&config), Arc::clone(&asked), Arc::clone(&load)), asked)
        })
        .collect();
    let ports: Vec<_> = peers.iter().map(|(port, _)| *port).collect();
    let alice = server.client.clone().register("alice");
    for round in 1..=2 {
        let names: Vec<_> = ports.iter().map(|port| format!("@user{round}:localhost:{port}")).collect();
        alice.post(&list_path(&alice), json!({ "invite": names })).ok();
        until("every one of them is asked", || {
            peers.iter().all(|(_, asked)| asked.load(Ordering::SeqCst) >= round)
        });
        let most = load.most.load(Ordering::SeqCst);
        assert!((2..=LINES).contains(&most), "{most} at once");
        until("half of the connections are kept", || lines_to(&ports) <= LINES / 2);
        assert!(lines_to(&ports) > 0, "some are kept");
    }
    let (code, log) = server.end("-TERM");
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("too many connections"), "nobody waited in vain: {log}");
}
