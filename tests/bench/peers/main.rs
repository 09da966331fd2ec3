//! What presence between two homeservers costs on the wire, with a relay before each of them that counts.
//!
//! The servers run already, each with the name of its relay's port; `tests/bench/run.mjs` starts them. People
//! register, put each other on their lists across the servers, and each keeps a long poll open. Prints one
//! JSON object.

#![expect(clippy::print_stdout, reason = "the result goes to standard output")]

#[expect(dead_code, reason = "the bytes of an answer are counted by the load program only")]
#[path = "../load/http.rs"]
mod http;
mod relay;
mod user;

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use clap::Parser;
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    relay::{Count, Relay, Tls},
    user::{Told, User},
};

type Error = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
struct Arguments {
    /// The folder with ca.pem, localhost.pem and localhost.key.
    #[arg(long)]
    authority: PathBuf,
    /// For each server: the port of its clients, that of its relay, and that at which other servers reach it.
    #[arg(long, num_args = 3, value_names = ["CLIENTS", "RELAY", "SERVERS"])]
    here: Vec<u16>,
    /// The other server, likewise.
    #[arg(long, num_args = 3, value_names = ["CLIENTS", "RELAY", "SERVERS"])]
    there: Vec<u16>,
    /// Contacts of the one who has many, and users in the burst.
    #[arg(long, default_value_t = 100)]
    users: usize,
    /// Minutes of one change a minute each.
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// Minutes in which nothing happens.
    #[arg(long, default_value_t = 4)]
    idle_minutes: u64,
}

/// How many change once a minute.
const STEADY: usize = 20;

/// Longer than a batch window, and what may be repeated after it.
const CALM: Duration = Duration::from_secs(15);

/// The longest that anything may take to be seen.
const PATIENCE: Duration = Duration::from_secs(60);

struct Bench {
    /// Before the server of those who change; it counts what comes from the others.
    to_here: Relay,
    /// Before the other server; it counts what those changes cost.
    to_there: Relay,
    /// The one with many contacts there.
    popular: User,
    /// These and `there` are on each other's lists, one to one.
    here: Vec<User>,
    there: Vec<User>,
    told: mpsc::UnboundedReceiver<Told>,
    arrivals: mpsc::UnboundedSender<Told>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    let mut bench = Bench::prepare(&arguments).await?;
    let login = bench.login().await?;
    let one_change = bench.one_change().await?;
    bench.others_arrive().await?;
    let steady = bench.steady(arguments.minutes).await?;
    let burst = bench.burst().await?;
    let idle = bench.idle(arguments.idle_minutes).await?;
    let result = json!({
        "contacts": arguments.users, "login": login, "one_change": one_change, "steady": steady,
        "burst": burst, "idle": idle,
    });
    println!("{result}");
    Ok(())
}

impl Bench {
    async fn prepare(arguments: &Arguments) -> Result<Self, Error> {
        let tls = Tls::load(&arguments.authority)?;
        let [[here, here_relay, here_servers], [there, there_relay, there_servers]] =
            [&arguments.here, &arguments.there].map(|ports| [ports[0], ports[1], ports[2]]);
        let to_here = Relay::start(here_relay, here_servers, tls.clone()).await?;
        let to_there = Relay::start(there_relay, there_servers, tls).await?;
        let (here, there) = (format!("127.0.0.1:{here}"), format!("127.0.0.1:{there}"));
        let popular = User::register(&here, "popular").await?;
        let mut bench_here = Vec::new();
        let mut bench_there = Vec::new();
        for n in 0..arguments.users {
            bench_here.push(User::register(&here, &format!("user{n:03}")).await?);
            bench_there.push(User::register(&there, &format!("user{n:03}")).await?);
        }
        let (here, there) = (bench_here, bench_there);
        popular.ask(&there).await?;
        for (one, other) in here.iter().zip(&there) {
            one.ask(std::slice::from_ref(other)).await?;
        }
        for (one, other) in here.iter().zip(&there) {
            other.befriend(one).await?;
            other.befriend(&popular).await?;
        }
        let (arrivals, told) = mpsc::unbounded_channel();
        there.iter().for_each(|user| drop(user.arrive(arrivals.clone())));
        let mut bench = Self { to_here, to_there, popular, here, there, told, arrivals };
        bench.calm().await;
        Ok(bench)
    }

    /// The one with many contacts comes; nobody else of that server does yet, so that nothing is known of
    /// them there.
    async fn login(&mut self) -> Result<Value, Error> {
        let before = self.counts();
        drop(self.popular.arrive(self.arrivals.clone()));
        let both_ways = |user| [sees(&self.popular, user, "online"), sees(user, &self.popular, "online")];
        self.until_seen(self.there.iter().flat_map(both_ways).collect()).await?;
        let spent = self.spent(before);
        self.calm().await;
        Ok(spent)
    }

