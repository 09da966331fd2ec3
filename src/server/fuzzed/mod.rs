//! What fuzzers call: the parsers of all that comes from the network or from a file, each with what must hold of it.
//!
//! Whole requests to a whole server are two more, with what must hold of every answer.
//!
//! A target takes any bytes. It panics when a parser does, when it lets something through that it must not, and when
//! what was read is not found again in what is written of it. libFuzzer runs them by hand, hours long
//! (`make fuzz`); [`tests`] runs the same functions over mutations of a small corpus, some seconds with every test
//! run. Nothing here is part of a release: it is compiled for tests and for fuzzing only.

mod client;
mod config;
mod devices;
mod edus;
mod events;
mod files;
mod json;
#[cfg(test)]
mod mutate;
mod requests;
mod servers;
mod sliding;
mod talk;
#[cfg(test)]
mod tests;
mod tokens;
mod words;
mod world;

/// One of them.
pub type Target = fn(&[u8]);

/// All of them, by name: that of the folder of its corpus in `tests/fuzz/corpus`.
pub const TARGETS: [(&str, Target); 26] = [
    ("brief_reminder", edus::brief_reminder),
    ("client_answers", client::client_answers),
    ("client_requests", requests::client_requests),
    ("config_file", config::config_file),
    ("config_value", config::config_value),
    ("device_talk", devices::device_talk),
    ("event", events::event),
    ("filter", tokens::filter),
    ("join_answer", servers::join_answer),
    ("json_reader", json::json_reader),
    ("json_writer", json::json_writer),
    ("key_document", servers::key_document),
    ("key_file", files::key_file),
    ("list_edu", edus::list_edu),
    ("multipart", servers::multipart),
    ("presence_edu", edus::presence_edu),
    ("presence_talk", talk::presence_talk),
    ("range", files::range),
    ("registration_file", config::registration_file),
    ("request_head", servers::request_head),
    ("room_edu", edus::room_edu),
    ("server_name", servers::server_name),
    ("server_requests", requests::server_requests),
    ("sliding_request", sliding::sliding_request),
    ("token", tokens::token),
    ("words", words::words),
];

/// The target of this name.
///
/// # Panics
/// When there is none.
pub fn target(name: &str) -> Target {
    TARGETS.iter().find(|(known, _)| *known == name).expect("a target of this name").1
}
