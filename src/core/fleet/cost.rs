//! What messages cost on the wire, and what other designs would have sent.
//!
//! The constants were measured on loopback with TLS: between two of these servers (`make bench`), two
//! Synapse 1.163 and two Prosody 0.12.

/// Messages, and the bytes they took on the wire in both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Transactions or stanzas.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A transaction of ours around the content of its EDU: TLS, HTTP, signature, frame, answer.
const TRANSACTION: u64 = 600;

/// A reminder in the brief form, which is no transaction.
const REMINDER: u64 = 400;

/// One change in one transaction of Synapse's.
const SYNAPSE_CHANGE: u64 = 1_141;

/// One stanza of Prosody's between servers.
const STANZA: u64 = 163;

impl Cost {
    /// Counts a reminder of ours in the brief form.
    pub(super) const fn add_reminder(&mut self) {
        self.messages += 1;
        self.bytes += REMINDER;
    }

    /// Counts a message of ours that has `content` bytes inside its EDU.
    pub(super) const fn add_edu(&mut self, content: usize) {
        self.messages += 1;
        self.bytes += TRANSACTION + content as u64;
    }
}

/// What a change costs a server that tells each other server at once, as Synapse does.
pub const fn one_per_change(servers: u64) -> Cost {
    Cost { messages: servers, bytes: servers * SYNAPSE_CHANGE }
}

/// What something costs a server that sends each contact a stanza, as XMPP does.
pub const fn one_per_contact(contacts: u64) -> Cost {
    Cost { messages: contacts, bytes: contacts * STANZA }
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}
