//! The effective configuration as a commented TOML file, which can be read back.

use super::{
    key::{Key, Shown},
    keys,
    settings::Config,
};

/// Writes `config` as TOML: each key with what it does and what it may be.
pub fn render(config: &Config) -> String {
    let mut text = String::from(
        "# The configuration of pilotlight. Every key can be left out.\n\
         # The same keys work as flags, `--set presence.idle_timeout=2m`, and in the environment,\n\
         # `PILOTLIGHT_PRESENCE__IDLE_TIMEOUT=2m`. Flags beat the environment, which beats the file.\n",
    );
    let mut section = "";
    for key in keys::all() {
        let (of, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if of != section {
            text.push_str(&format!("\n[{of}]\n"));
            section = of;
        } else {
            text.push('\n');
        }
        push_key(&mut text, key, name, config);
    }
    text
}

fn push_key(text: &mut String, key: &Key, name: &str, config: &Config) {
    for line in key.help.lines() {
        text.push_str(&format!("# {line}\n"));
    }
    text.push_str(&format!("# Allowed: {}.\n", key.allowed));
    match (key.show)(config) {
        Shown::Text(value) => text.push_str(&format!("{name} = {}\n", toml::Value::String(value))),
        Shown::Bare(value) => text.push_str(&format!("{name} = {value}\n")),
        Shown::List(values) => {
            let values: Vec<_> =
                values.into_iter().map(|value| toml::Value::String(value).to_string()).collect();
            text.push_str(&format!("{name} = [{}]\n", values.join(", ")));
        }
        Shown::Unset => text.push_str(&format!("#{name} =\n")),
    }
}
