//! Which events the user is told of (P13): the rule's facts from events, and its settings from account data,
//! where all devices of the user find them, on any homeserver.

use super::output::{Change, Output, Ticket};
use super::pending::Then;
use super::role::Client;
use crate::core::notify::{Exception, NotifySettings, Sender, Subject};
use crate::core::presence::Choice;
use crate::core::time::Instant;
use crate::core::wire::object::{Object, elements};
use crate::core::wire::path::path;
use crate::core::wire::write;

/// The type of the account data that holds the settings.
pub(super) const NOTIFY_TYPE: &str = "org.pilotlight.notify";

/// How the settings are named on the wire, and in an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `muted_in`.
    Wire,
    /// `mutedIn`.
    Application,
}

impl Naming {
    const fn muted_in(self) -> &'static str {
        match self {
            Self::Wire => "muted_in",
            Self::Application => "mutedIn",
        }
    }
}

impl Client {
    /// Whether to tell the user of an event, given as a timeline's item is.
    pub fn should_notify(&self, item: &Object<'_>) -> bool {
        let sender = item.text("sender").unwrap_or_default();
        let sender = match *sender == *self.user_id {
            true => Sender::Me,
            false => Sender::Other { groups: self.contacts.groups_of(&sender) },
        };
        self.notify.should_notify(self.me.state, subject_of(item, &self.user_id), sender)
    }

    /// What the user set.
    pub fn notify_settings(&self) -> &NotifySettings {
        &self.notify
    }

    /// They are as the server says, or has taken them.
    pub(super) fn handle_notify_settings(&mut self, settings: NotifySettings) {
        if self.notify != settings {
            self.notify = settings.clone();
            self.outputs.push_back(Output::Changed(Change::NotifySettings(settings)));
        }
    }

    /// Sets it, for all devices of the user.
    pub fn set_notify_settings(&mut self, now: Instant, settings: NotifySettings) -> Ticket {
        let path = path("/_matrix/client/v3", &["user", &self.user_id, "account_data", NOTIFY_TYPE]);
        let body = settings_json(&settings, Naming::Wire);
        self.command(now, Then::Notify(settings), "PUT", path, Some(body))
    }
}

/// What an item is about; what was redacted or edits something else is no news.
fn subject_of(item: &Object<'_>, me: &str) -> Subject {
    let content = item.object("content");
    let edits = content.object("m.relates_to").text("rel_type").as_deref() == Some("m.replace");
    if item.flag("redacted") || edits {
        return Subject::Other;
    }
    match item.text("type").as_deref().unwrap_or_default() {
        "m.room.message" if content.text("msgtype").as_deref() == Some("m.notice") => Subject::Other,
        "m.room.message" | "m.room.encrypted" | "m.sticker" => Subject::Message,
        "m.call.invite" => Subject::Call,
        "m.room.member"
            if item.text("stateKey").as_deref() == Some(me)
                && content.text("membership").as_deref() == Some("invite") =>
        {
            Subject::Invitation
        }
        _ => Subject::Other,
    }
}

/// The settings that account data holds. What is not understood there is as if it were not there.
pub(super) fn settings_of(content: &Object<'_>) -> NotifySettings {
    let known = content.strings("muted_in");
    let muted_in = match content.raw("muted_in") {
        Some(_) => known.iter().filter_map(|word| word.parse().ok()).collect(),
        None => NotifySettings::default().muted_in,
    };
    let groups = content.object("groups");
    let groups = groups.fields().filter_map(|(name, word)| Some((name.to_owned(), exception(word)?)));
    NotifySettings { muted_in, groups: groups.collect() }
}

/// The settings that an application gives; `None` unless all of it is understood.
pub fn checked_settings(given: &Object<'_>) -> Option<NotifySettings> {
    let words = elements(given.raw("mutedIn")?);
    let known = given.strings("mutedIn");
    let muted_in = known.iter().map(|word| word.parse().ok()).collect::<Option<Vec<Choice>>>()?;
    let groups = given.object("groups");
    let groups = groups.fields().map(|(name, word)| Some((name.to_owned(), exception(word)?)));
    let groups = groups.collect::<Option<Vec<_>>>()?;
    (muted_in.len() == words.len()).then_some(NotifySettings { muted_in, groups })
}

/// The settings as JSON.
pub fn settings_json(settings: &NotifySettings, naming: Naming) -> String {
    let states = settings.muted_in.iter().map(|state| state.as_str()).collect::<Vec<_>>();
    write::object(|fields| {
        fields.value(naming.muted_in(), &states);
        let groups = write::object(|groups| {
            for (name, exception) in &settings.groups {
                groups.text(
                    name,
                    match exception {
                        Exception::Always => "always",
                        Exception::Never => "never",
                    },
                );
            }
        });
        fields.raw("groups", &groups);
    })
}

fn exception(json: &str) -> Option<Exception> {
    match json {
        r#""always""# => Some(Exception::Always),
        r#""never""# => Some(Exception::Never),
        _ => None,
    }
}
