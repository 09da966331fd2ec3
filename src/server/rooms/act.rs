//! Membership: joining, inviting, leaving and the rest, and profiles that change.
//!
//! Client-server API, "Room membership". The rules themselves are the room version's.

use std::sync::Arc;

use ruma::{
    CanonicalJsonValue, OwnedRoomId, OwnedUserId, RoomId, UserId, room_version_rules::AuthorizationRules,
};
use serde::Deserialize;

use super::{
    append::{Author, Draft, append, rules},
    content,
    power::PowerLevels,
    refusal::Refusal,
    send::known_room,
    write::Rooms,
};
use crate::server::{
    event::stored::Membership,
    profile::Profile,
    session::Session,
    store::{MembershipRow, RoomRow, RoomWrite},
};

/// Rooms that one write changes when a user changes something in all of theirs.
const ROOMS_AT_ONCE: usize = 32;

impl Rooms {
    /// Joins a room. Whoever is in it already stays as they are.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for a room that this server does not know, [`Refusal::Forbidden`] by its rules.
    pub async fn join(
        self: &Arc<Self>,
        session: &Session,
        room_id: &RoomId,
        reason: Option<String>,
    ) -> Result<(), Refusal> {
        let (session, room_id) = (session.clone(), room_id.to_owned());
        self.write(move |write, rooms| {
            let room = write
                .room(&room_id)?
                .ok_or_else(|| Refusal::NotFound("this server knows no such room".into()))?;
            let before = write.membership(&room, &session.user)?;
            if before == Some(Membership::Join) {
                return Ok(());
            }
            let mut content = content::member(write, &session.user, Membership::Join, reason.as_deref())?;
            let rules = rules(&room.version)?;
            if before != Some(Membership::Invite)
                && let Some(authoriser) = authoriser(write, &room, &rules.authorization, &session.user)?
            {
                let id = CanonicalJsonValue::String(authoriser.to_string());
                content.insert("join_authorised_via_users_server".to_owned(), id);
            }
            let draft = Draft::state("m.room.member", session.user.as_str(), content);
            append(write, rooms.author(&session), &room, &draft)?;
            Ok(())
        })
        .await
    }

    /// Asks to be let in.
    ///
    /// # Errors
    /// As for [`join`].
    pub async fn knock(
        self: &Arc<Self>,
        session: &Session,
        room_id: &RoomId,
        reason: Option<String>,
    ) -> Result<(), Refusal> {
        let (session, room_id) = (session.clone(), room_id.to_owned());
        self.write(move |write, rooms| {
            let room = write
                .room(&room_id)?
                .ok_or_else(|| Refusal::NotFound("this server knows no such room".into()))?;
            let content = content::member(write, &session.user, Membership::Knock, reason.as_deref())?;
            let draft = Draft::state("m.room.member", session.user.as_str(), content);
            append(write, rooms.author(&session), &room, &draft)?;
            Ok(())
        })
        .await
    }

    /// Leaves a room, declines an invite, or takes a knock back.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for somebody who is neither joined, invited nor knocking.
    pub async fn leave(
        self: &Arc<Self>,
        session: &Session,
        room_id: &RoomId,
        reason: Option<String>,
    ) -> Result<(), Refusal> {
        let target = session.user.clone();
        self.set(session, room_id, target, Membership::Leave, reason, |_| Ok(())).await
    }

    /// Invites a user of this server; answers with the name and picture they go by (M12). `may_begin` says whether
    /// the session's user may begin a chat with them: asked when the user is alone in the room.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]: no such account. [`Refusal::Forbidden`]: by the room's rules, or a user of
    /// another server, which this one cannot reach.
    pub async fn invite(
        self: &Arc<Self>,
        session: &Session,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
        may_begin: impl FnOnce() -> bool + Send,
    ) -> Result<Profile, Refusal> {
        // Somebody who is alone in a room and invites begins a chat.
        if self.members.counts(room_id).0 <= 1 && !may_begin() {
            return Err(Refusal::Forbidden(NO_CHATS.into()));
        }
        let (session, room_id, target) = (session.clone(), room_id.to_owned(), target.to_owned());
        self.write(move |write, rooms| {
            let room = known_room(write, &room_id)?;
            invite_in(write, rooms.author(&session), &room, &target, reason.as_deref(), false)?;
            let mut profile = write.profile(&target)?.unwrap_or_default();
            profile.displayname.get_or_insert_with(|| target.localpart().to_owned());
            Ok(profile)
        })
        .await
    }

