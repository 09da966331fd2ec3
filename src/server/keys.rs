//! The server's signing key: made at the first start, kept in the data folder, readable by nobody else.
//!
//! The file is one line, `ed25519 VERSION SEED` with the seed in unpadded base64, as other homeservers
//! have it, so that a server can be moved between them. Server-server API, "Retrieving server keys".

use std::{
    collections::BTreeMap,
    fmt,
    fs::{File, OpenOptions},
    io::{ErrorKind, Write},
    path::Path,
};

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, Int, OwnedServerName, ServerName,
    api::federation::authentication::{XMatrix, XMatrixFromRequestError, XMatrixSigningInput},
    room_version_rules::RedactionRules,
    serde::{Base64, base64::Standard},
    signatures::{Ed25519KeyPair, JsonError, hash_and_sign_event, sign_json},
};

use super::store::OpenError;

/// A PKCS#8 document of an ed25519 key up to where the seed of 32 bytes begins (RFC 8410).
const PKCS8_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// Signs events and requests in the name of this server.
pub struct Signer {
    server_name: OwnedServerName,
    key: Ed25519KeyPair,
}

impl Signer {
    /// Reads the key in `data_dir`, or makes it when there is none.
    ///
    /// # Errors
    /// [`OpenError::Access`]: the file cannot be read or made, or is not a signing key.
    pub fn open(data_dir: &Path, server_name: &ServerName) -> Result<Self, OpenError> {
        let path = data_dir.join("signing.key");
        let failed = |e: &dyn fmt::Display| OpenError::Access(path.clone(), e.to_string());
        let line = match std::fs::read_to_string(&path) {
            Ok(line) => line,
            Err(e) if e.kind() == ErrorKind::NotFound => make(data_dir, &path).map_err(|e| failed(&e))?,
            Err(e) => return Err(failed(&e)),
        };
        let key = parse(&line).ok_or_else(|| failed(&"is not `ed25519 VERSION SEED`"))?;
        Ok(Self { server_name: server_name.to_owned(), key })
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
            ("old_verify_keys".to_owned(), CanonicalJsonValue::Object(BTreeMap::new())),
            (
                "valid_until_ts".to_owned(),
                CanonicalJsonValue::Integer(Int::try_from(valid_until_ms).unwrap_or(Int::MAX)),
            ),
        ]);
        sign_json(self.server_name.as_str(), &self.key, &mut document)?;
        Ok(document)
    }

    /// The key's ID: `ed25519:VERSION`.
    pub fn key_id(&self) -> String {
        format!("ed25519:{}", self.key.version())
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

fn parse(line: &str) -> Option<Ed25519KeyPair> {
    let mut words = line.split_whitespace();
    let (algorithm, version, seed) = (words.next()?, words.next()?, words.next()?);
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if algorithm != "ed25519" || !version.chars().all(valid) || words.next().is_some() {
        return None;
    }
    let seed: Base64<Standard, [u8; 32]> = Base64::parse(seed).ok()?;
    let mut document = PKCS8_HEAD.to_vec();
    document.extend_from_slice(seed.as_bytes());
    Ed25519KeyPair::from_der(&document, version.to_owned()).ok()
}

/// Makes a key; it is on the disk, whole, before anything is signed with it.
fn make(data_dir: &Path, path: &Path) -> std::io::Result<String> {
    let seed: Base64<Standard, [u8; 32]> = Base64::new(rand::random());
    let line = format!("ed25519 a_{:06x} {}\n", rand::random::<u32>() >> 8, seed.encode());
    let unfinished = path.with_extension("key.new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(line.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    File::open(data_dir)?.sync_all()?;
    Ok(line)
}

#[cfg(test)]
mod tests {
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
    fn a_file_that_is_no_key_is_refused_and_left_alone() {
        let (folder, server) = (folder("refused"), ruma::server_name!("localhost"));
        for line in ["", "ed25519 a_1", "rsa a_1 AAAA", "ed25519 a_1 AAAA", "ed25519 a:1 AAAA more"] {
            std::fs::write(folder.join("signing.key"), line).expect("can be written");
            assert!(matches!(Signer::open(&folder, server), Err(OpenError::Access(..))), "{line}");
            assert_eq!(std::fs::read_to_string(folder.join("signing.key")).expect("is there"), line);
        }
        std::fs::remove_dir_all(folder).expect("can be removed");
    }
}
