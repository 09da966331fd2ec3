//! The command line.

use std::{process::ExitCode, time::Duration};

use clap::{CommandFactory, Parser, Subcommand};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    backup::Backup,
    check::Check,
    failure::Failure,
    keys::Keys,
    peers::PeersCommand,
    settings::{Settings, print, runtime, say},
    user::User,
};
use crate::server::{
    config::{self, Config},
    http, log,
    serve::Server,
    simulate,
};

const AFTER_HELP: &str = "\
Try it:
  pilotlight serve                            then open http://127.0.0.1:8008
  pilotlight serve --set listen=[::1]:9000    any key of the configuration as a flag
  pilotlight config > pilotlight.toml         every key, explained; edit it, then
  pilotlight serve --config pilotlight.toml

Exit codes:
  0  done
  1  failed while running, an address is taken, or `check` found a fault
  2  the command line or the configuration is wrong
  3  the data cannot be used: in use, damaged, written by a newer version, not accessible";

/// How long threads that wait for the system may go on when everything else has ended.
const LAST_THREADS: Duration = Duration::from_millis(250);

/// A Matrix homeserver whose presence you can leave on.
#[derive(Parser)]
#[command(name = "pilotlight", version, after_help = AFTER_HELP, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the homeserver, until SIGTERM or Ctrl-C.
    ///
    /// Needs no configuration: it listens on 127.0.0.1:8008, keeps its data in ./data and lets anybody
    /// on this machine register. The first line on standard output is `listening on URL`, printed
    /// when it answers; the log goes to standard error.
    Serve(Settings),
    /// Print the configuration in effect, as a commented TOML file that can be read back.
    Config(Settings),
    /// Look after accounts.
    #[command(subcommand)]
    User(User),
    /// Find out whether this server can speak with another one: its name, TLS, version and keys.
    Check(Check),
    /// Show how a running server stands with each other one: promises, timers, queue, last error.
    ///
    /// SPEAKS: what the other server understands. GIVEN: users whose changes it was promised. KNOWN: of its
    /// users who are wanted here, those whose status is known, and FOR how long without a sign of life. SHORT
    /// and LONG: until the watchdogs expire. BATCH: users in the next message. QUEUE: EDUs that wait. SENT:
    /// transactions that it acknowledged. ALIVE: since its last sign of life.
    Peers(PeersCommand),
    /// Copy the data, with the signing keys, into another folder, whether or not the server runs.
    ///
    /// The copy is of one moment, and is checked. It holds password hashes and keys: keep it safe. To restore it,
    /// stop the server and put the folder in the place of data_dir.
    Backup(Backup),
    /// Look after this server's signing keys.
    #[command(subcommand)]
    Keys(Keys),
    /// Simulate presence between many homeservers on virtual time, and count what it costs.
    ///
    /// The servers run the very engine that `serve` runs. Printed beside it is what the same day costs with
    /// one message for each change, and with one for each contact.
    Simulate(simulate::Simulate),
    /// Print a completion script for a shell, such as `pilotlight completions bash`.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    // Prints help, version and mistakes by itself, and exits with 0 or 2.
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Serve(settings) => settings.load().and_then(serve),
        Command::Config(settings) => settings.load().and_then(|config| print(&config::render(&config))),
        Command::User(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Peers(command) => command.run(),
        Command::Backup(command) => command.run(),
        Command::Keys(command) => command.run(),
        Command::Simulate(args) => {
            simulate::run(&args, &mut std::io::stdout().lock(), &mut std::io::stderr().lock())
                .map_err(Failure::Simulate)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "pilotlight", &mut script);
            print(&String::from_utf8_lossy(&script))
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn serve(config: Config) -> Result<(), Failure> {
    log::start(config.log);
    http::raise_open_files();
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        let stop = stop_signal().map_err(Failure::Output)?;
        // A file that may not grow is an error of the write, not the end of the program.
        let _too_large = signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map_err(Failure::Output)?;
        let server = Server::bind(config).await.map_err(Failure::Serve)?;
        greet(&server);
        server.run(stop).await;
        Ok(())
    });
    // A name server that does not answer holds a thread for as long as the system waits for it.
    runtime.shutdown_timeout(LAST_THREADS);
    served
}

/// Says where the server listens. Where that goes may be full or closed: no reason not to serve.
fn greet(server: &Server) {
    let address = server.address();
    if let Err(error) = say(&format!("listening on http://{address}\n")) {
        tracing::warn!(%address, %error, "cannot say on standard output where this server listens");
    }
}

/// Completes at SIGTERM or SIGINT.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => tracing::info!("SIGTERM: stopping"),
            _ = int.recv() => tracing::info!("SIGINT: stopping"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