    /// Puts somebody out of a room, or takes their invite back.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`]: by the room's rules, or the target is not in the room.
    pub async fn kick(
        self: &Arc<Self>,
        session: &Session,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), Refusal> {
        self.set(session, room_id, target.to_owned(), Membership::Leave, reason, |before| match before {
            Some(Membership::Join | Membership::Invite | Membership::Knock) => Ok(()),
            Some(Membership::Leave | Membership::Ban) | None => {
                Err(Refusal::Forbidden("this user is not in the room".into()))
            }
        })
        .await
    }

    /// Bans somebody from a room.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`]: by the room's rules.
    pub async fn ban(
        self: &Arc<Self>,
        session: &Session,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), Refusal> {
        self.set(session, room_id, target.to_owned(), Membership::Ban, reason, |_| Ok(())).await
    }

    /// Takes a ban back.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`]: by the room's rules, or the target is not banned.
    pub async fn unban(
        self: &Arc<Self>,
        session: &Session,
        room_id: &RoomId,
        target: &UserId,
        reason: Option<String>,
    ) -> Result<(), Refusal> {
        self.set(session, room_id, target.to_owned(), Membership::Leave, reason, |before| match before {
            Some(Membership::Ban) => Ok(()),
            _ => Err(Refusal::Forbidden("this user is not banned".into())),
        })
        .await
    }

    /// Takes a room that the user left off their lists.
    ///
    /// # Errors
    /// [`Refusal::InvalidParam`] while the user is in the room; [`Refusal::NotFound`] when they never were.
    pub async fn forget(self: &Arc<Self>, session: &Session, room_id: &RoomId) -> Result<(), Refusal> {
        if self.store.forget_room(&session.user, room_id).await? {
            return Ok(());
        }
        match self.store.membership(&session.user, room_id).await? {
            Some(_) => Err(Refusal::InvalidParam("leave the room before forgetting it".into())),
            None => Err(Refusal::NotFound("you were never in this room".into())),
        }
    }

