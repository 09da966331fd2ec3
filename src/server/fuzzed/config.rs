//! The configuration: a file, and single values by flag and by environment.

use std::path::Path;

use ruma::{server_name, user_id};

use crate::server::{
    config::{Config, ConfigError, Sources, load, load_text, render},
    registration,
};

/// A registration of an application service is refused with a line and a reason, or its namespaces can be asked.
pub(super) fn registration_file(data: &[u8]) {
    let Ok(file) = str::from_utf8(data) else { return };
    match registration::parse(Path::new("fuzzed.yaml"), file, server_name!("a.example")) {
        Ok(one) => {
            assert_eq!(one.sender.server_name(), "a.example");
            assert!(one.has_user(&one.sender) && !one.has_user(user_id!("@a:b.example")));
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

/// A file is refused with a reason, or what is shown of it is a file that says the same.
pub(super) fn config_file(data: &[u8]) {
    let Ok(file) = str::from_utf8(data) else { return };
    comes_back(read(file));
}

fn read(file: &str) -> Result<Config, ConfigError> {
    load_text(Path::new("fuzzed.toml"), file)
}

fn comes_back(config: Result<Config, ConfigError>) {
    match config {
        Ok(config) => assert_eq!(read(&render(&config)).expect("is understood"), config),
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

/// A key in the first line and a value in the rest: by flag and by environment they say the same.
pub(super) fn config_value(data: &[u8]) {
    let Some((key, value)) = str::from_utf8(data).ok().and_then(|text| text.split_once('\n')) else { return };
    if key.contains('=') {
        // Of a flag the first one ends the key.
        return;
    }
    let flags = load(&Sources { flags: vec![format!("{key}={value}")], ..Sources::default() });
    let variable = format!("PILOTLIGHT_{}", key.to_uppercase().replace('.', "__"));
    let environment =
        load(&Sources { environment: vec![(variable, value.to_owned())], ..Sources::default() });
    match (flags, environment) {
        (Ok(by_flag), Ok(by_environment)) => {
            assert!(by_flag == by_environment, "{key}={value}");
            comes_back(Ok(by_flag));
        }
        (Ok(_), Err(why)) => panic!("{key}={value} in the environment: {why}"),
        // A name is written in one way as a flag, and in any case as a variable.
        (Err(why), _) => assert!(!why.to_string().is_empty()),
    }
}
