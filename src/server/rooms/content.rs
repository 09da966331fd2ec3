//! Contents: what clients send becomes canonical JSON, and what member events of our users carry.

use ruma::{CanonicalJsonObject, CanonicalJsonValue, RoomAliasId, UserId};

use super::{bounds::MAX_ID_BYTES, proposal::Proposal, refusal::Refusal};
use crate::server::event::stored::Membership;

/// Parses a client's event content.
///
/// # Errors
/// [`Refusal::BadJson`]: not an object, or with numbers that canonical JSON does not have (fractions,
/// exponents, beyond ±(2^53 - 1)).
pub(in crate::server) fn parse(json: &str) -> Result<CanonicalJsonObject, Refusal> {
    match serde_json::from_str(json) {
        Ok(CanonicalJsonValue::Object(object)) => Ok(object),
        Ok(_) => Err(Refusal::BadJson("the content must be an object".into())),
        Err(e) => Err(Refusal::BadJson(format!("the content is not canonical JSON: {e}").into())),
    }
}

/// Refuses identifiers, types and keys that no event can carry.
pub(super) fn check_length(what: &'static str, value: &str) -> Result<(), Refusal> {
    if value.len() > MAX_ID_BYTES {
        return Err(Refusal::TooLarge(format!("{what} has more than {MAX_ID_BYTES} bytes").into()));
    }
    Ok(())
}

/// Refuses aliases that nobody could type or tell apart: with nothing before the colon, with spaces or control
/// characters.
pub(super) fn check_alias(alias: &RoomAliasId) -> Result<(), Refusal> {
    check_length("the alias", alias.as_str())?;
    let local = alias.alias();
    if local.is_empty() || local.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Refusal::InvalidParam("this cannot be the local part of an alias".into()));
    }
    Ok(())
}

/// The content of a member event of `user`; users of this server get their name and picture in (P10).
pub(super) async fn member(
    proposal: &mut Proposal<'_>,
    user: &UserId,
    membership: Membership,
    reason: Option<&str>,
) -> Result<CanonicalJsonObject, Refusal> {
    let mut content = CanonicalJsonObject::from_iter([(
        "membership".to_owned(),
        CanonicalJsonValue::String(membership.as_str().to_owned()),
    )]);
    if let Some(reason) = reason {
        content.insert("reason".to_owned(), CanonicalJsonValue::String(reason.to_owned()));
    }
    add_profile(proposal, user, &mut content).await?;
    Ok(content)
}

/// What only the join says by which somebody came in because of another room: it is that server's word, and signed by it.
pub(super) const AUTHORISED_BY: &str = "join_authorised_via_users_server";

/// Puts name and picture of a user of this server into a member event that does not say them. A user
/// without a chosen name goes by the local part of their ID.
pub(super) async fn add_profile(
    proposal: &mut Proposal<'_>,
    user: &UserId,
    content: &mut CanonicalJsonObject,
) -> Result<(), Refusal> {
    let Some(profile) = proposal.profile(user).await? else { return Ok(()) };
    let name = profile.displayname.unwrap_or_else(|| user.localpart().to_owned());
    content.entry("displayname".to_owned()).or_insert(CanonicalJsonValue::String(name));
    if let Some(avatar) = profile.avatar_url {
        content.entry("avatar_url".to_owned()).or_insert(CanonicalJsonValue::String(avatar));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_of_canonical_json_are_contents() {
        for good in ["{}", r#"{"a":9007199254740991,"b":[null,true,-1],"c":{"d":"é"}}"#] {
            assert!(parse(good).is_ok(), "{good}");
        }
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
        for bad in [
            "",
            "[]",
            "null",
            "\"text\"",
            "{",
            "{}{}",
            r#"{"a":1.5}"#,
            r#"{"a":1e3}"#,
            r#"{"a":9007199254740992}"#,
            r#"{"a":-9007199254740992}"#,
            r#"{"a":"\ud800"}"#,
            &deep,
        ] {
            assert!(matches!(parse(bad), Err(Refusal::BadJson(_))), "{bad}");
        }
    }
}
