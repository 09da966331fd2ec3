//! The load generator: N users in one room who long-poll `/sync`, and what that costs the server.
//!
//! With `seed` in place of `prepare` they share no room, but are on each other's lists.
//!
//! It speaks HTTP/1.1 by itself and on one thread, so that it takes little of the machine that it shares
//! with the server. It is run twice on one data folder, with a restart of the server between: `prepare`
//! makes the users, `measure` connects them to a process that has hashed no passwords. Reads the server's
//! CPU time and memory from /proc, and prints one JSON object.

#![expect(clippy::print_stdout, reason = "the result goes to standard output")]

mod http;
mod process;
mod room;
mod seed;
mod user;

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};

use crate::{process::Process, room::Room};

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
    },
}

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    let (address, file) = (arguments.address.as_str(), &arguments.users_file);
    match arguments.command {
        Command::Prepare { users } => user::prepare(address, users, file).await,
        Command::Seed { data_dir, server_name, users } => {
            seed::seed(&data_dir, &server_name, users, file).await
        }
        Command::Measure { pid, changes, messages, idle_seconds } => {
            let server = Process::new(pid);
            let result = measure(address, file, &server, changes, messages, idle_seconds).await?;
            println!("{result}");
            Ok(())
        }
    }
}

async fn measure(
    address: &str,
    file: &std::path::Path,
    server: &Process,
    changes: usize,
    messages: usize,
    idle_seconds: u64,
) -> Result<serde_json::Value, Error> {
    let empty = server.sample()?;
    let (room, users) = user::load(address, file)?;
    let count = users.len();
    let mut room = Room::connect(room, users).await?;
    room.settle(Duration::from_secs(2)).await;
    let connected = server.sample()?;
    let connect_presences = room.presences();

    let idle_traffic = room.traffic();
    let idle_from = server.sample()?;
    tokio::time::sleep(Duration::from_secs(idle_seconds)).await;
    let idle_to = server.sample()?;
    let idle_traffic = room.traffic() - idle_traffic;
    room.settle(Duration::from_millis(500)).await;

    let presence = room.rounds(server, changes, room::Kind::Presence).await?;
    let message = room.rounds(server, messages, room::Kind::Message).await?;
    Ok(serde_json::json!({
        "users": count,
        "empty_rss_bytes": empty.rss_bytes,
        "connected_rss_bytes": connected.rss_bytes,
        "rss_bytes_per_user": connected.rss_bytes.saturating_sub(empty.rss_bytes) / count as u64,
        "connect_cpu_seconds": connected.cpu_seconds - empty.cpu_seconds,
        "connect_presences_per_pair": connect_presences as f64 / (count * (count - 1)) as f64,
        "idle_seconds": idle_seconds,
        "idle_cpu_ms_per_user_minute":
            (idle_to.cpu_seconds - idle_from.cpu_seconds) * 1000.0 / (count as f64 * idle_seconds as f64 / 60.0),
        "idle_bytes_per_user_minute": idle_traffic as f64 / (count as f64 * idle_seconds as f64 / 60.0),
        "presence": presence,
        "message": message,
    }))
}
