//! Signing in and out, and the first run.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{AppendHeaders, IntoResponse};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::{COOKIE_NAME, Caller};
use super::peer::Peer;
use super::{Api, ApiError, ErrorBody};
use crate::account::{AccountError, NewUser, Role, User};
use crate::journal::Act;
use crate::secret::Secret;

/// Stands in the trail for a name that no account has.
const UNKNOWN: &str = "unknown name";

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(who_am_i, sign_in, sign_out))
        .routes(routes!(change_password))
        .routes(routes!(set_up))
}

/// Who is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionView {
    user: SessionUser,
    /// Ms UTC: the console shows how far its own clock is off.
    server_time: i64,
    setup_needed: bool,
}

/// The person.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SessionUser {
    name: String,
    display: String,
    role: Role,
    /// Own site of a plant user.
    site: Option<String>,
}

/// Name and password.
#[derive(Deserialize, ToSchema)]
pub(super) struct Credentials {
    name: String,
    password: String,
}

/// Own password, old and new.
#[derive(Deserialize, ToSchema)]
pub(super) struct NewPassword {
    current: String,
    new: String,
}

/// The first administrator.
#[derive(Deserialize, ToSchema)]
pub(super) struct SetUp {
    name: String,
    display: String,
    password: String,
    /// As printed on the service's terminal.
    setup_token: String,
}

/// Tells who is signed in.
#[utoipa::path(get, path = "/session", tag = "session", responses(
    (status = 200, body = SessionView), (status = 401, body = ErrorBody)))]
async fn who_am_i(Shared(api): Shared<Arc<Api>>, caller: Caller) -> Json<SessionView> {
    let site = caller.user.as_ref().and_then(|user| user.site.clone());
    let user = SessionUser { name: caller.name, display: caller.display, role: caller.role, site };
    Json(SessionView { user, server_time: api.now(), setup_needed: false })
}

/// Signs in with name and password; sets the session cookie.
#[utoipa::path(post, path = "/session", tag = "session", request_body = Credentials, responses(
    (status = 200, body = SessionView), (status = 401, body = ErrorBody),
    (status = 429, body = ErrorBody)))]
async fn sign_in(
    Shared(api): Shared<Arc<Api>>,
    Peer(address): Peer,
    Json(given): Json<Credentials>,
) -> Result<impl IntoResponse, ApiError> {
    let attempt = api.sign_ins.begin(&given.name, address, api.now())?;
    let password = Secret::new(given.password);
    match api.state().check_password(&given.name, password).await {
        Ok(user) => {
            api.sign_ins.succeeded(attempt, api.now());
            opened(&api, user).await
        }
        Err(AccountError::BadCredentials) => {
            // What is no name of ours may be a password, typed into the wrong field.
            let is_known = api.state().has_user(&given.name).await?;
            let subject = if is_known { given.name.as_str() } else { UNKNOWN };
            let act = Act { at: api.now(), actor: "-", action: "session.refused", subject };
            api.state().audit(act, &json!({ "address": address.to_string() })).await?;
            Err(AccountError::BadCredentials.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Ends the session.
#[utoipa::path(delete, path = "/session", tag = "session", responses((status = 204)))]
async fn sign_out(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
) -> Result<impl IntoResponse, ApiError> {
    if let Some(token) = caller.session() {
        api.state().close_session(token, &caller.name, api.now()).await?;
    }
    let gone = cookie(&api, "", 0);
    Ok((StatusCode::NO_CONTENT, AppendHeaders([(SET_COOKIE, gone)])))
}

/// Changes the caller's own password; ends all their sessions and opens a new one.
#[utoipa::path(post, path = "/session/password", tag = "session", request_body = NewPassword,
    responses((status = 200, body = SessionView), (status = 400, body = ErrorBody),
    (status = 401, body = ErrorBody), (status = 403, body = ErrorBody),
    (status = 429, body = ErrorBody)))]
async fn change_password(
    Shared(api): Shared<Arc<Api>>,
    Peer(address): Peer,
    caller: Caller,
    Json(given): Json<NewPassword>,
) -> Result<impl IntoResponse, ApiError> {
    let Some(user) = caller.user else { return Err(ApiError::forbidden()) };
    // A session left open must not be a place to guess at the password.
    let attempt = api.sign_ins.begin(&user.name, address, api.now())?;
    match api.state().check_password(&user.name, Secret::new(given.current)).await {
        Ok(_) => api.sign_ins.succeeded(attempt, api.now()),
        // Not 401, which says that the session has ended.
        Err(AccountError::BadCredentials) => {
            let text = "the present password is wrong";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "bad_credentials", text));
        }
        Err(error) => return Err(error.into()),
    }
    let new = Secret::new(given.new);
    api.state().set_password(&user.name, new, &user.name, api.now()).await?;
    opened(&api, user).await
}

/// Makes the first administrator; only while no user exists.
#[utoipa::path(post, path = "/setup", tag = "session", request_body = SetUp, responses(
    (status = 200, body = SessionView), (status = 403, body = ErrorBody),
    (status = 409, body = ErrorBody), (status = 429, body = ErrorBody)))]
async fn set_up(
    Shared(api): Shared<Arc<Api>>,
    Peer(address): Peer,
    Json(given): Json<SetUp>,
) -> Result<impl IntoResponse, ApiError> {
    api.sign_ins.begin("set-up", address, api.now())?;
    if !api.state().setup_needed().await? {
        return Err(AccountError::SetupDone.into());
    }
    if !api.parts.setup.fits(&Secret::new(given.setup_token.trim().to_owned())) {
        let message =
            "this is not the token that the service's present start printed on its terminal";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "bad_setup_token", message));
    }
    let first = NewUser {
        name: given.name,
        display: given.display,
        role: Role::Administrator,
        site: None,
        password: Secret::new(given.password),
    };
    let user = api.state().add_first_user(first, api.now()).await?;
    api.parts.setup.close();
    opened(&api, user).await
}

async fn opened(api: &Api, user: User) -> Result<impl IntoResponse + use<>, ApiError> {
    let session = api.state().open_session(user, api.now()).await?;
    let user = session.user;
    let view = SessionView {
        user: SessionUser {
            name: user.name,
            display: user.display,
            role: user.role,
            site: user.site,
        },
        server_time: api.now(),
        setup_needed: false,
    };
    let max_age_s = api.parts.config.sessions.absolute_ms / 1_000;
    let cookie = cookie(api, session.token.reveal(), max_age_s);
    Ok((AppendHeaders([(SET_COOKIE, cookie)]), Json(view)))
}

/// The cookie: no script reads it, no other site sends it.
fn cookie(api: &Api, token: &str, max_age_s: i64) -> HeaderValue {
    let secure = if api.parts.config.tls { "; Secure" } else { "" };
    let text = format!(
        "{COOKIE_NAME}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age_s}{secure}"
    );
    let mut value = HeaderValue::try_from(text).expect("a token is hex");
    value.set_sensitive(true);
    value
}
