//! Events that this server signed, and that others sign as well.

use std::sync::Arc;

use ruma::{CanonicalJsonObject, CanonicalJsonValue, RoomId};

use super::draft::Ready;
use crate::server::rooms::{
    append::{canonical, rules},
    parts::Rooms,
    pdu::Pdu,
    receive::{
        Elsewhere,
        check::{Checked, Content, read},
    },
    refusal::Refusal,
};

impl Ready {
    /// The event as if it had been checked: nobody but this server made it.
    pub(in crate::server::rooms) fn checked(&self) -> Result<Checked, Refusal> {
        let object: CanonicalJsonObject =
            serde_json::from_str(&self.json).map_err(|e| Refusal::Internal(e.to_string()))?;
        let depth = match object.get("depth") {
            Some(CanonicalJsonValue::Integer(depth)) => u64::try_from(i64::from(*depth)).unwrap_or(0),
            _ => 0,
        };
        let pdu = Arc::new(Pdu::parse(self.event_id.clone(), &self.json)?);
        Ok(Checked { pdu, json: self.json.clone(), depth, content: Content::AsSigned, unasked: false })
    }
}

impl Rooms {
    /// An event of this server with the signatures that another one added to it: no more of `answer` than these.
    ///
    /// # Errors
    /// [`Refusal::Unreachable`]: it is not signed as it has to be.
    pub(in crate::server::rooms) async fn co_signed<E: Elsewhere>(
        &self,
        elsewhere: &E,
        room: &RoomId,
        ready: &Ready,
        answer: &str,
    ) -> Result<Checked, Refusal> {
        let wrong = |why: &dyn std::fmt::Display| {
            Refusal::Unreachable(format!("the other server did not sign the event: {why}").into())
        };
        let rules = rules(&ready.version)?;
        let mut object: CanonicalJsonObject = serde_json::from_str(&ready.json).map_err(|e| wrong(&e))?;
        let answer: CanonicalJsonObject = serde_json::from_str(answer).map_err(|e| wrong(&e))?;
        let (Some(CanonicalJsonValue::Object(theirs)), Some(CanonicalJsonValue::Object(signatures))) =
            (answer.get("signatures"), object.get_mut("signatures"))
        else {
            return Err(wrong(&"there are no signatures"));
        };
        for (server, signature) in theirs {
            signatures.entry(server.clone()).or_insert_with(|| signature.clone());
        }
        let event = read(&rules, room, &canonical(&object)?).map_err(|e| wrong(&e))?;
        let keys = self.keys(elsewhere, event.needs(&rules)).await;
        event.prove(&rules, &keys).map_err(|e| wrong(&e))
    }
}
