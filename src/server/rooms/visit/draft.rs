//! A member event that another server drew for a user of this one, made ours: signed, and of the template no more than
//! nobody but that server knows.

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, RoomId, RoomVersionId, UserId,
    room_version_rules::RoomVersionRules,
};

use crate::server::rooms::{
    append::{Built, rules},
    bounds::VERSIONS,
    content::{self, AUTHORISED_BY},
    entrance::Entrance,
    join::said_of_a_join,
    parts::Rooms,
    refusal::Refusal,
};

/// What only the server that drew the event knows.
const DRAWN: [&str; 3] = ["auth_events", "depth", "prev_events"];

/// A signed member event of a user of this server, for another to take.
#[derive(Debug)]
pub struct Ready {
    /// The version of its room.
    pub version: RoomVersionId,
    /// Its ID.
    pub event_id: OwnedEventId,
    /// The event, canonical JSON.
    pub json: String,
}

/// What a client says of a join, without what is not for it to say.
///
/// # Errors
/// [`Refusal::BadJson`].
pub fn own_words(own: &str) -> Result<CanonicalJsonObject, Refusal> {
    said_of_a_join(content::parse(own)?)
}

impl Rooms {
    /// Signs what another server drew for `user`, with `own` in the content.
    ///
    /// # Errors
    /// [`Refusal::UnsupportedVersion`]; [`Refusal::Unreachable`]: what it drew is no such event.
    pub async fn ready(
        &self,
        (room, user): (&RoomId, &UserId),
        entrance: Entrance,
        (version, drawn): (Option<RoomVersionId>, &str),
        own: CanonicalJsonObject,
    ) -> Result<Ready, Refusal> {
        let version =
            version.filter(|version| VERSIONS.contains(version)).ok_or(Refusal::UnsupportedVersion)?;
        let rules = rules(&version)?;
        let text = |text: &str| CanonicalJsonValue::String(text.to_owned());
        let drawn: CanonicalJsonObject = serde_json::from_str(drawn).map_err(|e| misdrawn(&e))?;
        let mut content = own;
        content.insert("membership".to_owned(), text(entrance.membership().as_str()));
        if entrance != Entrance::Leave {
            self.add_stored_profile(user, &mut content).await?;
        }
        content.remove(AUTHORISED_BY);
        if let Some(authoriser) = authoriser(&rules, entrance, &drawn) {
            content.insert(AUTHORISED_BY.to_owned(), text(authoriser));
        }
        let now = ruma::Int::try_from(self.clock.unix_ms()).unwrap_or(ruma::Int::MAX);
        let mut object = CanonicalJsonObject::from_iter([
            ("content".to_owned(), content.into()),
            ("origin_server_ts".to_owned(), CanonicalJsonValue::Integer(now)),
            ("room_id".to_owned(), text(room.as_str())),
            ("sender".to_owned(), text(user.as_str())),
            ("state_key".to_owned(), text(user.as_str())),
            ("type".to_owned(), text("m.room.member")),
        ]);
        object.extend(drawn.into_iter().filter(|(key, _)| DRAWN.contains(&key.as_str())));
        let built = Built::new(&self.signer, &rules, object).map_err(|refusal| match refusal {
            Refusal::BadJson(why) => misdrawn(&why),
            other => other,
        })?;
        Ok(Ready { version, event_id: built.event_id, json: built.json })
    }

    /// Puts name and picture of a user of this server into the content of a member event that does not say them.
    async fn add_stored_profile(
        &self,
        user: &UserId,
        content: &mut CanonicalJsonObject,
    ) -> Result<(), Refusal> {
        let profile = self.store.profile(user).await?.unwrap_or_default();
        let name = profile.displayname.unwrap_or_else(|| user.localpart().to_owned());
        for (key, value) in [("displayname", Some(name)), ("avatar_url", profile.avatar_url)] {
            if let Some(value) = value {
                content.entry(key.to_owned()).or_insert(CanonicalJsonValue::String(value));
            }
        }
        Ok(())
    }
}

/// Who lets the user into a restricted room, by the template.
fn authoriser<'a>(
    rules: &RoomVersionRules,
    entrance: Entrance,
    drawn: &'a CanonicalJsonObject,
) -> Option<&'a str> {
    let content = drawn.get("content").and_then(CanonicalJsonValue::as_object);
    let named = content.and_then(|content| content.get(AUTHORISED_BY)?.as_str());
    named.filter(|_| entrance == Entrance::Join && rules.authorization.restricted_join_rule)
}

fn misdrawn(why: &dyn std::fmt::Display) -> Refusal {
    Refusal::Unreachable(format!("the room's server answered with what is no event: {why}").into())
}
