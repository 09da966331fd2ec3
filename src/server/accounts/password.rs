//! Hashing of passwords: Argon2id, off the event loop, a bounded number at a time.

use std::{sync::Arc, time::Duration};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tokio::sync::Semaphore;

use crate::server::http::{ApiError, ApiResult};

/// The longest password, in bytes. Longer ones would only cost time.
pub const MAX_PASSWORD: usize = 512;

/// Requests that wait for a hash at most; further ones are told to come again.
const WAITING: usize = 64;

/// What those are told.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The one place where passwords are hashed.
#[derive(Debug)]
pub struct Passwords {
    /// Hashes that run at once: each keeps a core and 19 MiB busy.
    running: Arc<Semaphore>,
    /// Requests that run or wait.
    admitted: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { running: Arc::new(Semaphore::new(cores)), admitted: Semaphore::new(cores + WAITING) }
    }
}

impl Passwords {
    /// Hashes a new password, with a salt of its own, into a PHC string.
    ///
    /// # Errors
    /// `M_WEAK_PASSWORD` when it is empty, `M_INVALID_PARAM` when it is too long, 429 when too many wait.
    pub async fn hash(&self, password: String) -> ApiResult<String> {
        if password.is_empty() {
            return Err(ApiError::new(
                http::StatusCode::BAD_REQUEST,
                "M_WEAK_PASSWORD",
                "the password is empty",
            ));
        }
        if password.len() > MAX_PASSWORD {
            return Err(ApiError::invalid_param(format!("the password is longer than {MAX_PASSWORD} bytes")));
        }
        self.run(move || hash(&password)).await?.map_err(ApiError::internal)
    }

    /// Whether `password` is the one that was hashed. With no hash the answer is no, after the same time.
    pub async fn verify(&self, password: String, stored: Option<String>) -> ApiResult<bool> {
        if password.len() > MAX_PASSWORD {
            return Ok(false);
        }
        self.run(move || match stored.as_deref().map(PasswordHash::new) {
            Some(Ok(stored)) => Ok(Argon2::default().verify_password(password.as_bytes(), &stored).is_ok()),
            Some(Err(e)) => Err(ApiError::internal(format!("a stored password hash cannot be read: {e}"))),
            None => hash(&password).map(|_| false).map_err(ApiError::internal),
        })
        .await?
    }

    async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> ApiResult<T> {
        let _admitted = self.admitted.try_acquire().map_err(|_| ApiError::limit_exceeded(RETRY_AFTER))?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(ApiError::internal)?;
        tokio::task::spawn_blocking(move || {
            // Held by the work itself: a client that goes away does not make room for another.
            let _running = running;
            job()
        })
        .await
        .map_err(ApiError::internal)
    }
}

/// Hashes a password in place, which takes tens of milliseconds: for the command line.
pub fn hash(password: &str) -> Result<String, argon2::password_hash::Error> {
    Argon2::default().hash_password(password.as_bytes()).map(|hash: PasswordHash| hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_alone() {
        let passwords = Passwords::default();
        let stored = passwords.hash("correct horse".into()).await.expect("hashes");
        assert!(stored.starts_with("$argon2id$") && !stored.contains("horse"));
        assert!(passwords.verify("correct horse".into(), Some(stored.clone())).await.expect("verifies"));
        assert!(!passwords.verify("Correct horse".into(), Some(stored)).await.expect("verifies"));
        assert!(!passwords.verify("correct horse".into(), None).await.expect("verifies"));
    }

    #[tokio::test]
    async fn an_empty_or_endless_password_is_refused() {
        let passwords = Passwords::default();
        assert_eq!(passwords.hash(String::new()).await.expect_err("empty").errcode, "M_WEAK_PASSWORD");
        let endless = "x".repeat(MAX_PASSWORD + 1);
        assert_eq!(passwords.hash(endless).await.expect_err("long").errcode, "M_INVALID_PARAM");
    }
}
