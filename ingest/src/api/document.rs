//! The OpenAPI document, made from the handlers; committed as `ingest/openapi.json`, from which the console's types are
//! made. A test compares the two.

use std::sync::Arc;

use axum::Json;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Api;
use super::auth::COOKIE_NAME;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(document))
}

/// Title and ways to sign in.
pub(super) fn frame() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Davy")
        .version("1")
        .description(Some("Times are milliseconds since the Unix epoch, UTC. Ids are texts."));
    let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(COOKIE_NAME)));
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = ComponentsBuilder::new()
        .security_scheme("session", cookie)
        .security_scheme("api_key", bearer)
        .build();
    OpenApiBuilder::new().info(info.build()).components(Some(components)).build()
}

/// The whole document.
#[must_use]
pub fn openapi() -> OpenApi {
    super::routes().split_for_parts().1
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "system", responses((status = 200)))]
async fn document() -> Json<OpenApi> {
    Json(openapi())
}
