//! Hashing of passwords: Argon2id, off the event loop, a bounded number at a time, in memory that is given back.

use std::{sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::{
        self, generate_salt,
        phc::{Output, ParamsString, PasswordHash, Salt},
    },
};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::refusal::Refusal;

/// The longest password, in bytes. Longer ones would only cost time.
pub const MAX_PASSWORD: usize = 512;

/// Hashes that run at once, at most: each keeps a core and 19 MiB busy.
const AT_ONCE: usize = 2;

/// Requests that wait for a hash at most; further ones are told to come again.
const WAITING: usize = 64;

/// What those are told.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The one place where passwords are hashed.
#[derive(Debug)]
pub struct Passwords {
    running: Arc<Semaphore>,
    /// Requests that run or wait.
    admitted: Arc<Semaphore>,
    most_admitted: usize,
    memories: Arc<Mutex<Vec<Memory>>>,
    /// Characters that a new password has at least.
    least: u32,
}

impl Passwords {
    /// New passwords have at least `least` characters.
    pub fn new(least: u32) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let running = cores.min(AT_ONCE);
        let most_admitted = running + WAITING;
        Self {
            running: Arc::new(Semaphore::new(running)),
            admitted: Arc::new(Semaphore::new(most_admitted)),
            most_admitted,
            memories: Arc::default(),
            least,
        }
    }

    /// Whether this may be a new password.
    ///
    /// # Errors
    /// [`Refusal::WeakPassword`] when it is empty or too short, [`Refusal::InvalidParam`] when it is too long.
    pub fn check(&self, password: &str) -> Result<(), Refusal> {
        let least = usize::try_from(self.least).unwrap_or(usize::MAX).max(1);
        if password.chars().count() < least {
            let error = match least {
                1 => "a password must not be empty".to_owned(),
                _ => format!("a password has at least {least} characters"),
            };
            return Err(Refusal::WeakPassword(error.into()));
        }
        if password.len() > MAX_PASSWORD {
            let error = format!("the password is longer than {MAX_PASSWORD} bytes");
            return Err(Refusal::InvalidParam(error.into()));
        }
        Ok(())
    }

    /// Hashes a new password, with a salt of its own, into a PHC string.
    ///
    /// # Errors
    /// Those of [`Self::check`], and [`Refusal::Busy`] when too many wait.
    pub async fn hash(&self, password: String) -> Result<String, Refusal> {
        self.check(&password)?;
        self.run(move |memory| memory.hash(&password)).await?.map_err(internal)
    }

    /// Whether `password` is the one that was hashed. With no hash the answer is no, after the same time.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, Refusal> {
        if password.len() > MAX_PASSWORD {
            return Ok(false);
        }
        self.run(move |memory| match stored {
            Some(stored) => memory
                .verify(&password, &stored)
                .map_err(|e| Refusal::Internal(format!("a stored password hash cannot be used: {e}"))),
            None => memory.hash(&password).map(|_| false).map_err(internal),
        })
        .await?
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let busy = |_| Refusal::Busy(RETRY_AFTER);
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(busy)?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(internal)?;
        let (all, most, memories) =
            (Arc::clone(&self.admitted), self.most_admitted, Arc::clone(&self.memories));
        tokio::task::spawn_blocking(move || {
            let pool = || memories.lock();
            let mut memory = pool().pop().unwrap_or_default();
            let done = job(&mut memory);
            pool().push(memory);
            // Held by the work itself: a client that goes away does not make room for another.
            drop((running, admitted));
            if all.available_permits() == most {
                // Nobody runs or waits: until somebody comes, the memory is of more use elsewhere.
                pool().clear();
            }
            done
        })
        .await
        .map_err(internal)
    }
}

fn internal(e: impl std::fmt::Display) -> Refusal {
    Refusal::Internal(e.to_string())
}

/// What Argon2 works in, used for one password after the other.
#[derive(Debug, Default)]
struct Memory(Vec<Block>);

impl Memory {
    /// Blocks of 1 KiB that are reserved, more than are used: from 32 MiB on the allocator takes memory from the
    /// system and gives it back there, and does not keep it for the thread that asked. What is not used
    /// costs nothing.
    const RESERVED: usize = 33 * 1024;

    fn blocks(&mut self, count: usize) -> &mut [Block] {
        if self.0.len() < count {
            self.0.reserve_exact(count.max(Self::RESERVED) - self.0.len());
            self.0.resize(count, Block::default());
        }
        &mut self.0[..count]
    }

