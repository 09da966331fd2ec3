//! The plots of `pilotlight simulate --plots DIR`.

use std::path::Path;
use std::time::Duration;

use super::{
    error::SimulateError,
    plot::{Scale, Series, Words, bars, lines},
    words::{size, word},
};
use crate::core::fleet::{
    Minute, Params, Tally,
    scenarios::{self, Grows, Growth, Rate},
};

/// What others do, as they are called in every plot.
const OTHERS: [&str; 2] = ["one per change (Synapse)", "one per contact (XMPP)"];

/// Plots the day that was run, and the scenarios.
pub(super) fn all(dir: &Path, params: &Params, tally: &Tally) -> Result<(), SimulateError> {
    day(dir, tally)?;
    rates(dir, params)?;
    watchdogs(dir, params.seed)?;
    rush(dir, params.seed)?;
    outage(dir, params.seed)
}

/// How messages grow with one size.
pub(super) fn growth(dir: &Path, grows: Grows, runs: &[Growth]) -> Result<(), SimulateError> {
    let series: Vec<Series> = ["Pilotlight", OTHERS[0], OTHERS[1]]
        .into_iter()
        .enumerate()
        .map(|(index, name)| {
            let of = |extrapolated: bool| {
                let runs = runs.iter().filter(|run| run.extrapolated == extrapolated);
                runs.map(|run| (f64::from(size(grows, &run.params)), run.messages[index])).collect()
            };
            Series { name: name.to_owned(), points: of(false), extrapolated: of(true) }
        })
        .collect();
    let title = format!("Messages per user-hour by {}", word(grows));
    let words = Words { title: &title, x: word(grows), y: "messages per user-hour" };
    save(dir, &format!("growth-{}.svg", word(grows)), &lines(words, Scale::Logarithmic, &series))
}

fn day(dir: &Path, tally: &Tally) -> Result<(), SimulateError> {
    let by_hour = |value: fn(&Minute) -> u64| -> Vec<(f64, f64)> {
        let minutes = tally.by_minute.iter().enumerate().step_by(10);
        minutes.map(|(minute, counts)| (minute as f64 / 60.0, value(counts) as f64)).collect()
    };
    let words =
        Words { title: "Messages between all servers", x: "hour of the day", y: "messages per minute" };
    let day = [
        series("Pilotlight", by_hour(|minute| minute.ours)),
        series(OTHERS[0], by_hour(|minute| minute.per_change)),
    ];
    save(dir, "day.svg", &lines(words, Scale::Linear, &day))
}

/// Messages and bytes by the rate of changes, for the shortest and the longest sensible window.
fn rates(dir: &Path, params: &Params) -> Result<(), SimulateError> {
    let servers = params.servers.min(40).max(params.peers * 4 + 2);
    let base = Params { servers, ..params.clone() };
    let with_window = |seconds: u64| {
        let mut params = base.clone();
        params.config.batch_window = Duration::from_secs(seconds);
        scenarios::rates(&params)
    };
    let (short, long) = (with_window(10)?, with_window(60)?);
    type Values = fn(&Rate) -> [f64; 3];
    let kinds: [(&str, Values); 2] = [("messages", |rate| rate.messages), ("bytes", |rate| rate.bytes)];
    for (what, values) in kinds {
        let points = |rates: &[Rate], index: usize| {
            rates.iter().map(|rate| (rate.changes_per_hour, values(rate)[index])).collect()
        };
        let all = [
            series("Pilotlight, 10 s window", points(&short, 0)),
            series(OTHERS[0], points(&short, 1)),
            series(OTHERS[1], points(&short, 2)),
            series("Pilotlight, 60 s window", points(&long, 0)),
        ];
        let title = format!(
            "What presence costs between {servers} servers of {} users, {} contacts each",
            params.users, params.contacts
        );
        let y = format!("{what} per user-hour");
        let words = Words { title: &title, x: "changes per user and hour online", y: &y };
        save(dir, &format!("{what}.svg"), &lines(words, Scale::Logarithmic, &all))?;
    }
    Ok(())
}

fn watchdogs(dir: &Path, seed: u64) -> Result<(), SimulateError> {
    let together = scenarios::long_watchdogs(0.0, seed)?;
    let staggered = scenarios::long_watchdogs(0.25, seed)?;
    let words = Words {
        title: "Long watchdogs of 61 servers that started at once and talk in rooms all the time",
        x: "minutes since the start",
        y: "expired in the minute",
    };
    let series = [("without stagger", &*together), ("shortened by 0 to 25 % at random", &*staggered)];
    save(dir, "watchdogs.svg", &bars(words, &series))
}

fn rush(dir: &Path, seed: u64) -> Result<(), SimulateError> {
    let seconds = scenarios::login_rush(seed)?;
    let words = Words {
        title: "Reminders after everybody on 61 servers logged in within a second",
        x: "seconds since the login",
        y: "reminders in the second",
    };
    save(dir, "reminders.svg", &bars(words, &[("reminders", &*seconds)]))
}

fn outage(dir: &Path, seed: u64) -> Result<(), SimulateError> {
    let minutes = scenarios::outage(seed)?;
    let points = |value: fn(&Minute) -> u64| -> Vec<(f64, f64)> {
        minutes.iter().enumerate().map(|(at, minute)| (at as f64 - 14.0, value(minute) as f64)).collect()
    };
    let words = Words {
        title: "A server dies at 0 and returns at 30",
        x: "minutes",
        y: "users known at a peer; messages a minute",
    };
    let outage = [
        series("its users whose status a peer knows", points(|minute| minute.known)),
        series("messages sent to it", points(|minute| minute.to_first)),
    ];
    save(dir, "outage.svg", &lines(words, Scale::Linear, &outage))
}

fn series(name: &str, points: Vec<(f64, f64)>) -> Series {
    Series { name: name.to_owned(), points, extrapolated: Vec::new() }
}

fn save(dir: &Path, name: &str, svg: &str) -> Result<(), SimulateError> {
    let path = dir.join(name);
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(&path, svg))
        .map_err(|error| SimulateError::Plot(path, error))
}
