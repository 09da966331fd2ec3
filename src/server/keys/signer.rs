//! The key in use, and signing with it.

use std::{collections::BTreeMap, fmt, io::ErrorKind, path::Path};

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, Int, OwnedServerName, ServerName,
    api::federation::authentication::{XMatrix, XMatrixFromRequestError, XMatrixSigningInput},
    room_version_rules::RedactionRules,
    serde::{Base64, base64::Standard},
    signatures::{Ed25519KeyPair, JsonError, hash_and_sign_event, sign_event, sign_json},
};

use super::{
    error::KeyFileError,
    event_keys::{EventKey, EventKeys},
    retired::{self, Retired},
    version::is_version,
};
use crate::{core::time::UnixMillis, server::private_file};

/// A PKCS#8 document of an ed25519 key up to where the seed of 32 bytes begins (RFC 8410).
const PKCS8_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// What is wrong with a file that is no key.
const NO_KEY: &str = "is not `ed25519 VERSION SEED`";

/// The file of the key in use, in the data folder.
const FILE: &str = "signing.key";

/// Signs events and requests in the name of this server.
pub struct Signer {
    server_name: OwnedServerName,
    key: Ed25519KeyPair,
    retired: Vec<Retired>,
}

impl Signer {
    /// Reads the key in `data_dir`, or makes it when there is none.
    ///
    /// # Errors
    /// [`KeyFileError`]: a file cannot be read or made, or is not what it should be.
    pub fn open(data_dir: &Path, server_name: &ServerName) -> Result<Self, KeyFileError> {
        match Self::existing(data_dir, server_name)? {
            Some(signer) => Ok(signer),
            None => Self::make(data_dir, server_name),
        }
    }

