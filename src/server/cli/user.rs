//! `pilotlight user`: accounts, beside a running server or without one.

use std::io::BufRead;
use std::sync::Arc;

use clap::Subcommand;

use super::{
    failure::Failure,
    settings::{Settings, print, runtime},
};
use crate::server::{
    accounts::{
        password::{Passwords, hash as hash_password},
        username::username,
    },
    clock::unix_ms,
    config::Config,
    session::Token,
    store::{Access, CreateUserError, NewUser, Store},
};

#[derive(Subcommand)]
pub(super) enum User {
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

impl User {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Add { name, password_stdin, settings } => {
                settings.load().and_then(|config| add(&config, &name, password_stdin))
            }
        }
    }
}

fn add(config: &Config, name: &str, password_stdin: bool) -> Result<(), Failure> {
    let user = username(name, &config.server_name).map_err(|e| Failure::Refused(e.to_string()))?;
    let password = if password_stdin {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map_err(|e| Failure::Refused(e.to_string()))?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        Token::random().as_str().trim_start_matches(Token::PREFIX).to_owned()
    };
    Passwords::new(config.min_password_length)
        .check(&password)
        .map_err(|e| Failure::Refused(e.to_string()))?;
    let hash = hash_password(&password).map_err(|e| Failure::Refused(e.to_string()))?;
    let store = Store::open(&config.data_dir, &config.server_name, Access::Beside, Arc::default())
        .map_err(|e| Failure::Serve(e.into()))?;
    let new = NewUser { id: user.clone(), password_hash: Some(hash), created_ms: unix_ms(), device: None };
    runtime()?.block_on(async {
        let created = store.create_user(new).await;
        store.close().await;
        created.map_err(|e| {
            Failure::Refused(match e {
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
