//! A registration file: YAML, as all application services write it.

use std::path::Path;

use ruma::{OwnedUserId, ServerName, UserId};
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{
    error::RegistrationError,
    namespaces::{Namespace, Namespaces},
    one::Registration,
};
use crate::server::{config::Secret, session::TokenHash};

/// Patterns of one kind, at most.
const MAX_NAMESPACES: usize = 100;

/// Characters of an ID or a token, at most.
const MAX_WORD: usize = 255;

/// What it says. What else is in it is meant for others.
#[derive(Deserialize)]
struct File {
    id: Spanned<String>,
    #[serde(default)]
    url: Option<Spanned<String>>,
    as_token: Spanned<String>,
    hs_token: Spanned<String>,
    sender_localpart: Spanned<String>,
    #[serde(default)]
    rate_limited: Option<bool>,
    #[serde(default)]
    namespaces: Kinds,
    #[serde(default)]
    receive_ephemeral: Option<bool>,
    #[serde(default, rename = "de.sorunome.msc2409.push_ephemeral")]
    push_ephemeral: Option<bool>,
    #[serde(default, rename = "org.matrix.msc2409.push_ephemeral")]
    push_ephemeral_too: Option<bool>,
    #[serde(default)]
    protocols: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
struct Kinds {
    #[serde(default)]
    users: Option<Vec<Pattern>>,
    #[serde(default)]
    aliases: Option<Vec<Pattern>>,
    #[serde(default)]
    rooms: Option<Vec<Pattern>>,
}

#[derive(Deserialize)]
struct Pattern {
    exclusive: bool,
    regex: Spanned<String>,
}

/// What is wrong with what stands in a line.
struct Wrong {
    line: u64,
    what: String,
}

/// Reads the text of the file `path`, for a server of this name.
///
/// # Errors
/// [`RegistrationError::Refused`], with the line.
pub(in crate::server) fn parse(
    path: &Path,
    text: &str,
    server: &ServerName,
) -> Result<Registration, RegistrationError> {
    let refused = |Wrong { line, what }| RegistrationError::Refused { path: path.to_owned(), line, what };
    let file: File = serde_saphyr::from_str(text).map_err(|e| refused(not_read(&e)))?;
    file.check(server).map_err(refused)
}

/// What the parser says, without the lines around it.
fn not_read(e: &serde_saphyr::Error) -> Wrong {
    let line = e.location().map_or(1, |location| location.line());
    let said = e.without_snippet().to_string();
    let what = said.lines().next().unwrap_or_default();
    let what = what.split(" at line ").next().unwrap_or(what);
    Wrong { line, what: what.to_owned() }
}

impl File {
    fn check(self, server: &ServerName) -> Result<Registration, Wrong> {
        let url = self.url.filter(|url| !url.value.is_empty()).map(|url| check_url(&url)).transpose()?;
        let as_token = word("as_token", &self.as_token)?;
        let hs_token = word("hs_token", &self.hs_token)?;
        let sender = sender(&self.sender_localpart, server)?;
        let ephemeral = [self.receive_ephemeral, self.push_ephemeral, self.push_ephemeral_too];
        Ok(Registration {
            id: word("id", &self.id)?.to_owned(),
            url,
            as_token: TokenHash::of(as_token),
            hs_token: Secret::new(hs_token),
            sender,
            is_rate_limited: self.rate_limited.unwrap_or(true),
            users: namespaces(self.namespaces.users)?,
            aliases: namespaces(self.namespaces.aliases)?,
            rooms: namespaces(self.namespaces.rooms)?,
            receives_ephemeral: ephemeral.contains(&Some(true)),
            protocols: self.protocols.unwrap_or_default(),
        })
    }
}

fn wrong(value: &Spanned<String>, what: impl Into<String>) -> Wrong {
    Wrong { line: value.referenced.line(), what: what.into() }
}

/// Something that goes into a path or a header.
fn word<'a>(key: &str, value: &'a Spanned<String>) -> Result<&'a str, Wrong> {
    let is_word = |c: char| c.is_ascii_graphic() || c == ' ';
    let text = value.value.as_str();
    if text.is_empty() || text.len() > MAX_WORD || !text.chars().all(is_word) || text.trim() != text {
        return Err(wrong(value, format!("{key} must have 1 to {MAX_WORD} characters of ASCII")));
    }
    Ok(text)
}

fn check_url(url: &Spanned<String>) -> Result<String, Wrong> {
    let text = url.value.trim_end_matches('/');
    let parsed = text.parse::<http::Uri>().ok();
    let is_one = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.query().is_none()
    });
    if is_one {
        Ok(text.to_owned())
    } else {
        Err(wrong(
            url,
            "url must be null, or begin with http:// or https:// and a host, without a name and password",
        ))
    }
}

fn sender(localpart: &Spanned<String>, server: &ServerName) -> Result<OwnedUserId, Wrong> {
    let not_one = || wrong(localpart, "sender_localpart must be the name of a user, without @ and server");
    let name = localpart.value.as_str();
    if name.is_empty() || name.contains([':', '@']) {
        return Err(not_one());
    }
    let user = UserId::parse(format!("@{name}:{server}")).map_err(|_| not_one())?;
    user.validate_strict().map_err(|_| not_one())?;
    Ok(user)
}

