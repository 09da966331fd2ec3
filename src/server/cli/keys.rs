//! `pilotlight keys`: the keys with which this server signs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use clap::Subcommand;

use super::{
    failure::Failure,
    settings::{Settings, print, runtime},
};
use crate::server::{
    clock::unix_ms,
    config::Config,
    keys::Signer,
    store::{Access, OpenError, Store, has_database},
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
    /// Make a signing key in place of one that is lost for good. The server must not be running.
    ///
    /// A server does not start without the key that it has signed with. Rather than to make another, restore the
    /// file signing.key from a backup: other servers cannot verify any more what the lost one has signed, unless
    /// they fetched it before.
    New(Settings),
    /// Sign with a key that was made elsewhere, from the first start on. The server must not be running.
    ///
    /// The file is one line, `ed25519 VERSION SEED`, as other homeservers have it. A folder without data gets its database
    /// with it. A key that is in use is not replaced.
    Use {
        /// The file of the key, outside the data folder; it is copied.
        file: PathBuf,
        #[command(flatten)]
        settings: Settings,
    },
}

impl Keys {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Self::Show(settings) => settings.load().and_then(|config| show(&existing(&config)?)),
            Self::Rotate(settings) => settings.load().and_then(|config| rotate(&config)),
            Self::New(settings) => settings.load().and_then(|config| replace_lost(&config)),
            Self::Use { file, settings } => settings.load().and_then(|config| install(&config, &file)),
        }
    }
}

pub(super) fn existing(config: &Config) -> Result<Signer, Failure> {
    let signer = Signer::existing(&config.data_dir, &config.server_name);
    signer.map_err(|e| Failure::Serve(e.into()))?.ok_or_else(|| {
        let folder = config.data_dir.display();
        let more = if has_database(&config.data_dir) {
            "; one that is lost is put back from a backup or, if it is lost for good, replaced by `pilotlight keys new`"
        } else {
            ""
        };
        Failure::Refused(format!("there is no signing key in {folder}: it is made at the first start{more}"))
    })
}

fn show(signer: &Signer) -> Result<(), Failure> {
    let mut text = format!("{} {} signs\n", signer.key_id(), signer.public_key().encode());
    for key in signer.retired().iter().rev() {
        text.push_str(&format!("{} signed until {}\n", key.id(), date(key.expired_ms())));
    }
    print(&text)
}

/// A time (Unix) as people write it.
fn date(unix_ms: u64) -> String {
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms));
    // The year 9999 is the last that can be written.
    match at {
        Some(at) if unix_ms / 1000 < 253_402_300_800 => httpdate::fmt_http_date(at),
        Some(_) | None => format!("{unix_ms} (Unix, in ms)"),
    }
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

fn install(config: &Config, file: &Path) -> Result<(), Failure> {
    // Nothing is made when it is no key.
    let line = Signer::given(file).map_err(|e| Failure::Serve(e.into()))?;
    // Held until the end: no server starts meanwhile, and makes another.
    let store = Store::open(&config.data_dir, &config.server_name, Access::Sole, Arc::default())
        .map_err(|e| Failure::Serve(e.into()))?;
    let installed = Signer::install(&config.data_dir, &config.server_name, &line);
    runtime()?.block_on(store.close());
    match installed.map_err(|e| Failure::Serve(e.into()))? {
        Some(signer) => show(&signer),
        None => Err(Failure::Refused(is_there(config))),
    }
}

fn is_there(config: &Config) -> String {
    let folder = config.data_dir.display();
    format!("there is a signing key in {folder}: `pilotlight keys rotate` replaces it")
}

fn replace_lost(config: &Config) -> Result<(), Failure> {
    let folder = config.data_dir.display();
    if !has_database(&config.data_dir) {
        let why = format!("there is no server's data in {folder}: its key is made at the first start");
        return Err(Failure::Refused(why));
    }
    // Held until the end: no server starts meanwhile.
    let store = Store::open(&config.data_dir, &config.server_name, Access::Sole, Arc::default())
        .map_err(|e| Failure::Serve(e.into()))?;
    let new = Signer::existing(&config.data_dir, &config.server_name).and_then(|found| match found {
        Some(_) => Ok(None),
        None => Signer::open(&config.data_dir, &config.server_name).map(Some),
    });
    runtime()?.block_on(store.close());
    match new.map_err(|e| Failure::Serve(e.into()))? {
        Some(signer) => show(&signer),
        None => Err(Failure::Refused(is_there(config))),
    }
}
