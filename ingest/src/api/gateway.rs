//! Gateways: their health, and provisioning of a new one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Caller;
use super::source::GatewayLive;
use super::{Api, ApiError, ErrorBody};
use crate::account::Role;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list, add))
}

/// All gateways the caller may see.
#[derive(Debug, Serialize, ToSchema)]
struct Gateways {
    gateways: Vec<GatewayView>,
}

/// A gateway; its key is never shown again.
#[derive(Debug, Serialize, ToSchema)]
struct GatewayView {
    name: String,
    site: String,
    /// It has a key: what it sends is taken.
    provisioned: bool,
    replaces: Option<String>,
    #[serde(flatten)]
    live: GatewayLive,
}

/// A gateway to be provisioned.
#[derive(Debug, Deserialize, ToSchema)]
struct GatewayForm {
    /// 1 to 64 letters, digits, '_' or '-'.
    name: String,
    site: String,
    /// Replaces the key of one that has one: the old key is locked out.
    #[serde(default)]
    rekey: bool,
}

/// A gateway just provisioned; the key is shown here and never again.
#[derive(Serialize, ToSchema)]
struct NewGateway {
    name: String,
    key: String,
    /// For the gateway's configuration file.
    snippet: String,
}

/// Lists gateways with what is known of them.
#[utoipa::path(get, path = "/gateways", tag = "gateways", responses(
    (status = 200, body = Gateways), (status = 401, body = ErrorBody)))]
async fn list(Shared(api): Shared<Arc<Api>>, caller: Caller) -> Json<Gateways> {
    let registry = api.parts.registrar.current();
    let seen = registry.gateways().filter(|gateway| caller.scope.allows(&gateway.site));
    let mut gateways: Vec<GatewayView> = seen
        .map(|gateway| GatewayView {
            name: gateway.name.clone(),
            site: gateway.site.clone(),
            provisioned: gateway.key.is_some(),
            replaces: gateway.replaces.clone(),
            live: api.parts.sources.gateway(&gateway.name),
        })
        .collect();
    gateways.sort_by(|a, b| a.name.cmp(&b.name));
    Json(Gateways { gateways })
}

/// Provisions a gateway and shows its key once.
#[utoipa::path(post, path = "/gateways", tag = "gateways", request_body = GatewayForm, responses(
    (status = 201, body = NewGateway), (status = 400, body = ErrorBody),
    (status = 403, body = ErrorBody), (status = 409, body = ErrorBody)))]
async fn add(
    Shared(api): Shared<Arc<Api>>,
    caller: Caller,
    Json(form): Json<GatewayForm>,
) -> Result<(StatusCode, Json<NewGateway>), ApiError> {
    caller.need(&[Role::Administrator])?;
    let state = api.state();
    let added =
        state.add_gateway(&form.name, &form.site, form.rekey, &caller.name, api.now()).await?;
    api.parts.registrar.replace(state.load_registry().await?);
    let snippet = format!("{}\n{}", added.snippet(), api.parts.config.gateway_snippet);
    let shown = NewGateway {
        name: form.name,
        key: added.key.reveal().to_owned(),
        snippet: snippet.trim_end().to_owned() + "\n",
    };
    Ok((StatusCode::CREATED, Json(shown)))
}