fn namespaces(patterns: Option<Vec<Pattern>>) -> Result<Namespaces, Wrong> {
    let patterns = patterns.unwrap_or_default();
    if let Some(beyond) = patterns.get(MAX_NAMESPACES) {
        return Err(wrong(&beyond.regex, format!("at most {MAX_NAMESPACES} namespaces of a kind")));
    }
    let one = |Pattern { exclusive, regex }: Pattern| {
        Namespace::new(&regex.value, exclusive).map_err(|why| wrong(&regex, format!("regex: {why}")))
    };
    patterns.into_iter().map(one).collect::<Result<_, _>>().map(Namespaces)
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;

    const IRC: &str = r##"id: "IRC Bridge"
url: "http://127.0.0.1:1234/"
as_token: "30c05ae90a248a4188e620216fa72e349803310ec83e2a77b34fe90be6081f46"
hs_token: "312df522183efd404ec1cd22d2ffa4bbc76a8c1ccf541dd692eef281356bb74e"
sender_localpart: "_irc_bot" # Will result in @_irc_bot:example.org
namespaces:
  users:
    - exclusive: true
      regex: "@_irc_bridge_.*"
  aliases:
    - exclusive: false
      regex: "#_irc_bridge_.*"
  rooms: []
"##;

    fn read(text: &str) -> Result<Registration, String> {
        parse(Path::new("irc.yaml"), text, server_name!("example.org")).map_err(|e| e.to_string())
    }

    #[test]
    fn the_specifications_example_is_read() {
        let irc = read(IRC).expect("is a registration");
        assert_eq!((irc.id.as_str(), irc.url.as_deref()), ("IRC Bridge", Some("http://127.0.0.1:1234")));
        assert_eq!(irc.sender, "@_irc_bot:example.org");
        assert!(irc.users.have_exclusively("@_irc_bridge_a:example.org"));
        assert!(irc.aliases.have("#_irc_bridge_a:example.org"));
        assert!(!irc.aliases.have_exclusively("#_irc_bridge_a:example.org"));
        assert!(irc.rooms.is_empty() && irc.is_rate_limited && !irc.receives_ephemeral);
        assert!(!format!("{irc:?}").contains("30c05"), "tokens do not show");
    }

    #[test]
    fn what_real_bridges_write_is_read() {
        let with = |more: &str| read(&format!("{IRC}{more}\n")).expect(more);
        assert!(with("receive_ephemeral: true").receives_ephemeral);
        assert!(with("de.sorunome.msc2409.push_ephemeral: true").receives_ephemeral);
        assert!(with("org.matrix.msc2409.push_ephemeral: true").receives_ephemeral);
        assert!(!with("rate_limited: false").is_rate_limited);
        assert_eq!(with("protocols: [irc]\norg.matrix.msc3202: true").protocols, ["irc"]);
        let bare =
            "id: x\nurl: null\nas_token: a\nhs_token: b\nsender_localpart: bot\nnamespaces:\n  users:\n";
        assert_eq!(read(bare).expect("is one").url, None);
        assert_eq!(read(&bare.replace("null", "\"\"")).expect("is one").url, None);
    }

    #[test]
    fn what_is_no_registration_is_refused_with_its_line_and_what_is_wrong() {
        for (from, to, says) in [
            ("id: \"IRC Bridge\"\n", "", "id"),
            ("\"IRC Bridge\"", "\"\"", "irc.yaml:1: id must have 1 to 255 characters of ASCII"),
            ("http://127.0.0.1:1234/", "irc.example.org", "irc.yaml:2: url must be null, or begin with http"),
            ("http://127.0.0.1:1234/", "ftp://x", "irc.yaml:2: url must be null, or begin with http"),
            ("http://127.0.0.1:1234/", "http://u:p@x", "irc.yaml:2: url must be null, or begin with http"),
            ("\"30c05", "\"30 \\u00e9 c05", "irc.yaml:3: as_token must have 1 to 255 characters of ASCII"),
            (
                "\"_irc_bot\"",
                "\"@bot:example.org\"",
                "irc.yaml:5: sender_localpart must be the name of a user",
            ),
            ("\"_irc_bot\"", "\"Bot\"", "irc.yaml:5: sender_localpart must be the name of a user"),
            ("exclusive: true", "exclusive: maybe", "irc.yaml:8: "),
            ("    - exclusive: true\n      regex", "    - regex", "exclusive"),
            ("\"@_irc_bridge_.*\"", "\"@(\"", "irc.yaml:9: regex: unclosed group"),
            ("  rooms: []", "  rooms: 7", "irc.yaml:13: "),
            ("namespaces:", "namespaces: [", "irc.yaml:"),
        ] {
            assert!(IRC.contains(from), "{from}");
            let error = read(&IRC.replace(from, to)).expect_err(to);
            assert!(error.contains(says), "{to}: {error}");
        }
        for nothing in ["", "7", "- a\n- b\n", "{}"] {
            assert!(read(nothing).is_err(), "{nothing}");
        }
    }
}
