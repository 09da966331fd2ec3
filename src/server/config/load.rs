//! From the sources to a configuration: file, environment, flags, each beating the one before.

use std::path::{Path, PathBuf};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    error::{ConfigError, Source},
    keys::{self, LISTS},
    nearest::{nearest, nearest_section},
    settings::{Config, Registration},
    turn,
};

/// What the environment variables of the configuration begin with.
const PREFIX: &str = "PILOTLIGHT_";

/// Variables with the prefix that are not ours: the tests' name for the program to start.
const NOT_OURS: [&str; 1] = ["PILOTLIGHT_BIN"];

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A TOML file, if any.
    pub file: Option<PathBuf>,
    /// The environment; variables without the prefix are passed over.
    pub environment: Vec<(String, String)>,
    /// `key=value`, in the order of the command line.
    pub flags: Vec<String>,
}

/// Reads the sources.
///
/// # Errors
/// [`ConfigError`], with place, key and what is allowed, for the first thing that is not understood.
pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
    let mut loader = Loader::default();
    if let Some(path) = &sources.file {
        let text = std::fs::read_to_string(path).map_err(|e| ConfigError::Unreadable(path.clone(), e))?;
        loader.file(path, &text)?;
    }
    // Sorted, so that of several mistakes the same one is reported each time.
    let mut environment: Vec<_> = sources.environment.iter().collect();
    environment.sort();
    for (name, value) in environment {
        loader.variable(name, value)?;
    }
    for flag in &sources.flags {
        let (key, value) = flag.split_once('=').ok_or_else(|| ConfigError::NotAnAssignment(flag.clone()))?;
        loader.set(Source::Flag, key, value)?;
    }
    let mut config = loader.finish()?;
    turn::read_secret(&mut config.turn)?;
    Ok(config)
}

/// Reads the text of a file called `path`, and nothing else.
#[cfg(any(test, fuzzing))]
pub(in crate::server) fn load_text(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let mut loader = Loader::default();
    loader.file(path, text)?;
    loader.finish()
}

#[derive(Default)]
struct Loader {
    config: Config,
    registration_given: bool,
}

impl Loader {
    fn file(&mut self, path: &Path, text: &str) -> Result<(), ConfigError> {
        let table = DeTable::parse(text).map_err(|e| {
            let offset = e.span().map_or(0, |span| span.start);
            ConfigError::Syntax(Source::in_file(path, text, offset), e.message().to_owned())
        })?;
        self.table(path, text, "", table.get_ref())
    }

    fn table(
        &mut self,
        path: &Path,
        text: &str,
        prefix: &str,
        table: &DeTable<'_>,
    ) -> Result<(), ConfigError> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let source = Source::in_file(path, text, key.span().start);
            let name = format!("{prefix}{}", key.get_ref());
            match value.get_ref() {
                DeValue::Table(inner) if prefix.is_empty() && is_section(&name) => {
                    self.table(path, text, &format!("{name}."), inner)?;
                }
                DeValue::Table(_) if prefix.is_empty() && keys::find(&name).is_none() => {
                    let meant = nearest_section(&name);
                    return Err(ConfigError::UnknownSection { source, section: name, meant });
                }
                _ if LISTS.contains(&name.as_str()) => {
                    self.set(source, &name, &listed(value).unwrap_or(NO_LIST.to_owned()))?;
                }
                _ => self.set(source, &name, &scalar(value).unwrap_or_default())?,
            }
        }
        Ok(())
    }

    fn variable(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        match name.strip_prefix(PREFIX) {
            Some(key) if !NOT_OURS.contains(&name) => {
                let key = key.replace("__", ".").to_lowercase();
                self.set(Source::Environment(name.to_owned()), &key, value)
            }
            _ => Ok(()),
        }
    }

    fn set(&mut self, source: Source, name: &str, value: &str) -> Result<(), ConfigError> {
        let Some(key) = keys::find(name) else {
            let meant = nearest(name);
            if let (None, Some((section, _))) = (meant, name.split_once('.'))
                && !is_section(section)
                && let meant @ Some(_) = nearest_section(section)
            {
                return Err(ConfigError::UnknownSection { source, section: section.to_owned(), meant });
            }
            return Err(ConfigError::UnknownKey { source, key: name.to_owned(), meant });
        };
        self.registration_given |= key.name == "registration";
        (key.set)(&mut self.config, value).ok_or(ConfigError::BadValue {
            source,
            key: key.name,
            allowed: key.allowed,
        })
    }

    fn finish(mut self) -> Result<Config, ConfigError> {
        if !self.registration_given {
            let loopback = self.config.listen.ip().is_loopback();
            self.config.registration = if loopback { Registration::Open } else { Registration::Closed };
        }
        if self.config.registration == Registration::Token && self.config.registration_token.is_none() {
            return Err(ConfigError::Contradiction("registration = \"token\" needs a registration_token"));
        }
        if self.config.presence.short_watchdog > self.config.presence.long_watchdog {
            return Err(ConfigError::Contradiction(
                "presence.short_watchdog must not be longer than presence.long_watchdog",
            ));
        }
        let federation = &self.config.federation;
        let identity = federation.tls_certificate.is_some() && federation.tls_private_key.is_some();
        if federation.listen.is_some() && !identity {
            return Err(ConfigError::Contradiction(
                "federation.listen needs federation.tls_certificate and federation.tls_private_key",
            ));
        }
        if let Some(why) = turn::contradiction(&self.config.turn) {
            return Err(ConfigError::Contradiction(why));
        }
        Ok(self.config)
    }
}

fn is_section(name: &str) -> bool {
    keys::all().any(|key| key.name.split_once('.').is_some_and(|(section, _)| section == name))
}

/// What no key takes for a list.
const NO_LIST: &str = ",";

/// A list as text, with commas; `None` for what is none, or has a part that is no text, is empty, or would fall apart
/// again.
fn listed(value: &Spanned<DeValue<'_>>) -> Option<String> {
    let DeValue::Array(values) = value.get_ref() else { return scalar(value) };
    let is_part = |part: &String| !part.trim().is_empty() && !part.contains(',');
    let parts = values.iter().map(|value| scalar(value).filter(is_part));
    Some(parts.collect::<Option<Vec<_>>>()?.join(","))
}

/// A value as text; `None` for what no key takes.
fn scalar(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests;
