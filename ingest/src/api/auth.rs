//! Who is asking: a session cookie or an API key; and whether the request comes from our own pages.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State as Shared};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::peer::is_local;
use super::{Api, ApiError};
use crate::account::{AccountError, Role, Scope, User};
use crate::registry::{Registry, SiteEntry};
use crate::secret::Secret;

/// The session cookie.
pub(super) const COOKIE_NAME: &str = "davy_session";

/// Whoever is asking, with what they may see.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Account name, or `key:<id>`.
    pub(super) name: String,
    /// Name as shown.
    pub(super) display: String,
    pub(super) role: Role,
    pub(super) scope: Scope,
    /// Their user, unless it is a key.
    pub(super) user: Option<User>,
    /// What they showed.
    pub(super) proof: Proof,
}

/// What somebody showed to be let in.
#[derive(Debug, Clone)]
pub(super) enum Proof {
    /// The token of a session.
    Session(Secret),
    /// An API key.
    Key(Secret),
}

impl Caller {
    /// Their session, unless it is a key.
    pub(super) fn session(&self) -> Option<&Secret> {
        match &self.proof {
            Proof::Session(token) => Some(token),
            Proof::Key(_) => None,
        }
    }

    /// Whether they would still be let in; an open stream counts as use of its session.
    ///
    /// # Errors
    /// When the database fails: nothing is known then.
    pub(super) async fn is_let_in(&self, api: &Api) -> Result<bool, AccountError> {
        Ok(match &self.proof {
            Proof::Session(token) => {
                let policy = api.parts.config.sessions;
                api.state().session_user(token, policy, api.now()).await?.is_some()
            }
            Proof::Key(token) => api.state().api_key(token).await?.is_some(),
        })
    }

    /// Refuses every role but these.
    pub(super) fn need(&self, roles: &[Role]) -> Result<(), ApiError> {
        if roles.contains(&self.role) { Ok(()) } else { Err(ApiError::forbidden()) }
    }

    /// A site they may see; any other is not there.
    pub(super) fn site<'r>(
        &self,
        registry: &'r Registry,
        id: &str,
    ) -> Result<&'r Arc<SiteEntry>, ApiError> {
        let entry = registry.site(id).filter(|_| self.scope.allows(id));
        entry.ok_or_else(ApiError::not_found)
    }

    /// The site filter of a list: none sees all, some sees one.
    pub(super) fn site_filter(&self) -> Option<String> {
        match &self.scope {
            Scope::All => None,
            Scope::Site(site) => Some(site.clone()),
            // No site has an empty id.
            Scope::Nothing => Some(String::new()),
        }
    }
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        if let Some(found) = bearer(&parts.headers) {
            return by_key(api, found).await;
        }
        match session_token(&parts.headers) {
            Some(token) => by_session(api, token).await,
            None => Err(ApiError::signed_out(api.state().setup_needed().await?)),
        }
    }
}

async fn by_key(api: &Api, token: Secret) -> Result<Caller, ApiError> {
    let message = "this API key is not valid or was revoked; `davy-ingest key add` makes one";
    let refused = || ApiError::new(StatusCode::UNAUTHORIZED, "bad_key", message);
    let key = api.state().api_key(&token).await?.ok_or_else(refused)?;
    Ok(Caller {
        name: format!("key:{}", key.id),
        display: key.name.clone(),
        role: key.role,
        scope: key.scope(),
        user: None,
        proof: Proof::Key(token),
    })
}

async fn by_session(api: &Api, token: Secret) -> Result<Caller, ApiError> {
    let user = api.state().session_user(&token, api.parts.config.sessions, api.now()).await?;
    let Some(user) = user else {
        return Err(ApiError::signed_out(api.state().setup_needed().await?));
    };
    Ok(Caller {
        name: user.name.clone(),
        display: user.display.clone(),
        role: user.role,
        scope: user.scope(),
        user: Some(user),
        proof: Proof::Session(token),
    })
}

fn bearer(headers: &HeaderMap) -> Option<Secret> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let token = value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer "))?;
    Some(Secret::new(token.trim().to_owned()))
}

/// The token of the session cookie.
pub(super) fn session_token(headers: &HeaderMap) -> Option<Secret> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE_NAME).then(|| Secret::new(value.to_owned()))
    })
}

/// Lets in who asks from this machine itself, and staff with a session or a key; a plant or the grid company never.
pub(super) async fn operators(
    Shared(api): Shared<Arc<Api>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    if is_local(peer, request.headers()) {
        return next.run(request).await;
    }
    let (mut head, body) = request.into_parts();
    match Caller::from_request_parts(&mut head, &api).await {
        Ok(caller) if caller.scope == Scope::All => next.run(Request::from_parts(head, body)).await,
        Ok(_) => ApiError::forbidden().into_response(),
        Err(refused) => refused.into_response(),
    }
}

/// Refuses a change that another site's page sends with our cookie.
///
/// Browsers say where a request comes from (`Sec-Fetch-Site`, or `Origin` on older ones) and pages cannot forge either.
/// A program that is no browser says neither: it may sign in, but then it has to use an API key, or say its origin. Only a
/// key exempts a request: any other `Authorization` leaves the cookie to decide who is asking.
pub(super) async fn same_origin(
    Shared(_api): Shared<Arc<Api>>,
    request: Request,
    next: Next,
) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let headers = request.headers();
    let exempt = !changes || bearer(headers).is_some();
    if exempt || is_same_origin(headers, session_token(headers).is_none()) {
        return next.run(request).await;
    }
    let message = "the request does not come from this console's own pages";
    ApiError::new(StatusCode::FORBIDDEN, "cross_site", message).into_response()
}

fn is_same_origin(headers: &HeaderMap, if_silent: bool) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    match (text(ORIGIN.as_str()), text(HOST.as_str())) {
        (Some(origin), Some(host)) => {
            let origin = origin.parse::<Uri>().ok();
            origin.and_then(|uri| uri.authority().map(|a| a.as_str() == host)).unwrap_or(false)
        }
        (Some(_), None) => false,
        (None, _) => if_silent,
    }
}
