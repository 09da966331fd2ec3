//! `pilotlight check`: every step to another server, one line each.

use clap::Args;
use ruma::{OwnedServerName, ServerName};
use serde_json::json;

use super::{
    failure::Failure,
    settings::{Settings, print, runtime},
};
use crate::server::{
    app::error::ServeError,
    config::Config,
    federation::check::{self, Outcome, Sign, Step},
    keys::Signer,
};

#[derive(Args)]
pub(super) struct Check {
    /// The name of the other server, as in its users' identifiers: example.org, or example.org:8449.
    #[arg(value_parser = |name: &str| ServerName::parse(name).map_err(|e| e.to_string()))]
    server: OwnedServerName,
    /// Also ask what that server tells only to servers. This one must be running for it, and reachable
    /// by its name, because its keys are fetched.
    #[arg(long)]
    signed: bool,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { server, signed, json, settings } = self;
        let config = settings.load()?;
        let check = prepare(&config, signed)?;
        let mut steps = Vec::new();
        let mut printed = Ok(());
        let mut tell = |step: Step| {
            if !json && printed.is_ok() {
                printed = print(&line(&step));
            }
            steps.push(step);
        };
        let can = runtime()?.block_on(check.run(&server, &mut tell));
        printed?;
        if json {
            print(&format!("{}\n", json!({ "server": server, "ok": can, "steps": steps })))?;
        } else {
            let verb = if can { "can" } else { "cannot" };
            print(&format!("{} {verb} speak with {server}\n", config.server_name))?;
        }
        if can { Ok(()) } else { Err(Failure::Found) }
    }
}

fn prepare(config: &Config, signed: bool) -> Result<check::Check, Failure> {
    let (signer, sign) = if signed {
        (super::keys::existing(config)?, Sign::Yes)
    } else {
        (Signer::unkept(&config.server_name), Sign::No)
    };
    check::Check::new(config, signer, sign).map_err(|e| Failure::Serve(ServeError::Tls(e)))
}

fn line(step: &Step) -> String {
    let outcome = match step.outcome {
        Outcome::Ok => "ok",
        Outcome::Note => "-",
        Outcome::Failed => "FAILED",
    };
    format!("{outcome:<7} {:<11} {}\n", step.step, step.text)
}
