//! The homeserver: configuration, HTTP, client API, rooms and store; drives the core.
