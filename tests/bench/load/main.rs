//! The load generator: N users in one room who read by `/sync`, by sliding sync or by the held stream, and what that costs the server.
//!
//! With `seed` in place of `prepare` they share no room, but are on each other's lists.
//!
//! It speaks HTTP/1.1 by itself and on one thread (`--threads` shows that more change nothing), so that it takes little
//! of the machine that it shares with the server. It is run twice on one data folder, with a restart of the server between: `prepare`
//! makes the users, `measure` connects them to a process that has hashed no passwords. Reads the server's
//! CPU time and memory from /proc, and prints one JSON object.

#![expect(clippy::print_stdout, reason = "the result goes to standard output")]

mod bare;
mod held;
mod http;
mod process;
mod room;
mod seed;
mod slide;
mod sync;
mod user;
mod watch;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::{Parser, Subcommand};

use crate::{
    process::Process,
    room::{Form, Kind, Room},
};

#[derive(Parser)]
struct Arguments {
    /// The server's address, such as 127.0.0.1:8008.
    #[arg(long)]
    address: String,
    /// Where the users are kept between `prepare` and `measure`.
    #[arg(long)]
    users_file: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Registers the users and puts them into one room.
    Prepare {
        #[arg(long, default_value_t = 100)]
        users: usize,
    },
    /// Writes users who all have each other on their lists into the data folder of a server that does not
    /// run.
    Seed {
        /// The server's data folder.
        #[arg(long)]
        data_dir: PathBuf,
        /// The server's name.
        #[arg(long)]
        server_name: String,
        #[arg(long, default_value_t = 1_000)]
        users: usize,
        /// How many of them each has on their list: the next ones, who have them in turn. All, if it is not said.
        #[arg(long)]
        contacts: Option<usize>,
    },
    /// What a bare write costs, in µs: to as many sockets.
    Bare {
        #[arg(long, default_value_t = 200)]
        sockets: usize,
        #[arg(long, default_value_t = 100)]
        rounds: usize,
        #[arg(long, default_value_t = 100)]
        bytes: usize,
        #[arg(long, default_value_t = 60)]
        pause_ms: u64,
    },
    /// Puts users whom `seed` wrote into one room.
    Gather {
        /// Other state events that the room has.
        #[arg(long, default_value_t = 0)]
        state: usize,
    },
    /// Puts them into many more; then messages go to one after the other of all, and windows are on all of them.
    Fill {
        #[arg(long, default_value_t = 1_000)]
        rooms: usize,
    },
    /// Connects the users and measures.
    Measure {
        /// The server's process.
        #[arg(long)]
        pid: u32,
        /// Presence changes, one after the other, each waited for by all.
        #[arg(long, default_value_t = 100)]
        changes: usize,
        /// Messages, likewise.
        #[arg(long, default_value_t = 50)]
        messages: usize,
        /// How long the idle server is watched, in seconds.
        #[arg(long, default_value_t = 60)]
        idle_seconds: u64,
        /// How the users read.
        #[arg(long, value_enum, default_value = "sync")]
        form: Form,
        /// How many threads read for them.
        #[arg(long, default_value_t = 1)]
        threads: usize,
        /// How long nothing happens after each change, in milliseconds.
        #[arg(long, default_value_t = 0)]
        pause_ms: u64,
    },
}

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    if let Command::Bare { sockets, rounds, bytes, pause_ms } = arguments.command {
        println!("{:.2}", bare::write(sockets, rounds, bytes, Duration::from_millis(pause_ms))?);
        return Ok(());
    }
    let (address, file) = (arguments.address.as_str(), &arguments.users_file);
    match arguments.command {
        Command::Prepare { users } => user::prepare(address, users, file).await,
        Command::Bare { .. } => Ok(()),
        Command::Gather { state } => user::gather(address, file, state).await,
        Command::Fill { rooms } => user::fill(address, file, rooms).await,
        Command::Seed { data_dir, server_name, users, contacts } => {
            let contacts = contacts.unwrap_or(users);
            seed::seed(&data_dir, &server_name, users, contacts, file).await
        }
        Command::Measure { pid, changes, messages, idle_seconds, form, threads, pause_ms } => {
            let kept = user::load(address, file)?;
            let load = Load {
                changes,
                messages,
                idle_seconds,
                form,
                threads,
                pause: Duration::from_millis(pause_ms),
            };
            println!("{}", load.measure(kept, &Process::new(pid)).await?);
            Ok(())
        }
    }
}

/// What is put on the server.
struct Load {
    changes: usize,
    messages: usize,
    idle_seconds: u64,
    form: Form,
    threads: usize,
    pause: Duration,
}

impl Load {
    async fn measure(self, kept: user::File, server: &Process) -> Result<serde_json::Value, Error> {
        let empty = server.sample()?;
        let (count, rooms) = (kept.users.len(), kept.rooms.len());
        let began = Instant::now();
        let room = Room::connect(kept, self.form, self.threads)?;
        let watch = &room.watch;
        watch.settle(Duration::from_secs(2)).await?;
        let connecting = began.elapsed();
        let connected = server.sample()?;
        let presences = watch.presences();

        let traffic = watch.traffic();
        let idle_from = server.sample()?;
        tokio::time::sleep(Duration::from_secs(self.idle_seconds)).await;
        let idle_to = server.sample()?;
        let traffic = watch.traffic() - traffic;
        watch.settle(Duration::from_millis(500)).await?;

        let presence = room.rounds(server, self.changes, Kind::Presence, self.pause).await?;
        let message = room.rounds(server, self.messages, Kind::Message, self.pause).await?;
        let user_minutes = count as f64 * self.idle_seconds as f64 / 60.0;
        Ok(serde_json::json!({
            "users": count,
            "rooms": rooms + 1,
            "form": format!("{:?}", self.form),
            "load_threads": self.threads,
            "empty_rss_bytes": empty.rss_bytes,
            "connected_rss_bytes": connected.rss_bytes,
            "idle_rss_bytes": idle_to.rss_bytes,
            "rss_bytes_per_user": connected.rss_bytes.saturating_sub(empty.rss_bytes) / count as u64,
            "connect_cpu_seconds": connected.cpu_seconds - empty.cpu_seconds,
            "connect_seconds": connecting.as_secs_f64() - 2.0,
            "connect_presences_per_pair": presences as f64 / (count * (count - 1)) as f64,
            "informed_after_ms": watch.informed_after().map(|after| after.as_secs_f64() * 1000.0),
            "idle_seconds": self.idle_seconds,
            "idle_cpu_ms_per_user_minute": (idle_to.cpu_seconds - idle_from.cpu_seconds) * 1000.0 / user_minutes,
            "idle_bytes_per_user_minute": traffic as f64 / user_minutes,
            "presence": presence,
            "message": message,
        }))
    }
}
