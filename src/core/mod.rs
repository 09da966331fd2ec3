//! The rules and state machines of presence, streams and actions: pure, driven by the shells.
