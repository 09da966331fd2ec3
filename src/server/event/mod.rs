//! Events: as they are kept, and as clients read them.

pub mod aggregation;
pub mod client;
pub mod fields;
pub mod prefix;
pub mod receipt;
pub mod stored;
