//! The one-time token of the first run: printed on the service's terminal, asked for by the set-up page. Whoever can
//! read the terminal may make the first administrator; there is no default password.

use std::sync::Mutex;

use crate::secret::Secret;

/// Bytes of the token: 128 bits, typed or pasted once.
const TOKEN_BYTES: usize = 16;

/// The token while no user exists.
#[derive(Debug, Default)]
pub struct SetupToken {
    token: Mutex<Option<Secret>>,
}

impl SetupToken {
    /// Draws a token and gives it for printing.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn draw() -> Result<(Self, Secret), getrandom::Error> {
        let token = Secret::random(TOKEN_BYTES)?;
        Ok((Self { token: Mutex::new(Some(token.clone())) }, token))
    }

    /// For a service that has users.
    #[must_use]
    pub fn closed() -> Self {
        Self::default()
    }

    /// Whether this is the token. Hashes are compared: the time taken tells at most how the hash begins, which does not help
    /// to guess the token.
    pub(super) fn fits(&self, given: &Secret) -> bool {
        let token = self.token.lock().expect("nobody panics while holding this lock");
        token.as_ref().is_some_and(|token| token.sha256() == given.sha256())
    }

    /// Nobody may use it again.
    pub(super) fn close(&self) {
        *self.token.lock().expect("nobody panics while holding this lock") = None;
    }
}