    /// Reads the key in `data_dir`; `None` when there is none.
    ///
    /// # Errors
    /// Like [`Self::open`].
    pub fn existing(data_dir: &Path, server_name: &ServerName) -> Result<Option<Self>, KeyFileError> {
        let path = data_dir.join(FILE);
        let failed = |e: &dyn fmt::Display| KeyFileError(path.clone(), e.to_string());
        let line = match std::fs::read_to_string(&path) {
            Ok(line) => line,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(&e)),
        };
        let key = parse(&line).ok_or_else(|| failed(&NO_KEY))?;
        let mut signer = Self { server_name: server_name.to_owned(), key, retired: retired::read(data_dir)? };
        // A rotation that was cut short has retired the key, and not replaced it.
        let id = signer.key_id();
        signer.retired.retain(|key| key.id() != id);
        Ok(Some(signer))
    }

    /// A key that is kept nowhere, for requests that need no known one.
    pub fn unkept(server_name: &ServerName) -> Self {
        let key = parse(&new_line()).expect("a line just made is one");
        Self { server_name: server_name.to_owned(), key, retired: Vec::new() }
    }

    /// Replaces the key in `data_dir`. The former one is published from here on as one that signed until
    /// `now_ms` (Unix). No server may run on `data_dir`: it would sign on with the former one.
    ///
    /// # Errors
    /// Like [`Self::open`]; the former key is in use then.
    pub fn rotate(self, data_dir: &Path, now_ms: u64) -> Result<Self, KeyFileError> {
        let mut retired = self.retired;
        retired.push(Retired::new(self.key.version(), self.key.public_key(), now_ms));
        retired::write(data_dir, &retired)?;
        let new = Self::make(data_dir, &self.server_name)?;
        Ok(Self { retired, ..new })
    }

    /// The line of a key that was made elsewhere, in the file `given`.
    ///
    /// # Errors
    /// [`KeyFileError`]: it cannot be read, or is no key.
    pub fn given(given: &Path) -> Result<String, KeyFileError> {
        let failed = |why: String| KeyFileError(given.to_owned(), why);
        let line = std::fs::read_to_string(given).map_err(|e| failed(e.to_string()))?;
        if parse(&line).is_some() { Ok(line) } else { Err(failed(NO_KEY.to_owned())) }
    }

    /// Puts a [`given`](Self::given) key into `data_dir`; `None`: there is one already.
    ///
    /// # Errors
    /// Like [`Self::open`].
    pub fn install(
        data_dir: &Path,
        server_name: &ServerName,
        line: &str,
    ) -> Result<Option<Self>, KeyFileError> {
        let path = data_dir.join(FILE);
        if path.exists() {
            return Ok(None);
        }
        private_file::write(&path, line).map_err(|e| KeyFileError(path, e.to_string()))?;
        Self::existing(data_dir, server_name)
    }

    /// Copies the keys in `data_dir` into the folder `to`; answers whether there is one to sign with.
    ///
    /// # Errors
    /// [`KeyFileError`] names the file that cannot be read or written.
    pub fn copy(data_dir: &Path, to: &Path) -> Result<bool, KeyFileError> {
        let mut found = false;
        for name in [FILE, retired::FILE] {
            let (from, to) = (data_dir.join(name), to.join(name));
            match std::fs::read_to_string(&from) {
                Ok(text) => {
                    private_file::write(&to, &text).map_err(|e| KeyFileError(to, e.to_string()))?;
                    found |= name == FILE;
                }
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(KeyFileError(from, e.to_string())),
            }
        }
        Ok(found)
    }

    /// Why the server in `data_dir` does not start when the key with which it has signed is not there. Another in its
    /// place is for the operator to decide: others cannot verify with it what the lost one signed.
    pub fn lost(data_dir: &Path) -> KeyFileError {
        let why = "it is gone, and this server has signed with it: put it back from a backup, with \
                   signing.key.retired if there is one; or, if it is lost for good, `pilotlight keys new` makes another";
        KeyFileError(data_dir.join(FILE), why.to_owned())
    }

    /// Makes a key; it is on the disk, whole, before anything is signed with it.
    fn make(data_dir: &Path, server_name: &ServerName) -> Result<Self, KeyFileError> {
        let (path, line) = (data_dir.join(FILE), new_line());
        private_file::write(&path, &line).map_err(|e| KeyFileError(path.clone(), e.to_string()))?;
        let key = parse(&line).expect("a line just made is one");
        Ok(Self { server_name: server_name.to_owned(), key, retired: Vec::new() })
    }

    /// Adds the content hash and this server's signature to an event.
    ///
    /// # Errors
    /// When it is larger than an event may be, or has keys of the wrong type.
    pub fn hash_and_sign(
        &self,
        event: &mut CanonicalJsonObject,
        rules: &RedactionRules,
    ) -> Result<(), JsonError> {
        hash_and_sign_event(self.server_name.as_str(), &self.key, event, rules)
    }

    /// Adds this server's signature to an event of another one.
    ///
    /// # Errors
    /// When it has keys of the wrong type.
    pub fn sign_event(
        &self,
        event: &mut CanonicalJsonObject,
        rules: &RedactionRules,
    ) -> Result<(), JsonError> {
        sign_event(self.server_name.as_str(), &self.key, event, rules)
    }

    /// Signs a request to `destination`.
    ///
    /// # Errors
    /// When the body is not canonical JSON.
    pub fn sign_request<T: AsRef<[u8]>>(
        &self,
        request: &http::Request<T>,
        destination: &ServerName,
    ) -> Result<XMatrix, XMatrixFromRequestError> {
        let input = XMatrixSigningInput::new(self.server_name.clone(), destination.to_owned(), &self.key);
        XMatrix::sign_http_request(request, input)
    }

    /// What others verify with: this server's keys, signed with themselves, for `valid_until_ms` (Unix).
    ///
    /// # Errors
    /// Never for a document of this shape; ruma's signature function can fail in general.
    pub fn key_document(&self, valid_until_ms: u64) -> Result<CanonicalJsonObject, JsonError> {
        let mut document = CanonicalJsonObject::from([
            ("server_name".to_owned(), self.server_name.as_str().into()),
            (
                "verify_keys".to_owned(),
                CanonicalJsonValue::Object(BTreeMap::from([(
                    self.key_id(),
                    CanonicalJsonValue::Object(BTreeMap::from([(
                        "key".to_owned(),
                        self.public_key().encode().into(),
                    )])),
                )])),
            ),
            (
                "old_verify_keys".to_owned(),
                CanonicalJsonValue::Object(
                    self.retired.iter().map(|key| (key.id(), key.published())).collect(),
                ),
            ),
            (
                "valid_until_ts".to_owned(),
                CanonicalJsonValue::Integer(Int::try_from(valid_until_ms).unwrap_or(Int::MAX)),
            ),
        ]);
        sign_json(self.server_name.as_str(), &self.key, &mut document)?;
        Ok(document)
    }

    /// Adds this server's signature to what is not an event.
    ///
    /// # Errors
    /// When it is not as canonical JSON has it, or its signatures are none.
    pub fn sign(&self, object: &mut CanonicalJsonObject) -> Result<(), JsonError> {
        sign_json(self.server_name.as_str(), &self.key, object)
    }

    /// The keys that this server's events are signed with: its key, and those before it.
    pub fn event_keys(&self) -> EventKeys {
        let key =
            |public: &[u8; 32], valid_until| EventKey { public: Base64::new(public.to_vec()), valid_until };
        let mut keys = EventKeys::at(&self.server_name);
        for old in &self.retired {
            keys.put(&self.server_name, old.id(), key(old.public_key(), UnixMillis(old.expired_ms())));
        }
        keys.put(&self.server_name, self.key_id(), key(&self.key.public_key(), UnixMillis(u64::MAX)));
        keys
    }

    /// The server that signs.
    pub fn server_name(&self) -> &ServerName {
        &self.server_name
    }

    /// The key's ID: `ed25519:VERSION`.
    pub fn key_id(&self) -> String {
        format!("ed25519:{}", self.key.version())
    }

    /// The keys that signed before this one, the earliest first.
    pub fn retired(&self) -> &[Retired] {
        &self.retired
    }

    /// The public key, with which others verify.
    pub fn public_key(&self) -> Base64<Standard, [u8; 32]> {
        Base64::new(self.key.public_key())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("key_id", &self.key_id()).finish_non_exhaustive()
    }
}

