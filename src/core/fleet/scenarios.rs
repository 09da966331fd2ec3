//! Small runs that each show one thing.

use std::time::Duration;

use super::params::{BadParams, Faults, Params, Span};
use super::tally::Minute;
use super::world::World;
use crate::core::time::Instant;

const HOUR: Duration = Duration::from_secs(3_600);

/// The long watchdogs of servers that all started at once and talk in rooms all the time: how many
/// reminders asked for an answer in each minute of six hours. `stagger` is that of [`super::Params`]'
/// engines.
pub fn long_watchdogs(stagger: f64, seed: u64) -> Result<Vec<u64>, BadParams> {
    let mut params = Params {
        servers: 61,
        users: 2,
        contacts: 120,
        peers: 60,
        changes_per_hour: 0.0,
        online_hours: 24.0,
        duration: HOUR * 6,
        room_traffic: Some(Duration::from_secs(25)),
        seed,
        ..Params::default()
    };
    params.config.long_stagger = stagger;
    let mut world = World::new(params)?;
    world.run_until(Instant::MAX);
    let mut minutes = world.tally().long_reminders.clone();
    minutes.resize(360, 0);
    Ok(minutes)
}

/// Everybody on 61 servers logs in within a second, and nothing happens after it: how many reminders were sent in each
/// second of four minutes.
pub fn login_rush(seed: u64) -> Result<Vec<u64>, BadParams> {
    let params = Params {
        servers: 61,
        users: 2,
        contacts: 120,
        peers: 60,
        changes_per_hour: 0.0,
        online_hours: 24.0,
        arrivals: Duration::from_secs(1),
        duration: Duration::from_secs(240),
        seed,
        ..Params::default()
    };
    let mut world = World::new(params)?;
    world.run_until(Instant::MAX);
    let mut seconds = world.tally().short_reminders.clone();
    seconds.resize(240, 0);
    Ok(seconds)
}

/// A server dies at noon and returns half an hour later: the minutes from 11:45 to 12:59.
pub fn outage(seed: u64) -> Result<Vec<Minute>, BadParams> {
    let outage = Some(Span { begins: HOUR * 12, ends: HOUR * 25 / 2 });
    let faults = Faults { outage, ..Faults::default() };
    let params =
        Params { servers: 8, faults, duration: HOUR * 13, changes_per_hour: 6.0, seed, ..Params::default() };
    let mut world = World::new(params)?;
    world.run_until(Instant::MAX);
    Ok(world.tally().by_minute[705..779].to_vec())
}

/// A day at one rate of changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    /// How often a user changes in each hour online.
    pub changes_per_hour: f64,
    /// Per user-hour: ours, one-per-change, one-per-contact.
    pub messages: [f64; 3],
    /// Bytes, likewise.
    pub bytes: [f64; 3],
}

/// How much a day of `base` costs when its users change rarely, and when they change all the time.
pub fn rates(base: &Params) -> Result<Vec<Rate>, BadParams> {
    let of = |changes_per_hour: f64| {
        let mut world = World::new(Params { changes_per_hour, ..base.clone() })?;
        world.run_until(Instant::MAX);
        let tally = world.tally();
        let all = [tally.ours, tally.per_change, tally.per_contact];
        let hourly = |count: u64| count as f64 / tally.user_hours().max(f64::MIN_POSITIVE);
        Ok(Rate {
            changes_per_hour,
            messages: all.map(|cost| hourly(cost.messages)),
            bytes: all.map(|cost| hourly(cost.bytes)),
        })
    };
    [1.0, 3.0, 6.0, 10.0, 20.0, 40.0, 60.0].into_iter().map(of).collect()
}

/// What grows in a run of [`growth`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grows {
    /// The number of servers; each talks with as many others as before.
    Servers,
    /// The number of users of each server.
    Users,
    /// The number of contacts of each user.
    Contacts,
    /// The number of servers among which the contacts are spread.
    Peers,
}

/// One run of [`growth`].
#[derive(Clone, Debug, PartialEq)]
pub struct Growth {
    /// What was simulated.
    pub params: Params,
    /// Messages in each user-hour: ours, one-per-change, one-per-contact.
    pub messages: [f64; 3],
    /// Computed from the two runs before it, not run.
    pub extrapolated: bool,
}

/// How messages grow from `base`: three doublings that are run, over two hours of a morning, and one by a
/// factor of ten that is extrapolated. Nothing goes wrong in them.
pub fn growth(base: &Params, grows: Grows) -> Result<Vec<Growth>, BadParams> {
    let sized = |factor: u32| {
        let mut params = Params { duration: HOUR * 12, faults: Faults::default(), ..base.clone() };
        match grows {
            Grows::Servers => params.servers *= factor,
            Grows::Users => params.users *= factor,
            Grows::Contacts => params.contacts *= factor,
            Grows::Peers => params.peers *= factor,
        }
        params
    };
    let mut runs = Vec::new();
    for factor in [1, 2, 4] {
        let mut world = World::new(sized(factor))?;
        world.run_until(Instant::MAX);
        let tally = world.tally();
        let all = [tally.ours, tally.per_change, tally.per_contact];
        let messages = all.map(|cost| cost.messages as f64 / tally.user_hours().max(f64::MIN_POSITIVE));
        runs.push(Growth { params: sized(factor), messages, extrapolated: false });
    }
    runs.push(Growth { params: sized(40), messages: power_law(&runs[1], &runs[2]), extrapolated: true });
    Ok(runs)
}

/// Continues a doubling by a factor of ten, along the straight line that it is on logarithmic axes.
fn power_law(before: &Growth, last: &Growth) -> [f64; 3] {
    std::array::from_fn(|index| {
        // Where there are none there is no line.
        if before.messages[index] == 0.0 || last.messages[index] == 0.0 {
            return last.messages[index];
        }
        let exponent = (last.messages[index] / before.messages[index]).log2();
        last.messages[index] * 10f64.powf(exponent)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    #[test]
    fn a_power_law_goes_on_as_it_was() {
        let growth = |messages| Growth { params: Params::default(), messages, extrapolated: false };
        let next = power_law(&growth([1.0, 2.0, 3.0]), &growth([1.0, 4.0, 12.0]));
        let none = power_law(&growth([0.0; 3]), &growth([0.0; 3]));
        assert!(none.iter().all(|messages| *messages == 0.0), "{none:?}");
        assert!(
            (next[0] - 1.0).abs() < 1e-9 && (next[1] - 40.0).abs() < 1e-9 && (next[2] - 1_200.0).abs() < 1e-6
        );
    }

    #[test]
    fn f7_after_a_login_of_many_the_first_short_reminders_are_spread_over_half_a_minute() {
        let seconds = login_rush(1).expect("good parameters");
        // Those of the first seconds are answers.
        let first = &seconds[30..120];
        let (total, most) = (first.iter().sum::<u64>(), *first.iter().max().expect("some"));
        assert!(total > 1_000, "{total}");
        assert!(most * 12 < total, "{most} of {total} in one second: {first:?}");
    }

    #[test]
    fn more_servers_cost_each_user_nothing() {
        let base = Params { servers: 6, users: 5, contacts: 10, changes_per_hour: 6.0, ..Params::default() };
        let runs = growth(&base, Grows::Servers).expect("good parameters");
        assert_eq!(runs.iter().map(|run| run.params.servers).collect::<Vec<_>>(), [6, 12, 24, 240]);
        let (first, last) = (runs[0].messages[0], runs[2].messages[0]);
        assert!((0.7..1.4).contains(&(last / first)), "{first} {last}");
        assert!(runs[3].extrapolated && !runs[2].extrapolated);
    }
}
