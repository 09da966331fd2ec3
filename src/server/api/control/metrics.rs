//! The page in Prometheus' text format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::{
    collections::BTreeMap,
    fmt::{Display, Write},
    sync::Arc,
};

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};

use crate::{
    core::federation::{PeerView, Speech},
    server::{
        app::App,
        federation::queue::Peer,
        metrics::{Metrics, Traffic, process},
    },
};

/// A page being written.
#[derive(Default)]
struct Page(String);

/// How a value moves.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

/// Everything there is to know at this moment.
pub(super) fn write(app: &App) -> String {
    let mut page = Page::default();
    process(&mut page, app);
    clients(&mut page, &app.metrics);
    if let Some(federation) = &app.federation {
        traffic(&mut page, &app.metrics);
        queue(&mut page, federation.queue.peers().values());
        peers(&mut page, &federation.presence.peers());
    }
    page.0
}

fn process(page: &mut Page, app: &App) {
    use Kind::{Counter, Gauge};
    page.labelled(
        "pilotlight_info",
        Gauge,
        "The version that runs.",
        &[(concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""), 1)],
    );
    page.value("pilotlight_uptime_seconds", Gauge, "Time since the start.", app.uptime().as_secs());
    if let Some(bytes) = process::resident_memory() {
        page.value("process_resident_memory_bytes", Gauge, "Memory in use.", bytes);
    }
    if let Some(files) = process::open_files() {
        page.value("process_open_fds", Gauge, "Open files and connections.", files);
    }
    let cpu = process::cpu_time().as_secs_f64();
    page.value("process_cpu_seconds_total", Counter, "Time spent computing.", cpu);
}

fn clients(page: &mut Page, metrics: &Metrics) {
    use Kind::{Counter, Gauge};
    page.labelled(
        "pilotlight_http_requests_total",
        Counter,
        "Requests that were answered, of clients and of other servers.",
        &metrics.requests.table().collect::<Vec<_>>(),
    );
    let limited = metrics.requests.limited();
    page.value("pilotlight_http_rate_limited_total", Counter, "Requests that were one too many.", limited);
    let polls = metrics.open_polls.value();
    let streams = metrics.open_streams.value();
    page.value("pilotlight_open_streams", Gauge, "Held streams of clients.", streams);
    page.value("pilotlight_open_polls", Gauge, "Requests of clients that wait for news.", polls);
    page.value(
        "pilotlight_presence_changes_total",
        Counter,
        "Changes of this server's users that others can see.",
        metrics.presence_changes.value(),
    );
    page.value(
        "pilotlight_presence_delivered_total",
        Counter,
        "Presence events written to clients.",
        metrics.presence_delivered.value(),
    );
}

fn traffic(page: &mut Page, metrics: &Metrics) {
    use Kind::Counter;
    let both = |of: fn(&Traffic) -> u64| {
        [("direction=\"in\"", of(&metrics.received)), ("direction=\"out\"", of(&metrics.sent))]
    };
    page.labelled(
        "pilotlight_federation_transactions_total",
        Counter,
        "Transactions of other servers that were taken, and those that others acknowledged.",
        &both(|traffic| traffic.transactions.value()),
    );
    let edus = both(|traffic| traffic.edus.value());
    page.labelled("pilotlight_federation_edus_total", Counter, "EDUs in these transactions.", &edus);
    let bytes = both(|traffic| traffic.bytes.value());
    page.labelled(
        "pilotlight_federation_bytes_total",
        Counter,
        "Bytes of the bodies of these transactions.",
        &bytes,
    );
    page.value(
        "pilotlight_federation_failures_total",
        Counter,
        "Transactions that were not acknowledged.",
        metrics.failed.value(),
    );
}

fn queue<'a>(page: &mut Page, destinations: impl Iterator<Item = &'a Peer>) {
    use Kind::Gauge;
    let (mut edus, mut events, mut in_flight, mut failing, mut reachable) = (0, 0, 0, 0, 0);
    for destination in destinations {
        edus += destination.waiting - destination.waiting_events;
        events += destination.waiting_events;
        in_flight += usize::from(destination.in_flight);
        match destination.failures {
            0 => reachable += 1,
            _ => failing += 1,
        }
    }
    page.value("pilotlight_federation_queue_edus", Gauge, "EDUs that wait to be sent.", edus);
    page.value("pilotlight_federation_queue_events", Gauge, "Events that wait to be sent.", events);
    page.value("pilotlight_federation_in_flight", Gauge, "Transactions on their way.", in_flight);
    page.labelled(
        "pilotlight_federation_destinations",
        Gauge,
        "Servers to which something was sent, by whether the last transaction was acknowledged.",
        &[("state=\"failing\"", failing), ("state=\"reachable\"", reachable)],
    );
}

fn peers(page: &mut Page, peers: &BTreeMap<String, PeerView>) {
    use Kind::Gauge;
    let speaks = |speech| peers.values().filter(|peer| peer.speech == speech).count();
    page.labelled(
        "pilotlight_presence_peers",
        Gauge,
        "Servers with which presence is shared, by what they understand.",
        &[
            ("speech=\"pilotlight\"", speaks(Speech::Extended)),
            ("speech=\"stock\"", speaks(Speech::Stock)),
            ("speech=\"unknown\"", speaks(Speech::Unknown)),
        ],
    );
    let sum = |of: fn(&PeerView) -> u32| peers.values().map(|peer| u64::from(of(peer))).sum::<u64>();
    page.labelled(
        "pilotlight_presence_promises",
        Gauge,
        "Users promised to other servers (given), wanted of them (asked), and of these known (held).",
        &[
            ("state=\"given\"", sum(|peer| peer.given)),
            ("state=\"asked\"", sum(|peer| peer.asked)),
            ("state=\"held\"", sum(|peer| peer.held)),
        ],
    );
    let waiting = sum(|peer| peer.batch);
    page.value("pilotlight_presence_batch_users", Gauge, "Users that wait for the end of a batch.", waiting);
}

impl Page {
    /// A metric without labels.
    fn value(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.line(format_args!("{name} {value}"));
    }

    /// A metric with a value for each of some labels.
    fn labelled(&mut self, name: &str, kind: Kind, help: &str, values: &[(impl Display, impl Display)]) {
        self.head(name, kind, help);
        for (labels, value) in values {
            self.line(format_args!("{name}{{{labels}}} {value}"));
        }
    }

    fn head(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.0, "{line}").expect("a string takes everything");
    }
}

/// The one route of the listener for Prometheus.
pub fn router(app: Arc<App>) -> Router {
    Router::new().route("/metrics", get(read)).with_state(app)
}

async fn read(State(app): State<Arc<App>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], write(&app))
}