    /// Writes the user's changed name and picture into every room they are in (P10).
    ///
    /// A room whose rules refuse the event (which they have no reason to) keeps the old ones.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub async fn handle_profile_change(self: &Arc<Self>, user: &UserId) -> Result<(), Refusal> {
        self.in_rooms(user, self.members.joined_rooms(user), |write, author, room| {
            let user = author.sender;
            let Some(event) = write.state(room, "m.room.member", user.as_str())? else { return Ok(()) };
            let before = content::parse(event.content().get())?;
            let mut content = before.clone();
            for key in ["displayname", "avatar_url", "reason"] {
                content.remove(key);
            }
            content::add_profile(write, user, &mut content)?;
            if content == before || write.membership(room, user)? != Some(Membership::Join) {
                return Ok(());
            }
            append(write, author, room, &Draft::state("m.room.member", user.as_str(), content)).map(|_| ())
        })
        .await
    }

    /// Takes the user out of every room they are in or invited to: their account is about to end.
    ///
    /// # Errors
    /// [`Refusal::Store`] when the store fails.
    pub async fn leave_everything(self: &Arc<Self>, user: &UserId) -> Result<(), Refusal> {
        let present = |row: &MembershipRow| match row.membership {
            Membership::Join | Membership::Invite | Membership::Knock => true,
            Membership::Leave | Membership::Ban => false,
        };
        let rows = self.store.memberships(user).await?.into_iter().filter(present);
        self.in_rooms(user, rows.map(|row| row.room_id).collect(), |write, author, room| {
            let user = author.sender;
            let content = content::member(write, user, Membership::Leave, None)?;
            append(write, author, room, &Draft::state("m.room.member", user.as_str(), content)).map(|_| ())
        })
        .await
    }

    /// Does the same in many rooms, a few at a time, so that others can write in between. A room that
    /// refuses is passed over.
    async fn in_rooms(
        self: &Arc<Self>,
        user: &UserId,
        rooms: Vec<OwnedRoomId>,
        act: fn(&RoomWrite<'_>, Author<'_>, &RoomRow) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        for some in rooms.chunks(ROOMS_AT_ONCE) {
            let (user, some): (OwnedUserId, _) = (user.to_owned(), some.to_vec());
            self.write(move |write, rooms| {
                let author = Author {
                    signer: &rooms.signer,
                    sender: &user,
                    now_ms: rooms.clock.unix_ms(),
                    transaction: None,
                };
                for room_id in some {
                    let Some(room) = write.room(&room_id)? else { continue };
                    match act(write, author, &room) {
                        Ok(()) => {}
                        Err(failed @ (Refusal::Store(_) | Refusal::Internal(_))) => return Err(failed),
                        Err(refused) => tracing::debug!(?refused, "a room is passed over"),
                    }
                }
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}
/// What somebody is told who may not begin a chat: nothing of why.
pub(super) const NO_CHATS: &str = "this user does not take invitations from you at the moment";

/// Invites in the middle of a write.
pub(super) fn invite_in(
    write: &RoomWrite<'_>,
    author: Author<'_>,
    room: &RoomRow,
    target: &UserId,
    reason: Option<&str>,
    is_direct: bool,
) -> Result<(), Refusal> {
    check_invitable(write, author, target)?;
    let mut content = content::member(write, target, Membership::Invite, reason)?;
    if is_direct {
        content.insert("is_direct".to_owned(), CanonicalJsonValue::Bool(true));
    }
    append(write, author, room, &Draft::state("m.room.member", target.as_str(), content))?;
    Ok(())
}

/// Whether this server can reach whoever is invited.
pub(super) fn check_invitable(
    write: &RoomWrite<'_>,
    author: Author<'_>,
    target: &UserId,
) -> Result<(), Refusal> {
    if target.server_name() != author.sender.server_name() {
        return Err(Refusal::Forbidden("users of other servers cannot be reached from here".into()));
    }
    match write.profile(target)? {
        Some(_) => Ok(()),
        None => Err(Refusal::NotFound("there is no such user".into())),
    }
}

impl Rooms {
    async fn set(
        self: &Arc<Self>,
        session: &Session,
        room_id: &RoomId,
        target: OwnedUserId,
        membership: Membership,
        reason: Option<String>,
        allowed: impl FnOnce(Option<Membership>) -> Result<(), Refusal> + Send + 'static,
    ) -> Result<(), Refusal> {
        let (session, room_id): (Session, OwnedRoomId) = (session.clone(), room_id.to_owned());
        self.write(move |write, rooms| {
            let room = known_room(write, &room_id)?;
            let me = write.membership(&room, &session.user)?;
            if me != Some(Membership::Join) && target != session.user {
                return Err(Refusal::Forbidden("you are not in this room".into()));
            }
            allowed(write.membership(&room, &target)?)?;
            let content = content::member(write, &target, membership, reason.as_deref())?;
            let draft = Draft::state("m.room.member", target.as_str(), content);
            append(write, rooms.author(&session), &room, &draft)?;
            Ok(())
        })
        .await
    }
}

/// For a restricted room that lets `user` in because of another room: the member here whose server
/// vouches for it. Restricted rooms: client-server API, "Restricted rooms".
fn authoriser(
    write: &RoomWrite<'_>,
    room: &RoomRow,
    rules: &AuthorizationRules,
    user: &UserId,
) -> Result<Option<OwnedUserId>, Refusal> {
    #[derive(Deserialize)]
    struct JoinRules {
        join_rule: String,
        #[serde(default)]
        allow: Vec<Allow>,
    }
    #[derive(Deserialize)]
    struct Allow {
        room_id: Option<OwnedRoomId>,
    }
    let join_rules = write.state(room, "m.room.join_rules", "")?;
    let Some(JoinRules { join_rule, allow }) = join_rules.as_ref().and_then(|event| event.content_as())
    else {
        return Ok(None);
    };
    if !matches!(join_rule.as_str(), "restricted" | "knock_restricted") {
        return Ok(None);
    }
    let mut admitted = false;
    for other in allow.into_iter().filter_map(|allow| allow.room_id) {
        if let Some(other) = write.room(&other)? {
            admitted |= write.membership(&other, user)? == Some(Membership::Join);
        }
    }
    if !admitted {
        return Ok(None);
    }
    let powers = PowerLevels::current(write, room, rules)?;
    let can_vouch = |member: &OwnedUserId| {
        member.server_name() == user.server_name() && powers.of(member) >= powers.to_invite()
    };
    Ok(write.joined_members(room)?.into_iter().find(can_vouch))
}
