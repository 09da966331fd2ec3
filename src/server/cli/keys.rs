//! `pilotlight keys`: the keys with which this server signs.

use clap::Subcommand;
use std::sync::Arc;

use super::{
    failure::Failure,
    settings::{Settings, print, runtime},
};
use crate::server::{
    clock::unix_ms,
    config::Config,
    keys::Signer,
    store::{Access, OpenError, Store},
};

#[derive(Subcommand)]
pub(super) enum Keys {
    /// Print the ID and the public half of the key in use, and those of former times.
    Show(Settings),
    /// Replace the signing key. The server must not be running.
    ///
    /// The former key signs nothing from here on. It stays published, so that others can verify what it
    /// signed. Other servers fetch the new one when they first meet it, which can take them a minute.
    Rotate(Settings),
}

impl Keys {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Show(settings) => settings.load().and_then(|config| show(&existing(&config)?)),
            Self::Rotate(settings) => settings.load().and_then(|config| rotate(&config)),
        }
    }
}

pub(super) fn existing(config: &Config) -> Result<Signer, Failure> {
    let signer = Signer::existing(&config.data_dir, &config.server_name);
    signer.map_err(|e| Failure::Serve(e.into()))?.ok_or_else(|| {
        let folder = config.data_dir.display();
        Failure::Refused(format!("there is no signing key in {folder}: it is made at the first start"))
    })
}

fn show(signer: &Signer) -> Result<(), Failure> {
    let mut text = format!("{} {} signs\n", signer.key_id(), signer.public_key().encode());
    for key in signer.retired().iter().rev() {
        text.push_str(&format!("{} signed until {} (Unix, in ms)\n", key.id(), key.expired_ms()));
    }
    print(&text)
}

fn rotate(config: &Config) -> Result<(), Failure> {
    let failed = |e: OpenError| Failure::Serve(e.into());
    // Nothing is made where there is no server's data.
    existing(config)?;
    // Held until the end: no server signs with the former key meanwhile.
    let store =
        Store::open(&config.data_dir, &config.server_name, Access::Sole, Arc::default()).map_err(failed)?;
    let new = existing(config)
        .and_then(|former| former.rotate(&config.data_dir, unix_ms()).map_err(|e| Failure::Serve(e.into())));
    runtime()?.block_on(store.close());
    show(&new?)
}
