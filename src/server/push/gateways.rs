//! Push gateways: asked less and less often while one does not answer, and of a pusher that it does not take.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use parking_lot::Mutex;
use serde::Deserialize;

use crate::{
    core::{rng::Rng, time::Instant},
    server::{
        clock::Clock,
        outgoing::client::{Bounds, Client, origin},
    },
};

/// Where a gateway is told.
const PATH: &str = "/_matrix/push/v1/notify";

/// What one request may take.
const BOUNDS: Bounds = Bounds { timeout: Duration::from_secs(10), largest_answer: 64 << 10 };

/// The first pause after a failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// Gateways and pushers of which is remembered that they failed; beyond it all are forgotten, and tried anew.
const MAX_FAILING: usize = 10_000;

/// Whether a pusher may name this URL: of a gateway, at the path that gateways have.
pub fn is_gateway(url: &str) -> bool {
    url.parse::<Uri>().is_ok_and(|url| origin(&url).is_some() && url.path() == PATH && url.query().is_none())
}

/// The gateways.
#[derive(Debug)]
pub(super) struct Gateways {
    client: Client,
    clock: Clock,
    failing: Mutex<HashMap<Whom, Failing>>,
    rng: Mutex<Rng>,
}

/// Whom a failure is the fault of.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Whom {
    /// Of a gateway that nobody hears of, by its scheme, host and port: it fails everybody.
    Gateway(String),
    /// Of a pusher, by its number: the gateway answers, and most users of an application share theirs. What it says to one of them
    /// says nothing of the others.
    Pusher(i64),
}

/// A gateway that did not answer last, or a pusher for which it did not take what it was told.
#[derive(Debug)]
struct Failing {
    failures: u32,
    until: Instant,
    /// Somebody tries it; the others wait for what comes of that.
    is_tried: bool,
}

/// How it went.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// The gateway took it.
    Taken,
    /// It knows no such pushkey: it is not to be told of it again.
    Rejected,
    /// It answers that it does not take it: it is to be told again.
    Refused,
    /// It does not answer: it is to be told again.
    Silent,
}

/// What a gateway answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    rejected: Vec<String>,
}

impl Gateways {
    pub(super) fn new(client: Client, clock: Clock, seed: u64) -> Self {
        Self { client, clock, failing: Mutex::default(), rng: Mutex::new(Rng::new(seed)) }
    }

    /// Waits until the gateway at `url` may be told something for a pusher; a silent one by one at a time.
    pub(super) async fn turn<'a>(&'a self, url: &str, pusher: i64) -> Turn<'a> {
        let gateway = url.parse::<Uri>().ok().and_then(|url| origin(&url)).unwrap_or_default();
        let (gateway, pusher) = (Whom::Gateway(gateway), Whom::Pusher(pusher));
        loop {
            let wake = {
                let now = self.clock.now();
                let mut failing = self.failing.lock();
                let paused = failing.get(&pusher).map(|pusher| pusher.until).filter(|until| *until > now);
                match (paused, failing.get_mut(&gateway)) {
                    (Some(until), _) => until,
                    (None, None) => return Turn { gateways: self, gateway, pusher, is_trial: false },
                    (None, Some(silent)) if silent.is_tried => now + BOUNDS.timeout,
                    (None, Some(silent)) if silent.until > now => silent.until,
                    (None, Some(silent)) => {
                        silent.is_tried = true;
                        return Turn { gateways: self, gateway, pusher, is_trial: true };
                    }
                }
            };
            self.clock.sleep_until(wake).await;
        }
    }

    /// Tells a gateway; `pushkey` is whom.
    pub(super) async fn tell(&self, turn: Turn<'_>, url: &str, pushkey: &str, body: String) -> Outcome {
        let outcome = self.send(url, pushkey, body).await;
        turn.end(&outcome);
        outcome
    }

    async fn send(&self, url: &str, pushkey: &str, body: String) -> Outcome {
        let request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(body));
        let Ok(request) = request else { return Outcome::Rejected };
        match self.client.send(request, BOUNDS).await {
            Ok(answer) if answer.status().is_success() => {
                let rejected = serde_json::from_slice::<Answer>(answer.body()).map(|answer| answer.rejected);
                match rejected {
                    Ok(rejected) if rejected.iter().any(|key| key == pushkey) => Outcome::Rejected,
                    Ok(_) | Err(_) => Outcome::Taken,
                }
            }
            Ok(answer) => {
                tracing::debug!(status = %answer.status(), "a push gateway does not take what it is told");
                Outcome::Refused
            }
            Err(error) => {
                tracing::debug!(%error, "a push gateway cannot be told");
                Outcome::Silent
            }
        }
    }
}

/// A gateway may be told one thing, until dropped.
#[must_use]
#[derive(Debug)]
pub(super) struct Turn<'a> {
    gateways: &'a Gateways,
    gateway: Whom,
    pusher: Whom,
    is_trial: bool,
}

