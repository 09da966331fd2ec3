//! Why the program ends without success, and with which code.

use std::{io::Write, process::ExitCode};

use crate::server::{app::error::ServeError, config::ConfigError, simulate::SimulateError};

/// Why the program ends without success.
pub(super) enum Failure {
    Config(ConfigError),
    Serve(ServeError),
    /// What was asked for did not happen; says why.
    Refused(String),
    /// What was asked for showed a fault, which has been printed.
    Found,
    Simulate(SimulateError),
    Output(std::io::Error),
}

impl Failure {
    /// Says why on standard error; the exit code.
    pub(super) fn report(self) -> ExitCode {
        let (code, message) = match self {
            Self::Config(e) => (2, e.to_string()),
            Self::Serve(e @ ServeError::Registration(_)) => (2, e.to_string()),
            Self::Serve(e @ (ServeError::Store(_) | ServeError::Keys(_))) => (3, e.to_string()),
            Self::Serve(e @ (ServeError::Bind { .. } | ServeError::Tls(_) | ServeError::Thread(_))) => {
                (1, e.to_string())
            }
            Self::Refused(message) => (1, message),
            Self::Found => return ExitCode::FAILURE,
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
