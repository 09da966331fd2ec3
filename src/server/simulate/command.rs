//! `pilotlight simulate`: presence between many homeservers on virtual time, counted and plotted.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant as RealInstant};

use clap::Args;

use super::{
    error::SimulateError,
    plots,
    words::{size, word},
};
use crate::core::{
    fleet::{
        Agreement, Cost, Faults, Params, Span, World,
        scenarios::{self, Grows, Growth},
    },
    time::Instant,
};

/// The parameters of `pilotlight simulate`.
#[derive(Args, Debug)]
pub struct Simulate {
    /// Homeservers.
    #[arg(long, default_value_t = 1_000)]
    servers: u32,
    /// Users of each.
    #[arg(long, default_value_t = 100)]
    users: u32,
    /// Contacts of each user on other servers, about; all mutual.
    #[arg(long, default_value_t = 40)]
    contacts: u32,
    /// Other servers among which these are spread; even, unless the number of servers is. 4, if there are as many.
    #[arg(long)]
    peers: Option<u32>,
    /// Changes of presence that a user makes in each hour online, on average.
    #[arg(long, default_value_t = 60.0, value_name = "RATE")]
    changes_per_hour: f64,
    /// Hours that a user is online each day, from about nine o'clock; 24: always.
    #[arg(long, default_value_t = 8.0, value_name = "HOURS")]
    online: f64,
    /// Hours to simulate, from midnight; the first people come at half past seven.
    #[arg(long, default_value_t = 24.0)]
    hours: f64,
    /// Seconds for which changes are collected before they are sent, up to 60.
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    batch_window: u64,
    /// The first server is without power from and to these hours.
    #[arg(long, value_name = "FROM-TO", value_parser = span)]
    outage: Option<Span>,
    /// The first and the second server do not reach each other from and to these hours.
    #[arg(long, value_name = "FROM-TO", value_parser = span)]
    cut: Option<Span>,
    /// The first server does not reach the second, which reaches it, from and to these hours.
    #[arg(long, value_name = "FROM-TO", value_parser = span)]
    one_way_cut: Option<Span>,
    /// The first server restarts at this hour; can be given again.
    #[arg(long, value_name = "HOUR", value_parser = hour)]
    restart: Vec<Duration>,
    /// Of each thousand acknowledgements this many are lost.
    #[arg(long, default_value_t = 0, value_name = "PER_THOUSAND")]
    lose_acknowledgements: u64,
    /// The same seed gives the same run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also run how it grows with servers, users, contacts and peers, and extrapolate.
    #[arg(long)]
    growth: bool,
    /// Write plots as SVG files into this directory; also runs other rates of change, an outage and the
    /// long watchdogs.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
}

/// What is said of a run in which nothing happened.
const NOBODY: &str = "Nobody was online: the day begins at midnight, and people come from half past seven on. Take --hours 12 or more, or \
     --online 24, with which all are there from the beginning.";

/// What is said where nobody is left in whom it could be seen what the faults did.
const NOBODY_LEFT: &str = "At the end nobody is online who has contacts, so that nobody sees anybody: end the run \
                           in the day (--hours 14), or leave them online (--online 24)";

/// Runs the simulation; the table goes to `out`, progress to `progress`.
pub fn run(args: &Simulate, out: &mut dyn Write, progress: &mut dyn Write) -> Result<(), SimulateError> {
    let params = args.params()?;
    let began = RealInstant::now();
    let mut world = World::new(params.clone())?;
    let steps = 48;
    for step in 1..=steps {
        world.run_until(Instant::ZERO + params.duration * step / steps);
        let (percent, events) = (100 * step / steps, world.tally().events);
        write!(progress, "\r{percent:3} % of {} h, {events} events", args.hours)?;
        progress.flush()?;
    }
    writeln!(progress, ", {:.1} s", began.elapsed().as_secs_f64())?;
    out.write_all(table(&world).as_bytes())?;
    if args.growth {
        for grows in [Grows::Servers, Grows::Users, Grows::Contacts, Grows::Peers] {
            let runs = scenarios::growth(&small(&params, grows), grows)?;
            out.write_all(growth_table(grows, &runs).as_bytes())?;
            if let Some(dir) = &args.plots {
                plots::growth(dir, grows, &runs)?;
            }
        }
    }
    if let Some(dir) = &args.plots {
        plots::all(dir, &params, world.tally())?;
        writeln!(progress, "plots in {}", dir.display())?;
    }
    Ok(())
}

