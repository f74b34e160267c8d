//! What a refused request is answered: a stable code, a sentence, the request's id. Internals go to the log only.

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::alarm::Alarm;
use crate::account::AccountError;
use crate::registry::RegistryError;
use crate::state::StateError;
use crate::store::{Class, StoreError};

/// Body of every answer that is not a success.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    /// Stable word for programs: `signed_out`, `bad_credentials`, `conflict` …
    pub(super) code: String,
    /// Sentence for people.
    pub(super) message: String,
    /// Names the request in the service's log.
    pub(super) request_id: String,
    /// With `signed_out`: whether the first administrator has still to be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) setup_needed: Option<bool>,
    /// With `conflict`: the alarm as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) alarm: Option<Box<Alarm>>,
}

/// A refusal on its way to the answer; [`super::request::answer`] gives it its id and writes its cause to the log.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) body: Box<ErrorBody>,
    /// Internals, for the log only.
    pub(super) cause: Option<String>,
    retry_after_s: Option<u64>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let body =
            ErrorBody { code: code.to_owned(), message: message.into(), ..ErrorBody::default() };
        Self { status, body: Box::new(body), cause: None, retry_after_s: None }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// Also for what exists but may not be seen: existence is not told either.
    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here")
    }

    pub(super) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "this role may not do that")
    }

    pub(super) fn signed_out(setup_needed: bool) -> Self {
        let mut error = Self::new(StatusCode::UNAUTHORIZED, "signed_out", "sign in first");
        error.body.setup_needed = Some(setup_needed);
        error
    }

    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    pub(super) fn with_alarm(mut self, alarm: Alarm) -> Self {
        self.body.alarm = Some(Box::new(alarm));
        self
    }

    pub(super) fn too_many(message: &str, retry_after_s: u64) -> Self {
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many", message);
        error.retry_after_s = Some(retry_after_s);
        error
    }

    pub(super) fn starting(message: &str, retry_after_s: u64) -> Self {
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "starting", message);
        error.retry_after_s = Some(retry_after_s);
        error
    }

    pub(super) fn internal(cause: &dyn std::error::Error) -> Self {
        let message = "the service failed; the request id names the log line";
        let mut error = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message);
        error.cause = Some(chain(cause));
        error
    }
}

/// An error with everything under it, for one log line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut under = error.source();
    while let Some(source) = under {
        text.push_str(": ");
        text.push_str(&source.to_string());
        under = source.source();
    }
    text
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StateError> for ApiError {
    fn from(error: StateError) -> Self {
        Self::internal(&error)
    }
}

impl From<AccountError> for ApiError {
    fn from(error: AccountError) -> Self {
        let message = error.to_string();
        match error {
            AccountError::BadCredentials => {
                Self::new(StatusCode::UNAUTHORIZED, "bad_credentials", message)
            }
            AccountError::NameTaken(_) | AccountError::SetupDone => Self::conflict(message),
            AccountError::Invalid(_) => Self::invalid(message),
            AccountError::NotFound => Self::not_found(),
            AccountError::Hash | AccountError::State(_) => Self::internal(&error),
        }
    }
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        let message = error.to_string();
        match error {
            RegistryError::NoSuchSite(_) | RegistryError::Invalid(_) => Self::invalid(message),
            RegistryError::HasKey(_)
            | RegistryError::OtherSite(..)
            | RegistryError::TooManyGateways(_) => Self::conflict(message),
            RegistryError::State(_) => Self::internal(&error),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error.class() {
            Class::Reject => Self::invalid(error.to_string()),
            Class::Retry | Class::Hold => {
                let message = "history cannot be read now; live values and alarms are not affected";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let cause = Some(chain(&error));
                Self { cause, ..Self::new(status, "history_unavailable", message) }
            }
        }
    }
}
