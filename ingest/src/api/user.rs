//! Users and API keys; the administrator's.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::{Api, ApiError, ErrorBody};
use crate::account::{ApiKey, NewApiKey, NewUser, Role, User};
use crate::secret::Secret;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(disable))
        .routes(routes!(list_keys, add_key))
        .routes(routes!(revoke_key))
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UserView {
    name: String,
    display: String,
    role: Role,
    /// Own site of a plant user.
    site: Option<String>,
    created_at: i64,
    disabled_at: Option<i64>,
}

/// All users.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Users {
    users: Vec<UserView>,
}

/// A user to be added.
#[derive(Deserialize, ToSchema)]
pub(super) struct UserForm {
    name: String,
    display: String,
    role: Role,
    /// For plant users.
    site: Option<String>,
    password: String,
}

/// An API key, without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeyView {
    id: String,
    name: String,
    role: Role,
    site: Option<String>,
    created_by: String,
    created_at: i64,
    revoked_at: Option<i64>,
}

/// All keys.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Keys {
    keys: Vec<KeyView>,
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct KeyForm {
    name: String,
    role: Role,
    /// For plant keys.
    site: Option<String>,
}

/// A key just made; the secret is shown here and never again.
#[derive(Serialize, ToSchema)]
pub(super) struct NewKey {
    id: String,
    key: String,
}

/// Lists users.
#[utoipa::path(get, path = "/users", tag = "accounts", responses(
    (status = 200, body = Users), (status = 403, body = ErrorBody)))]
async fn list(Shared(api): Shared<Arc<Api>>, caller: Caller) -> Result<Json<Users>, ApiError> {
    caller.need(&[Role::Administrator, Role::Auditor])?;
    let users = api.state().users().await?;
    Ok(Json(Users { users: users.into_iter().map(UserView::from).collect() }))
}

/// Adds a user.
#[utoipa::path(post, path = "/users", tag = "accounts", request_body = UserForm, responses(
    (status = 201, body = UserView), (status = 400, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 409, body = ErrorBody)))]
async fn add(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Json(form): Json<UserForm>,
) -> Result<(StatusCode, Json<UserView>), ApiError> {
    caller.need(&[Role::Administrator])?;
    known_site(&api, form.site.as_deref())?;
    let new = NewUser {
        name: form.name,
        display: form.display,
        role: form.role,
        site: form.site,
        password: Secret::new(form.password),
    };
    let user = api.state().add_user(new, &caller.name, api.now()).await?;
    Ok((StatusCode::CREATED, Json(user.into())))
}

/// Lets a user sign in no more.
#[utoipa::path(delete, path = "/users/{name}", tag = "accounts", responses(
    (status = 204), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
async fn disable(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<StatusCode, ApiError> {
    caller.need(&[Role::Administrator])?;
    if name == caller.name {
        return Err(ApiError::conflict("nobody disables their own account"));
    }
    api.state().disable_user(&name, &caller.name, api.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists API keys.
#[utoipa::path(get, path = "/keys", tag = "accounts", responses(
    (status = 200, body = Keys), (status = 403, body = ErrorBody)))]
async fn list_keys(Shared(api): Shared<Arc<Api>>, caller: Caller) -> Result<Json<Keys>, ApiError> {
    caller.need(&[Role::Administrator, Role::Auditor])?;
    let keys = api.state().api_keys().await?;
    Ok(Json(Keys { keys: keys.into_iter().map(KeyView::from).collect() }))
}

/// Makes an API key.
#[utoipa::path(post, path = "/keys", tag = "accounts", request_body = KeyForm, responses(
    (status = 201, body = NewKey), (status = 400, body = ErrorBody),
    (status = 403, body = ErrorBody)))]
async fn add_key(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Json(form): Json<KeyForm>,
) -> Result<(StatusCode, Json<NewKey>), ApiError> {
    caller.need(&[Role::Administrator])?;
    known_site(&api, form.site.as_deref())?;
    let new = NewApiKey { name: form.name, role: form.role, site: form.site };
    let (key, secret) = api.state().add_api_key(new, &caller.name, api.now()).await?;
    let shown = NewKey { id: key.id, key: secret.reveal().to_owned() };
    Ok((StatusCode::CREATED, Json(shown)))
}

/// Ends an API key.
#[utoipa::path(delete, path = "/keys/{id}", tag = "accounts", responses(
    (status = 204), (status = 403, body = ErrorBody), (status = 404, body = ErrorBody)))]
async fn revoke_key(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    caller.need(&[Role::Administrator])?;
    api.state().revoke_api_key(&id, &caller.name, api.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A plant account for a site that is not there would silently see nothing.
fn known_site(api: &Api, site: Option<&str>) -> Result<(), ApiError> {
    match site {
        Some(site) if api.parts.registrar.current().site(site).is_none() => {
            Err(ApiError::invalid(format!("there is no site {site:?}")))
        }
        _ => Ok(()),
    }
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            name: user.name,
            display: user.display,
            role: user.role,
            site: user.site,
            created_at: user.created_at,
            disabled_at: user.disabled_at,
        }
    }
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id,
            name: key.name,
            role: key.role,
            site: key.site,
            created_by: key.created_by,
            created_at: key.created_at,
            revoked_at: key.revoked_at,
        }
    }
}