impl Simulate {
    fn params(&self) -> Result<Params, SimulateError> {
        let duration = Duration::try_from_secs_f64(self.hours * 3_600.0)
            .map_err(|e| SimulateError::Params(format!("--hours {}: {e}", self.hours)))?;
        let mut params = Params {
            servers: self.servers,
            users: self.users,
            contacts: self.contacts,
            peers: self.peers.unwrap_or_else(|| usual_peers(self.servers)),
            faults: Faults {
                outage: self.outage,
                cut: self.cut,
                one_way_cut: self.one_way_cut,
                restarts: self.restart.clone(),
                lost_acknowledgements: self.lose_acknowledgements,
            },
            changes_per_hour: self.changes_per_hour,
            online_hours: self.online,
            duration,
            seed: self.seed,
            ..Params::default()
        };
        params.config.batch_window = Duration::from_secs(self.batch_window);
        Ok(params)
    }
}

/// Four, or as many as there are around a ring of so few servers.
fn usual_peers(servers: u32) -> u32 {
    match servers {
        0..=4 => servers.saturating_sub(1),
        _ => 4,
    }
}

/// A time of the day, in hours.
fn hour(text: &str) -> Result<Duration, String> {
    let hours: f64 = text.parse().map_err(|_| format!("{text} is no number of hours"))?;
    Duration::try_from_secs_f64(hours * 3_600.0).map_err(|e| e.to_string())
}

/// Two of them.
fn span(text: &str) -> Result<Span, String> {
    let (begins, ends) = text.split_once('-').ok_or("two hours with a dash between them, such as 12-12.5")?;
    Ok(Span { begins: hour(begins)?, ends: hour(ends)? })
}

fn table(world: &World) -> String {
    let (params, tally) = (world.params(), world.tally());
    let mut text = String::new();
    let hours = tally.user_hours().max(f64::MIN_POSITIVE);
    line(
        &mut text,
        format_args!(
            "{} servers x {} users, {:.1} contacts each on {} other servers, {} changes an hour, {} s window, seed {}",
            params.servers,
            params.users,
            world.contacts_each(),
            params.peers,
            params.changes_per_hour,
            params.config.batch_window.as_secs(),
            params.seed
        ),
    );
    line(
        &mut text,
        format_args!(
            "{:.0} user-hours, {} changes, {} logins\n",
            tally.user_hours(),
            tally.changes,
            tally.logins
        ),
    );
    line(
        &mut text,
        format_args!(
            "{:<34}{:>14}{:>12}{:>14}{:>8}{:>8}",
            "", "messages", "/user-hour", "B/user-hour", "x msgs", "x B"
        ),
    );
    if tally.logins == 0 {
        line(&mut text, format_args!("{NOBODY}\n"));
    }
    let mut row = |name: &str, cost: Cost| {
        let times = |theirs: u64, ours: u64| theirs as f64 / (ours as f64).max(1.0);
        line(
            &mut text,
            format_args!(
                "{name:<34}{:>14}{:>12.1}{:>14.0}{:>8.1}{:>8.1}",
                cost.messages,
                cost.messages as f64 / hours,
                cost.bytes as f64 / hours,
                times(cost.messages, tally.ours.messages),
                times(cost.bytes, tally.ours.bytes)
            ),
        );
    };
    row("Pilotlight", tally.ours);
    row("one per change (as Synapse)", tally.per_change);
    row("one per contact (as XMPP)", tally.per_contact);
    line(
        &mut text,
        format_args!(
            "\nPilotlight's messages: {} with pushes, of {:.1} users each; {} with polls; {} reminders alone",
            tally.pushes,
            tally.pushed_users as f64 / (tally.pushes as f64).max(1.0),
            tally.polls,
            tally.reminders
        ),
    );
    if params.faults.any() {
        let Agreement { right, wrong, unknown } = world.agreement();
        let at_the_end = match right + wrong + unknown {
            0 => NOBODY_LEFT.to_owned(),
            _ => format!(
                "At the end {right} contacts are seen as they are, {wrong} as they were, and of {unknown} it is said \
                 that nothing is known"
            ),
        };
        line(&mut text, format_args!("{} messages failed. {at_the_end}", tally.failed));
    }
    text
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    text.write_fmt(words).expect("a string takes everything");
    text.push('\n');
}

/// A base for growth that does not take long, and leaves room for forty times as many contacts.
fn small(params: &Params, grows: Grows) -> Params {
    let servers = params.servers.min(40).max(params.peers * 4 + 2);
    let contacts = if grows == Grows::Contacts { 10 } else { 40 };
    Params {
        servers,
        users: params.users.min(100),
        contacts: params.contacts.min(contacts),
        ..params.clone()
    }
}