    fn hash(&mut self, password: &str) -> Result<String, password_hash::Error> {
        let (argon2, salt) = (Argon2::default(), generate_salt());
        let mut hash = [0; Params::DEFAULT_OUTPUT_LEN];
        let blocks = self.blocks(argon2.params().block_count());
        argon2.hash_password_into_with_memory(password.as_bytes(), &salt, &mut hash, blocks)?;
        let hash = PasswordHash {
            algorithm: Algorithm::default().ident(),
            version: Some(Version::default().into()),
            params: ParamsString::try_from(argon2.params())?,
            salt: Some(Salt::new(&salt)?),
            hash: Some(Output::new(&hash)?),
        };
        Ok(hash.to_string())
    }

    fn verify(&mut self, password: &str, stored: &str) -> Result<bool, password_hash::Error> {
        let stored = PasswordHash::new(stored)?;
        let (Some(salt), Some(expected)) = (&stored.salt, &stored.hash) else {
            return Err(password_hash::Error::PasswordInvalid);
        };
        let algorithm = Algorithm::try_from(stored.algorithm.as_str())?;
        let version = stored.version.map(Version::try_from).transpose()?.unwrap_or_default();
        let argon2 = Argon2::new(algorithm, version, Params::try_from(&stored)?);
        let mut hash = vec![0; expected.len()];
        let blocks = self.blocks(argon2.params().block_count());
        argon2.hash_password_into_with_memory(password.as_bytes(), salt, &mut hash, blocks)?;
        // `Output` compares in a time that does not depend on what is equal.
        Ok(Output::new(&hash)? == *expected)
    }
}

/// Hashes a password in place, which takes tens of milliseconds: for the command line.
pub fn hash(password: &str) -> Result<String, password_hash::Error> {
    Memory::default().hash(password)
}

#[cfg(test)]
mod tests {
    use argon2::{PasswordHasher, PasswordVerifier};

    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_alone() {
        let passwords = Passwords::new(1);
        let stored = passwords.hash("correct horse".into()).await.expect("hashes");
        assert!(stored.starts_with("$argon2id$") && !stored.contains("horse"));
        assert!(passwords.verify("correct horse".into(), Some(stored.clone())).await.expect("verifies"));
        assert!(!passwords.verify("Correct horse".into(), Some(stored)).await.expect("verifies"));
        assert!(!passwords.verify("correct horse".into(), None).await.expect("verifies"));
    }

    #[tokio::test]
    async fn an_empty_or_endless_password_is_refused() {
        let passwords = Passwords::new(1);
        let refused = passwords.hash(String::new()).await.expect_err("empty");
        assert!(matches!(&refused, Refusal::WeakPassword(why) if why.contains("empty")), "{refused:?}");
        let eight = Passwords::new(8);
        for (password, is_long_enough) in [("pässwö7", false), ("pässwö78", true)] {
            assert_eq!(eight.hash(password.into()).await.is_ok(), is_long_enough, "{password}");
        }
        let refused = passwords.hash("x".repeat(MAX_PASSWORD + 1)).await.expect_err("long");
        assert!(matches!(refused, Refusal::InvalidParam(_)), "{refused:?}");
    }

    #[test]
    fn hashes_are_those_of_everybody_else_and_memory_is_used_again() {
        let mut memory = Memory::default();
        let ours = memory.hash("secret").expect("hashes");
        assert!(Argon2::default().verify_password(b"secret", ours.as_str()).is_ok());
        let weaker = Argon2::new(
            Algorithm::Argon2i,
            Version::V0x10,
            Params::new(256, 3, 2, Some(24)).expect("parameters"),
        );
        let theirs: PasswordHash = weaker.hash_password(b"secret").expect("hashes");
        for stored in [theirs.to_string(), ours] {
            assert!(memory.verify("secret", &stored).expect("verifies"));
            assert!(!memory.verify("Secret", &stored).expect("verifies"));
        }
        for broken in
            ["", "$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA", "$scrypt$ln=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA"]
        {
            assert!(memory.verify("secret", broken).is_err(), "{broken}");
        }
    }

    #[tokio::test]
    async fn memory_is_shared_by_those_who_wait_and_given_back_by_the_last() {
        let passwords = Arc::new(Passwords::new(1));
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let passwords = Arc::clone(&passwords);
            all.spawn(async move {
                passwords.hash("x".into()).await.expect("hashes");
                assert!(passwords.memories.lock().len() <= AT_ONCE);
            });
        }
        while let Some(done) = all.join_next().await {
            done.expect("no panic");
        }
        assert!(passwords.memories.lock().is_empty());
    }
}