    async fn others_arrive(&mut self) -> Result<(), Error> {
        self.here.iter().for_each(|user| drop(user.arrive(self.arrivals.clone())));
        let both_ways = |(one, other)| [sees(one, other, "online"), sees(other, one, "online")];
        self.until_seen(self.here.iter().zip(&self.there).flat_map(both_ways).collect()).await?;
        self.calm().await;
        Ok(())
    }

    async fn one_change(&mut self) -> Result<Value, Error> {
        let before = self.counts();
        self.popular.show("unavailable", "n0").await?;
        self.until_seen(self.there.iter().map(|user| sees(user, &self.popular, "n0")).collect()).await?;
        self.calm().await;
        Ok(self.spent(before))
    }

    /// Some change once a minute each, evenly spread.
    async fn steady(&mut self, minutes: u64) -> Result<Value, Error> {
        let (before, began) = (self.counts(), Instant::now());
        let users = STEADY.min(self.here.len());
        let changes = users * usize::try_from(minutes)?;
        for n in 0..changes {
            sleep_until(began + Duration::from_secs(60) * u32::try_from(n)? / u32::try_from(users)?).await;
            let state = if (n / users).is_multiple_of(2) { "unavailable" } else { "online" };
            self.here[n % users].show(state, &format!("n{n}")).await?;
        }
        sleep_until(began + Duration::from_secs(60 * minutes)).await;
        let change = |n: usize| sees(&self.there[n % users], &self.here[n % users], &format!("n{n}"));
        self.until_seen((0..changes).map(change).collect()).await?;
        let mut spent = self.spent(before);
        spent["changes"] = changes.into();
        self.calm().await;
        Ok(spent)
    }

    /// Everybody changes within a second.
    async fn burst(&mut self) -> Result<Value, Error> {
        let (before, began) = (self.counts(), Instant::now());
        let mut changes = JoinSet::new();
        for (n, user) in self.here.iter().cloned().enumerate() {
            let at = began + Duration::from_secs(1) * u32::try_from(n)? / u32::try_from(self.here.len())?;
            changes.spawn(async move {
                sleep_until(at).await;
                user.show("busy", "burst").await
            });
        }
        while let Some(change) = changes.join_next().await {
            change??;
        }
        let took = began.elapsed();
        let pairs = self.there.iter().zip(&self.here);
        self.until_seen(pairs.map(|(observer, user)| sees(observer, user, "burst")).collect()).await?;
        let mut spent = self.spent(before);
        spent["changes"] = self.here.len().into();
        spent["took_seconds"] = took.as_secs_f64().into();
        self.calm().await;
        Ok(spent)
    }

    /// Nothing happens.
    async fn idle(&mut self, minutes: u64) -> Result<Value, Error> {
        let before = self.counts();
        sleep(Duration::from_secs(60 * minutes)).await;
        let mut spent = self.spent(before);
        spent["minutes"] = minutes.into();
        Ok(spent)
    }

    fn counts(&self) -> [Count; 2] {
        [self.to_there.count(), self.to_here.count()]
    }

    /// What was spent since `before`: by the server of those who change, and by the other.
    fn spent(&self, before: [Count; 2]) -> Value {
        let [forth, back] = self.counts();
        let shown = |count: Count| {
            json!({
                "transactions": count.transactions, "reminders": count.reminders,
                "body_bytes": count.body, "wire_bytes": count.wire, "connections": count.connections,
            })
        };
        json!({ "to_there": shown(forth - before[0]), "to_here": shown(back - before[1]) })
    }

    /// Waits until everything in `left` was seen.
    async fn until_seen(&mut self, mut left: BTreeSet<Sight>) -> Result<(), Error> {
        while let Some((observer, user, what)) = left.first() {
            let told = timeout(PATIENCE, self.told.recv()).await;
            let told = told.map_err(|_| {
                format!("{} were never seen, such as {what} of {user} by {observer}", left.len())
            })?;
            let Told { observer, user, status_msg, state } = told.ok_or("all have left")?;
            left.remove(&(observer.clone(), user.clone(), status_msg));
            left.remove(&(observer, user, state));
        }
        Ok(())
    }

    async fn calm(&mut self) {
        sleep(CALM).await;
        while self.told.try_recv().is_ok() {}
    }
}

/// Who sees of whom which state or status message.
type Sight = (String, String, String);

fn sees(observer: &User, user: &User, what: &str) -> Sight {
    (observer.id.clone(), user.id.clone(), what.to_owned())
}
