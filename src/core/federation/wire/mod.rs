//! The JSON of presence between servers: Matrix's `m.presence` EDU, with what Matrix has no word for
//! beside it under `org.pilotlight`. `docs/FEDERATION.md` describes it.
//!
//! Two forms: Matrix's own for peers that have not announced to know better, and a short one; and for
//! nothing but a reminder a brief one, which is no JSON.

mod brief;
mod decode;
mod encode;
mod length;
mod numbers;

pub use brief::{decode_brief, encode_brief};
pub use decode::{BadEdu, decode};
pub use encode::encode;
pub use length::{NameLengths, encoded_len, text as text_len};

#[cfg(test)]
mod tests;