/// Reads the content of a key's file.
pub(in crate::server) fn parse(line: &str) -> Option<Ed25519KeyPair> {
    let mut words = line.split_whitespace();
    let (algorithm, version, seed) = (words.next()?, words.next()?, words.next()?);
    if algorithm != "ed25519" || !is_version(version) || words.next().is_some() {
        return None;
    }
    let seed: Base64<Standard, [u8; 32]> = Base64::parse(seed).ok()?;
    let mut document = PKCS8_HEAD.to_vec();
    document.extend_from_slice(seed.as_bytes());
    Ed25519KeyPair::from_der(&document, version.to_owned()).ok()
}

/// The content of a key's file, with a new key.
fn new_line() -> String {
    let seed: Base64<Standard, [u8; 32]> = Base64::new(rand::random());
    format!("ed25519 a_{:06x} {}\n", rand::random::<u32>() >> 8, seed.encode())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ruma::{
        api::federation::discovery::ServerSigningKeys,
        signatures::{Verified, verify_event},
    };

    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("pilotlight-keys-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder can be made");
        path
    }

    #[test]
    fn the_key_is_made_once_and_only_its_owner_can_read_it() {
        let (folder, server) = (folder("once"), ruma::server_name!("localhost"));
        let first = Signer::open(&folder, server).expect("is made");
        let again = Signer::open(&folder, server).expect("is read");
        assert_eq!(first.key_id(), again.key_id());
        assert_eq!(first.public_key(), again.public_key());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(folder.join("signing.key")).expect("is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        std::fs::remove_dir_all(folder).expect("can be removed");
    }

    #[test]
    fn a_replaced_key_is_published_on_and_what_it_signed_still_verifies() {
        let (folder, server) = (folder("rotate"), ruma::server_name!("localhost"));
        let rules = ruma::RoomVersionId::V11.rules().expect("rules");
        let mut event: CanonicalJsonObject = serde_json::from_value(serde_json::json!({
            "type": "m.room.message", "sender": "@a:localhost", "room_id": "!r:localhost", "content": {},
            "origin_server_ts": 1_000, "depth": 1, "auth_events": [], "prev_events": [],
        }))
        .expect("an event");
        let first = Signer::open(&folder, server).expect("is made");
        first.hash_and_sign(&mut event, &rules.redaction).expect("signs");
        let (first_id, second) = (first.key_id(), first.rotate(&folder, 2_000).expect("is replaced"));
        assert_ne!(second.key_id(), first_id);
        let second_id = second.key_id();
        second.rotate(&folder, 3_000).expect("is replaced again");

        let document = Signer::open(&folder, server).expect("is read").key_document(9_000).expect("signs");
        let document: ServerSigningKeys =
            serde_json::from_value(serde_json::to_value(document).expect("JSON")).expect("a key document");
        let old = document.old_verify_keys;
        assert_eq!(
            old.keys().map(ToString::to_string).collect::<BTreeSet<_>>(),
            [first_id, second_id].into()
        );
        assert!(
            old.keys().all(|id| !document.verify_keys.contains_key(id)),
            "an old key verifies no request"
        );
        let until: BTreeSet<u64> = old.values().map(|key| key.expired_ts.get().into()).collect();
        assert_eq!(until, [2_000, 3_000].into());
        let keys = old.into_iter().map(|(id, key)| (id.to_string(), key.key)).collect();
        let known = BTreeMap::from([(server.to_string(), keys)]);
        assert!(matches!(verify_event(&known, &event, &rules), Ok(Verified::All)));
        std::fs::remove_dir_all(folder).expect("can be removed");
    }

    #[test]
    fn a_rotation_that_was_cut_short_leaves_the_former_key_in_use_and_can_be_repeated() {
        let (folder, server) = (folder("cut-short"), ruma::server_name!("localhost"));
        let first = Signer::open(&folder, server).expect("is made");
        let (id, line) = (first.key_id(), std::fs::read(folder.join(FILE)).expect("is there"));
        first.rotate(&folder, 1_000).expect("is replaced");
        // As if the power had gone before the new key was in place.
        std::fs::write(folder.join(FILE), line).expect("can be written");
        let again = Signer::open(&folder, server).expect("is read");
        assert_eq!((again.key_id(), again.retired().len()), (id.clone(), 0));
        let new = again.rotate(&folder, 2_000).expect("is replaced");
        let retired: Vec<_> = new.retired().iter().map(|key| (key.id(), key.expired_ms())).collect();
        assert_eq!(retired, [(id, 2_000)]);
        std::fs::remove_dir_all(folder).expect("can be removed");
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_and_left_alone() {
        let (folder, server) = (folder("refused"), ruma::server_name!("localhost"));
        for line in ["", "ed25519 a_1", "rsa a_1 AAAA", "ed25519 a_1 AAAA", "ed25519 a:1 AAAA more"] {
            std::fs::write(folder.join("signing.key"), line).expect("can be written");
            assert!(matches!(Signer::open(&folder, server), Err(KeyFileError(..))), "{line}");
            assert_eq!(std::fs::read_to_string(folder.join("signing.key")).expect("is there"), line);
        }
        std::fs::remove_dir_all(folder).expect("can be removed");
    }
}
