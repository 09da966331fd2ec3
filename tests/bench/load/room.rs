//! The room full of users: everybody reads, one at a time does something, all the others see it.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::{
    Error, held,
    http::Connection,
    process::Process,
    slide, sync,
    user::{File, User},
    watch::Watch,
};

/// The longest that a change may take to reach everybody.
const PATIENCE: Duration = Duration::from_secs(60);

/// What one user does in a round.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Puts a new status message.
    Presence,
    /// Sends a message into the room.
    Message,
}

/// How users read.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Form {
    /// Long polls.
    Sync,
    /// A held stream.
    Stream,
    /// Long polls of sliding sync.
    Sliding,
}

/// Connected users in one room, or in several.
pub struct Room {
    ids: Vec<String>,
    users: Vec<User>,
    pub watch: Arc<Watch>,
}

impl Room {
    /// Every user begins to read, each on a connection of their own, all on so many `threads`.
    pub fn connect(kept: File, form: Form, threads: usize) -> Result<Self, Error> {
        let File { room, rooms, users } = kept;
        let ids: Vec<_> = std::iter::once(room).chain(rooms).collect();
        let count = ids.len();
        let watch = Watch::of(users.len());
        for share in 0..threads {
            let readers: Vec<_> = users.iter().cloned().enumerate().skip(share).step_by(threads).collect();
            let watch = Arc::clone(&watch);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            // Ends with the process.
            thread::Builder::new().spawn(move || {
                let tasks = tokio::task::LocalSet::new();
                for (number, user) in readers {
                    let mut observer = watch.observer(number);
                    tasks.spawn_local(async move {
                        let ended = match form {
                            Form::Sync => sync::follow(&user, &mut observer).await,
                            Form::Stream => held::follow(&user, &mut observer).await,
                            Form::Sliding => slide::follow(&user, count, &mut observer).await,
                        };
                        if let Err(error) = ended {
                            observer.failed(&error);
                        }
                    });
                }
                runtime.block_on(tasks);
            })?;
        }
        Ok(Self { ids, users, watch })
    }

    /// `rounds` times: one user does something, and all the others have seen it before, and the time `pause` after,
    /// the next does.
    pub async fn rounds(
        &self,
        server: &Process,
        rounds: usize,
        kind: Kind,
        pause: Duration,
    ) -> Result<Value, Error> {
        if rounds == 0 {
            return Ok(Value::Null);
        }
        let mut connection = Connection::open(&self.users[0].address).await?;
        let (traffic, before) = (self.watch.traffic(), server.sample()?);
        let (load, began) = (Process::own().sample()?, Instant::now());
        let mut last = Vec::with_capacity(rounds);
        for round in 0..rounds {
            last.push(self.round(&mut connection, round, kind).await?);
            tokio::time::sleep(pause).await;
        }
        self.watch.settle(Duration::from_millis(300)).await?;
        let deliveries = (rounds * (self.users.len() - 1)) as f64;
        let cpu = server.sample()?.cpu_seconds - before.cpu_seconds;
        let load = Process::own().sample()?.cpu_seconds - load.cpu_seconds;
        last.sort_unstable();
        let at = |percent: usize| last[(last.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
        Ok(json!({
            "rounds": rounds,
            "deliveries": deliveries,
            "cpu_us_per_delivery": cpu * 1e6 / deliveries,
            "bytes_per_delivery": (self.watch.traffic() - traffic) as f64 / deliveries,
            "last_receiver_ms": { "p50": at(50), "p95": at(95), "max": at(100) },
            "load_cpu_us_per_delivery": load * 1e6 / deliveries,
            "load_cpu_share": load / began.elapsed().as_secs_f64(),
        }))
    }

    /// One round; gives the time from the request to the last of the others who saw it.
    async fn round(&self, connection: &mut Connection, round: usize, kind: Kind) -> Result<Duration, Error> {
        let actor = round % self.users.len();
        let user = &self.users[actor];
        // Of this run alone: who said it before says nothing new.
        let run = std::process::id() & 0xffff;
        let tag = match kind {
            Kind::Presence => format!("pres{run:04x}.{round}"),
            Kind::Message => format!("message{run:04x}.{round}"),
        };
        self.watch.want(&tag, actor);
        let began = Instant::now();
        match kind {
            Kind::Presence => user.put_presence(connection, &tag).await?,
            Kind::Message => user.send(connection, &self.ids[round % self.ids.len()], &tag).await?,
        }
        Ok(self.watch.last(PATIENCE).await? - began)
    }
}
