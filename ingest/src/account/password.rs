//! Password hashing: argon2id, 19 MiB and 2 passes (the crate's default, OWASP's first choice), off the runtime's threads.

use std::sync::{Arc, OnceLock};

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use tokio::sync::Semaphore;

use super::AccountError;
use crate::secret::Secret;

/// Shortest password, in characters (NIST SP 800-63B asks 8; the trail of a life-safety system deserves more).
pub const PASSWORD_CHARS_MIN: usize = 10;
/// Longest password, in bytes: bounds the work of a request.
pub const PASSWORD_BYTES_MAX: usize = 512;
/// Hashes computed at once: 19 MiB each, on a small machine.
const HASHES_AT_ONCE: usize = 2;

fn slots() -> &'static Arc<Semaphore> {
    static SLOTS: OnceLock<Arc<Semaphore>> = OnceLock::new();
    SLOTS.get_or_init(|| Arc::new(Semaphore::new(HASHES_AT_ONCE)))
}

/// Refuses passwords that are too short, too long or the account's own name.
///
/// # Errors
/// [`AccountError::Invalid`] with what would fit.
pub fn check_strength(name: &str, password: &Secret) -> Result<(), AccountError> {
    let text = password.reveal();
    if text.chars().count() < PASSWORD_CHARS_MIN {
        let text = format!("a password needs at least {PASSWORD_CHARS_MIN} characters");
        return Err(AccountError::Invalid(text));
    }
    if text.len() > PASSWORD_BYTES_MAX {
        let text = format!("a password has at most {PASSWORD_BYTES_MAX} bytes");
        return Err(AccountError::Invalid(text));
    }
    if text.eq_ignore_ascii_case(name) {
        return Err(AccountError::Invalid("a password must not be the account's name".to_owned()));
    }
    Ok(())
}

/// Hashes a password for storing.
///
/// # Errors
/// [`AccountError::Hash`] when the random source or the memory failed.
pub async fn hash(password: Secret) -> Result<Secret, AccountError> {
    on_blocking(move || {
        let hashed = Argon2::default().hash_password(password.reveal().as_bytes());
        hashed.map(|hash| Secret::new(hash.to_string())).map_err(|_| AccountError::Hash)
    })
    .await?
}

/// Whether the password belongs to the stored hash. Without a stored hash (an unknown name) the same work is done and
/// the answer is no, so that the time taken does not tell which names exist.
///
/// # Errors
/// [`AccountError::Hash`] when the work could not be done.
pub async fn verify(password: Secret, stored: Option<Secret>) -> Result<bool, AccountError> {
    on_blocking(move || {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(decoy);
        let Ok(parsed) = PasswordHash::new(stored.reveal()) else {
            return Err(AccountError::Hash);
        };
        let fits = Argon2::default().verify_password(password.reveal().as_bytes(), &parsed);
        Ok(known && fits.is_ok())
    })
    .await?
}

/// A valid hash that nobody's password has; computed once.
fn decoy() -> Secret {
    static DECOY: OnceLock<Secret> = OnceLock::new();
    DECOY
        .get_or_init(|| {
            let random = Secret::random(32).unwrap_or_else(|_| Secret::new(String::new()));
            let hashed = Argon2::default().hash_password(random.reveal().as_bytes());
            Secret::new(hashed.map(|hash| hash.to_string()).unwrap_or_default())
        })
        .clone()
}

async fn on_blocking<T, F>(work: F) -> Result<T, AccountError>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let slots = Arc::clone(slots());
    let slot = slots.acquire_owned().await.map_err(|_| AccountError::Hash)?;
    let done = tokio::task::spawn_blocking(move || {
        let result = work();
        drop(slot);
        result
    });
    done.await.map_err(|_| AccountError::Hash)
}
