//! Held streams of clients who do what none should.

use std::{
    io::Write,
    net::{Shutdown, TcpStream},
};

use super::{
    poll::connect,
    streamed::{Held, STREAM},
    support::{Client, TestServer, until},
    sync::{Reader, room_of, send},
};

fn request(client: &Client, since: &str) -> String {
    let token = client.token.as_deref().expect("a token");
    format!("GET {STREAM}?since={since} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n")
}

/// A stream, and a second handle of its connection.
fn open(client: &Client) -> (Held, TcpStream) {
    let stream = connect(client);
    let other = stream.try_clone().expect("a handle");
    let held = Held::on(stream, &request(client, &Reader::new(client).since));
    held.until("a greeting", |told| told.name == "hello");
    (held, other)
}

#[test]
fn who_says_much_on_a_stream_or_says_that_they_say_nothing_more_loses_it() {
    let server = TestServer::start();
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let (held, mut connection) = open(&bob);
    connection.write_all(&[b'x'; 1024]).expect("is sent");
    send(&alice, &room, "1", "hi");
    held.until_body("hi");
    connection.write_all(&[b'x'; 8 << 10]).expect("is sent");
    held.rest();
    until("it is gone", || server.app().hub.open_streams() == 0);
    let (held, connection) = open(&bob);
    connection.shutdown(Shutdown::Write).expect("is open");
    held.rest();
    until("it is gone", || server.app().hub.open_streams() == 0);
}

#[test]
fn who_comes_and_goes_a_hundred_times_leaves_nothing_behind_and_misses_nothing() {
    let server = TestServer::start_with(|config| config.rate_limits.enabled = false);
    let (alice, bob) = (server.register("alice"), server.register("bob"));
    let room = room_of(&alice, &[&bob]);
    let since = Reader::new(&bob).since;
    let request = request(&bob, &since);
    for n in 0..100 {
        let mut stream = connect(&bob);
        // Some go amid the request, some right after it, some amid the beginning.
        let sent = if n % 3 == 0 { &request[..request.len() / 2] } else { &request };
        stream.write_all(sent.as_bytes()).expect("is sent");
        if n % 3 == 1 {
            stream.shutdown(Shutdown::Both).expect("is open");
        }
    }
    send(&alice, &room, "1", "hi");
    Held::open(&bob, &since).until_body("hi");
    until("all are gone", || server.app().hub.open_streams() == 0);
}
