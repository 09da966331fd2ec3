//! `pilotlight peers`: how a running server stands with others.

use std::{fmt::Write, time::Duration};

use clap::Args;

use super::{
    failure::Failure,
    settings::{Settings, print, runtime},
};
use crate::server::api::control::{Peer, Peers, ask_peers};

/// How often `--watch` looks again.
const EVERY: Duration = Duration::from_secs(1);

/// The cursor to the top left, and nothing on the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What the columns mean.
const AFTER_HELP: &str = "\
Columns:
  SERVER  another server
  SPEAKS  what it understands of presence: `pilotlight`, `stock` (as Matrix has it), or `unknown` yet
  GIVEN   users of this server whose status it was promised
  KNOWN   users of it whose status is known here, of those who are wanted
  FOR     how long they stay known without a further sign of life
  SHORT   until it is reminded, if nothing else is said
  LONG    until all is said and asked for anew
  BATCH   users in the next message, and when that is due
  QUEUE   events and messages that wait, all of them
  SENT    transactions that it took
  ALIVE   how long ago it gave the last sign of life
  STATE   whether something is on its way; how often in a row it could not be reached, and why";

#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct PeersCommand {
    /// Look again every second, until Ctrl-C or the server's end.
    #[arg(long)]
    watch: bool,
    /// Print one JSON object instead of a table; with --watch one a line, every second.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

impl PeersCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { watch, json, settings } = self;
        let data_dir = settings.load()?.data_dir;
        runtime()?.block_on(async {
            loop {
                let peers = ask_peers(&data_dir).await.map_err(|e| Failure::Refused(e.to_string()))?;
                let text = if json { line(&peers)? } else { table(&peers) };
                print(&if watch && !json { format!("{CLEAR}{text}") } else { text })?;
                if !watch {
                    return Ok(());
                }
                tokio::time::sleep(EVERY).await;
            }
        })
    }
}

fn line(peers: &Peers) -> Result<String, Failure> {
    let json = serde_json::to_string(peers).map_err(|e| Failure::Refused(e.to_string()))?;
    Ok(json + "\n")
}

fn table(peers: &Peers) -> String {
    if !peers.federates {
        return format!("{} is on its own: it has no federation.listen\n", peers.server_name);
    }
    if peers.peers.is_empty() {
        return format!("{} has no peers yet\n", peers.server_name);
    }
    let head = [
        "SERVER", "SPEAKS", "GIVEN", "KNOWN", "FOR", "SHORT", "LONG", "BATCH", "QUEUE", "SENT", "ALIVE",
        "STATE",
    ];
    let rows: Vec<_> = std::iter::once(head.map(str::to_owned)).chain(peers.peers.iter().map(row)).collect();
    let mut widths = [0; 12];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(text, "{}", cells.join("  ").trim_end()).expect("a string takes everything");
    }
    text
}

fn row(peer: &Peer) -> [String; 12] {
    let time = |seconds: Option<u64>| seconds.map_or("-".to_owned(), short);
    [
        peer.server.clone(),
        peer.speech.clone(),
        peer.given.to_string(),
        format!("{}/{}", peer.held, peer.asked),
        time(peer.held_for_s),
        time(peer.short_watchdog_s),
        time(peer.long_watchdog_s),
        match peer.batch_due_s {
            Some(due) => format!("{} in {}", peer.batch, short(due)),
            None => peer.batch.to_string(),
        },
        peer.queue.to_string(),
        peer.sent.to_string(),
        time(peer.alive_s),
        state(peer),
    ]
}

fn state(peer: &Peer) -> String {
    let mut text = if peer.in_flight { "sending" } else { "quiet" }.to_owned();
    if peer.failures > 0 {
        text = format!("{} failed", peer.failures);
        if let Some(retry) = peer.retry_s {
            text.push_str(&format!(", next in {}", short(retry)));
        }
    }
    if let Some(error) = &peer.last_error {
        // Another server's words: on one line, and nothing that a terminal obeys.
        let error: String = error.chars().take(120).map(|c| if c.is_control() { ' ' } else { c }).collect();
        text.push_str(&format!(": {error}"));
    }
    text
}

/// A time in its largest unit.
fn short(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        _ => format!("{}h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(peers: Vec<Peer>) -> Peers {
        Peers { server_name: "a.example".into(), federates: true, peers }
    }

    #[test]
    fn a_table_has_a_row_for_each_peer_with_its_times_and_its_trouble() {
        let well = Peer {
            server: "b.example".into(),
            speech: "pilotlight".into(),
            given: 3,
            asked: 2,
            held: 2,
            held_for_s: Some(119),
            short_watchdog_s: Some(42),
            long_watchdog_s: Some(3_000),
            batch: 1,
            batch_due_s: Some(7),
            sent: 12,
            alive_s: Some(0),
            ..Peer::default()
        };
        let ill = Peer {
            server: "c.example:8449".into(),
            speech: "unknown".into(),
            asked: 4,
            queue: 2,
            failures: 5,
            retry_s: Some(7_300),
            last_error: Some("no answer:\x1b[2J refused".into()),
            ..Peer::default()
        };
        let table = table(&peers(vec![well, ill]));
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|row| row.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect())
            .collect();
        assert_eq!(
            rows[1],
            [
                "b.example",
                "pilotlight",
                "3",
                "2/2",
                "119s",
                "42s",
                "50m",
                "1 in 7s",
                "0",
                "12",
                "0s",
                "quiet"
            ]
        );
        assert_eq!(
            rows[2],
            [
                "c.example:8449",
                "unknown",
                "0",
                "0/4",
                "-",
                "-",
                "-",
                "0",
                "2",
                "0",
                "-",
                "5 failed, next in 2h: no answer: [2J refused"
            ]
        );
    }

    #[test]
    fn a_server_without_peers_or_federation_says_so() {
        assert_eq!(table(&peers(Vec::new())), "a.example has no peers yet\n");
        let alone = Peers { federates: false, ..peers(Vec::new()) };
        assert!(table(&alone).contains("on its own"));
    }
}
