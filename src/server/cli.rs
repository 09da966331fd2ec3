//! The command line.

use std::{
    io::{BufRead, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, CommandFactory, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    ServeError, Server,
    accounts::{Token, hash_password, username},
    config::{self, Config, ConfigError, Sources},
    http, log,
    simulate::{self, SimulateError},
    store::{Access, CreateUserError, NewUser, Store},
};

const AFTER_HELP: &str = "\
Try it:
  pilotlight serve                            then open http://127.0.0.1:8008
  pilotlight serve --set listen=[::1]:9000    any key of the configuration as a flag
  pilotlight config > pilotlight.toml         every key, explained; edit it, then
  pilotlight serve --config pilotlight.toml

Exit codes:
  0  done
  1  failed while running, or an address is taken
  2  the command line or the configuration is wrong
  3  the data cannot be used: in use, damaged, written by a newer version, not accessible";

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

#[derive(Subcommand)]
enum User {
    /// Make an account, whether or not registration is open, and whether or not the server runs.
    ///
    /// Prints the password, unless it came from standard input.
    Add {
        /// The part of the identifier before the server name: alice for @alice:example.org.
        name: String,
        /// Read the password from the first line of standard input, instead of making one up.
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Args)]
struct Settings {
    /// Read the configuration from this TOML file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set a key of the configuration; beats the environment and the file. Can be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Why the program ends without success.
enum Failure {
    Config(ConfigError),
    Serve(ServeError),
    User(String),
    Simulate(SimulateError),
    Output(std::io::Error),
}

/// Runs the program with the arguments of this process.
pub fn main() -> ExitCode {
    // Prints help, version and mistakes by itself, and exits with 0 or 2.
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Serve(settings) => settings.load().and_then(serve),
        Command::Config(settings) => settings.load().and_then(|config| print(&config::render(&config))),
        Command::User(User::Add { name, password_stdin, settings }) => {
            settings.load().and_then(|config| add_user(&config, &name, password_stdin))
        }
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

impl Settings {
    fn load(self) -> Result<Config, Failure> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
            })
            .collect();
        config::load(&Sources { file: self.config, environment, flags: self.set }).map_err(Failure::Config)
    }
}

fn serve(config: Config) -> Result<(), Failure> {
    log::start(config.log);
    http::raise_open_files();
    let runtime = runtime()?;
    runtime.block_on(async {
        let stop = stop_signal().map_err(Failure::Output)?;
        let server = Server::bind(config).await.map_err(Failure::Serve)?;
        print(&format!("listening on http://{}\n", server.address()))?;
        server.run(stop).await;
        Ok(())
    })
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

fn add_user(config: &Config, name: &str, password_stdin: bool) -> Result<(), Failure> {
    let user = username(name, &config.server_name).map_err(|e| Failure::User(e.error.into_owned()))?;
    let password = if password_stdin {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map_err(|e| Failure::User(e.to_string()))?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        Token::random().as_str().trim_start_matches(Token::PREFIX).to_owned()
    };
    let hash = hash_password(&password).map_err(|e| Failure::User(e.to_string()))?;
    let store = Store::open(&config.data_dir, &config.server_name, Access::Beside)
        .map_err(|e| Failure::Serve(e.into()))?;
    let new = NewUser {
        id: user.clone(),
        password_hash: Some(hash),
        created_ms: super::app::unix_ms(),
        device: None,
    };
    runtime()?.block_on(async {
        let created = store.create_user(new).await;
        store.close().await;
        created.map_err(|e| {
            Failure::User(match e {
                CreateUserError::InUse => format!("there is an account {user} already"),
                CreateUserError::Store(e) => e.to_string(),
            })
        })
    })?;
    print(&if password_stdin {
        format!("{user} can log in\n")
    } else {
        format!("{user} can log in with the password {password}\n")
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::Output)
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
}

impl Failure {
    fn report(self) -> ExitCode {
        let (code, message) = match self {
            Self::Config(e) => (2, e.to_string()),
            Self::Serve(e @ ServeError::Store(_)) => (3, e.to_string()),
            Self::Serve(e @ (ServeError::Bind { .. } | ServeError::Tls(_))) => (1, e.to_string()),
            Self::User(message) => (1, message),
            Self::Simulate(SimulateError::Params(message)) => (2, message),
            Self::Simulate(SimulateError::Plot(path, e)) => {
                (1, format!("cannot write {}: {e}", path.display()))
            }
            Self::Simulate(SimulateError::Output(e)) => return Self::Output(e).report(),
            // A reader that has seen enough, such as `| head`.
            Self::Output(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Self::Output(e) => (1, e.to_string()),
        };
        let line = format!("pilotlight: {message}\n");
        match std::io::stderr().write_all(line.as_bytes()) {
            // When standard error is closed there is nobody left to tell.
            Ok(()) | Err(_) => ExitCode::from(code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
