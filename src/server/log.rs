//! The log: lines for a person or for a machine, on standard error.
//!
//! Passwords, tokens and messages are never logged; user identifiers at debug level and below only.

use tracing_subscriber::{
    Layer, Registry,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::config::{Log, LogFormat};

/// What a panic said.
pub fn panic_message(payload: &dyn std::any::Any) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("of an unknown kind")
}

/// Sends what this process logs to standard error from here on. Once per process.
pub fn start(settings: Log) {
    // Libraries are heard from warnings on: their lines may contain what ours must not.
    let levels = Targets::new()
        .with_default(LevelFilter::WARN.min(settings.level.into()))
        // This one warns whenever it has to ask for an event, and of whatever somebody says that is not allowed.
        .with_target("ruma_state_res", LevelFilter::ERROR)
        .with_target("pilotlight", settings.level);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match settings.format {
        LogFormat::Human => fmt::layer()
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_target(false)
            .with_writer(std::io::stderr)
            .boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed(),
    };
    if let Err(e) = tracing_subscriber::registry().with(lines.with_filter(levels)).try_init() {
        tracing::warn!(error = %e, "the log was started before");
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic_message(panic.payload());
        let backtrace = std::backtrace::Backtrace::force_capture();
        tracing::error!(place, message, %backtrace, "panic");
    }));
}