fn growth_table(grows: Grows, runs: &[Growth]) -> String {
    let mut text = format!("\nmessages/user-hour by {}\n", word(grows));
    for run in runs {
        let [ours, per_change, per_contact] = run.messages;
        let note = if run.extrapolated { "  (extrapolated, not run)" } else { "" };
        line(
            &mut text,
            format_args!(
                "{:>10}{ours:>12.1}{per_change:>12.1}{per_contact:>14.1}{note}",
                size(grows, &run.params)
            ),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        simulate: Simulate,
    }

    fn simulate(args: &[&str]) -> Result<String, SimulateError> {
        let command: Command =
            clap::Parser::try_parse_from(["simulate"].iter().chain(args)).expect("good arguments");
        let mut out = Vec::new();
        run(&command.simulate, &mut out, &mut std::io::sink()).map(|()| String::from_utf8(out).expect("text"))
    }

    #[test]
    fn a_small_run_prints_its_table() {
        let table = simulate(&["--servers=6", "--users=4", "--contacts=4", "--hours=12"]).expect("runs");
        for words in
            ["6 servers x 4 users", "Pilotlight", "one per change", "one per contact", "reminders alone"]
        {
            assert!(table.contains(words), "{table}");
        }
    }

    #[test]
    fn f11_two_servers_are_simulated_and_what_is_printed_is_what_was_simulated() {
        let table = simulate(&["--servers=2", "--users=3", "--contacts=500", "--hours=10"]).expect("runs");
        assert!(table.contains("on 1 other servers"), "{table}");
        assert!(table.contains("x 3 users, 2.7 contacts each"), "three are within reach: {table}");
        let table =
            simulate(&["--servers=3", "--users=1", "--changes-per-hour=0", "--online=24"]).expect("runs");
        assert!(table.contains("\n72 user-hours"), "{table}");
    }

    #[test]
    fn f11_a_run_in_which_nobody_was_online_says_so() {
        let small = ["--servers=6", "--users=4"];
        let table = simulate(&[&small[..], &["--hours=2"]].concat()).expect("runs");
        assert!(table.contains("Nobody was online"), "{table}");
        assert!(table.contains("begins at midnight") && table.contains("--hours 12"), "{table}");
        let table = simulate(&[&small[..], &["--hours=12"]].concat()).expect("runs");
        assert!(!table.contains("Nobody was online"), "{table}");
        let table = simulate(&[&small[..], &["--hours=2", "--online=24"]].concat()).expect("runs");
        assert!(!table.contains("Nobody was online"), "{table}");
    }

    #[test]
    fn f11_faults_are_options_and_what_they_left_is_printed() {
        let small = ["--servers=2", "--users=5", "--contacts=4", "--hours=3", "--online=24"];
        for (fault, fails) in [
            ("--cut=1-1.5", true),
            ("--one-way-cut=1-1.5", true),
            ("--outage=1-1.5", true),
            ("--restart=1", false),
            ("--lose-acknowledgements=100", true),
        ] {
            let table = simulate(&[&small[..], &[fault]].concat()).expect("runs");
            assert!(table.contains(" messages failed. At the end "), "{table}");
            assert_eq!(!table.contains("\n0 messages failed"), fails, "{fault}: {table}");
        }
    }

    #[test]
    fn parameters_without_meaning_are_refused_with_a_reason() {
        let Err(SimulateError::Params(reason)) = simulate(&["--servers=9", "--peers=3"]) else {
            panic!("refused")
        };
        assert!(reason.contains("even"), "{reason}");
        let Err(SimulateError::Params(reason)) = simulate(&["--cut=13-12"]) else { panic!("refused") };
        assert!(reason.contains("before it ends"), "{reason}");
        for flags in [
            &["--hours=nan"][..],
            &["--hours=0"],
            &["--hours=1e9"],
            &["--batch-window=0"],
            &["--batch-window=18446744073709551615"],
            &["--changes-per-hour=1e300"],
            &["--online=0"],
            &["--hours=12", "--restart=30"],
            &["--hours=12", "--outage=1-30"],
            &["--hours=12", "--cut=13-14"],
            &["--hours=12", "--one-way-cut=11-13"],
            &["--outage=9-10", "--restart=9.5"],
        ] {
            assert!(matches!(simulate(flags), Err(SimulateError::Params(_))), "{flags:?}");
        }
    }

    #[test]
    fn where_nobody_is_left_at_the_end_it_is_said_instead_of_counted() {
        let table = simulate(&["--servers=2", "--users=3", "--contacts=4", "--cut=9-10"]).expect("runs");
        assert!(table.contains("messages failed. At the end nobody is online"), "{table}");
    }
}