impl Turn<'_> {
    fn end(mut self, outcome: &Outcome) {
        let Gateways { clock, failing, rng, .. } = self.gateways;
        let mut failing = failing.lock();
        self.is_trial = false;
        let failed = match outcome {
            Outcome::Silent => &self.gateway,
            Outcome::Refused => {
                failing.remove(&self.gateway);
                &self.pusher
            }
            Outcome::Taken | Outcome::Rejected => {
                failing.remove(&self.gateway);
                failing.remove(&self.pusher);
                return;
            }
        };
        let now = clock.now();
        if failing.len() >= MAX_FAILING && !failing.contains_key(failed) {
            failing.clear();
        }
        let new = Failing { failures: 0, until: now, is_tried: false };
        let failing = failing.entry(failed.clone()).or_insert(new);
        failing.is_tried = false;
        // Those who were on their way when it began to fail count as one.
        if failing.until <= now {
            let (first, longest) = PAUSES;
            let pause = first.saturating_mul(1 << failing.failures.min(20)).min(longest);
            failing.failures = failing.failures.saturating_add(1);
            failing.until = now + rng.lock().jitter(pause, 0.2);
        }
    }
}

impl Drop for Turn<'_> {
    /// Whoever gave up has tried nothing.
    fn drop(&mut self) {
        if self.is_trial
            && let Some(gateway) = self.gateways.failing.lock().get_mut(&self.gateway)
        {
            gateway.is_tried = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        sync::Arc,
        thread,
    };

    use super::*;
    use crate::{
        core::time::UnixMillis,
        server::outgoing::{addresses::Allowed, client::Reach, tls::Trust},
    };

    const URL: &str = "https://push.example.org/_matrix/push/v1/notify";

    fn gateways() -> Gateways {
        let trust = Trust::new(&[] as &[std::path::PathBuf]).expect("nothing to read");
        let reach = Reach::Public(Allowed(vec!["127.0.0.0/8".parse().expect("a network")]));
        let client = Client::new(reach, Arc::new(trust), 4, 2);
        Gateways::new(client, Clock::driven(UnixMillis(1_000_000)), 7)
    }

    /// What `future` answers without waiting.
    async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            answer = future => Some(answer),
            () = std::future::ready(()) => None,
        }
    }

    #[tokio::test]
    async fn a_gateway_that_refuses_one_pusher_is_told_of_the_others_and_a_silent_one_of_none() {
        let gateways = gateways();
        let (bad, good) = (1, 2);
        gateways.turn(URL, bad).await.end(&Outcome::Refused);
        assert!(at_once(gateways.turn(URL, bad)).await.is_none(), "it waits");
        at_once(gateways.turn(URL, good)).await.expect("nothing is known of it").end(&Outcome::Taken);
        assert!(at_once(gateways.turn(URL, bad)).await.is_none(), "what another is told changes nothing");
        // The pauses of one pusher grow.
        gateways.clock.advance(Duration::from_millis(1_300));
        at_once(gateways.turn(URL, bad)).await.expect("the pause is over").end(&Outcome::Refused);
        gateways.clock.advance(Duration::from_millis(1_300));
        assert!(at_once(gateways.turn(URL, bad)).await.is_none());
        // Nobody is there: everybody waits, who has the same gateway.
        gateways.turn(URL, good).await.end(&Outcome::Silent);
        assert!(at_once(gateways.turn(URL, 3)).await.is_none());
        for other in [URL.replace("push.", "other."), URL.replace("https:", "http:")] {
            assert!(at_once(gateways.turn(&other, 3)).await.is_some(), "{other}");
        }
        gateways.clock.advance(Duration::from_millis(1_300));
        let trial = at_once(gateways.turn(URL, 3)).await.expect("one tries it");
        assert!(at_once(gateways.turn(URL, good)).await.is_none(), "one at a time");
        trial.end(&Outcome::Refused);
        assert!(at_once(gateways.turn(URL, good)).await.is_some(), "it answers again");
    }

    #[tokio::test]
    async fn an_answer_with_an_error_is_a_refusal_and_no_answer_is_silence() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/_matrix/push/v1/notify", listener.local_addr().expect("an address"));
        thread::spawn(move || {
            for status in ["507 Insufficient Storage", "502 Bad Gateway", "400 Bad Request"] {
                let (mut stream, _) = listener.accept().expect("a connection");
                assert!(stream.read(&mut [0; 4096]).expect("a request") > 0);
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).expect("is sent");
            }
        });
        let gateways = gateways();
        for expected in [Outcome::Refused, Outcome::Refused, Outcome::Refused, Outcome::Silent] {
            assert_eq!(gateways.send(&url, "key", "{}".to_owned()).await, expected);
        }
    }

    #[test]
    fn a_gateway_is_named_by_a_url_with_the_path_of_gateways() {
        for (url, is) in [
            ("https://push.example.org/_matrix/push/v1/notify", true),
            ("http://127.0.0.1:5000/_matrix/push/v1/notify", true),
            ("https://push.example.org/_matrix/push/v1/notify/", false),
            ("https://push.example.org/_matrix/push/v1/notify?x=1", false),
            ("https://push.example.org/", false),
            ("https://user:word@push.example.org/_matrix/push/v1/notify", false),
            ("ftp://push.example.org/_matrix/push/v1/notify", false),
            ("/_matrix/push/v1/notify", false),
            ("https:///_matrix/push/v1/notify", false),
            ("", false),
        ] {
            assert_eq!(is_gateway(url), is, "{url}");
        }
    }
}
