//! From which address a request comes. Behind a TLS proxy on this machine every connection is the proxy's own, and the
//! address is the last that `X-Forwarded-For` names: the proxy wrote it, everything before it came from outside.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::{Api, ApiError};

/// Headers by which a proxy says that it passes a request on.
const FORWARDED: [&str; 5] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];

/// The address a request comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

impl FromRequestParts<Arc<Api>> for Peer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let ConnectInfo(peer) = ConnectInfo::<SocketAddr>::from_request_parts(parts, api)
            .await
            .map_err(|error| ApiError::internal(&error))?;
        Ok(Self(resolve(peer.ip(), &parts.headers, api.parts.config.tls)))
    }
}

/// `behind_tls`: a proxy before us speaks TLS to the browsers. A peer beyond this machine is never believed.
fn resolve(peer: IpAddr, headers: &HeaderMap, behind_tls: bool) -> IpAddr {
    if !behind_tls || !peer.to_canonical().is_loopback() {
        return peer.to_canonical();
    }
    let last = headers.get_all("x-forwarded-for").iter().next_back();
    let hop = last.and_then(|value| value.to_str().ok()).and_then(|text| text.rsplit(',').next());
    hop.and_then(|hop| address(hop.trim())).unwrap_or(peer).to_canonical()
}

/// With or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().map(|socket| socket.ip());
    text.parse::<IpAddr>().or_else(|_| with_port()).ok()
}

/// Whether somebody on this machine asks, and not a proxy for somebody elsewhere.
pub(super) fn is_local(peer: SocketAddr, headers: &HeaderMap) -> bool {
    let forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
    peer.ip().to_canonical().is_loopback() && !forwarded
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_last_hop_and_only_our_own_proxy_is_believed() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let (own, other) = (ip("127.0.0.1"), ip("203.0.113.9"));
        let cases: [(IpAddr, &[&'static str], bool, &str); 8] = [
            (own, &["198.51.100.7"], true, "198.51.100.7"),
            (own, &["1.2.3.4, 198.51.100.7"], true, "198.51.100.7"),
            (own, &["1.2.3.4", "198.51.100.7:443"], true, "198.51.100.7"),
            (own, &["2001:db8::1"], true, "2001:db8::1"),
            (own, &["198.51.100.7"], false, "127.0.0.1"),
            (other, &["198.51.100.7"], true, "203.0.113.9"),
            (own, &["nonsense"], true, "127.0.0.1"),
            (ip("::ffff:127.0.0.1"), &[], true, "127.0.0.1"),
        ];
        for (peer, given, behind_tls, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in given {
                headers.append("x-forwarded-for", HeaderValue::from_static(value));
            }
            assert_eq!(resolve(peer, &headers, behind_tls), ip(expected), "{peer} {given:?}");
        }
    }
}
