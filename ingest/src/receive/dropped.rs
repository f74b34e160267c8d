//! What people are told of a message that was dropped, or of a block refused at a bound of its gateway: under whose name it came, what is wrong, how to mend it.
//!
//! Anybody who may publish at the broker can make such messages, so their notices are bounded: one a code and a
//! provisioned gateway, one for all names that are not provisioned.

use wire::GatewayName;

use super::Notice;
use crate::selfwatch::is_synthetic;

/// The notice of a drop; `None` where the drop has said it already.
pub(super) fn notice(code: &'static str, gateway: &GatewayName) -> Option<Notice> {
    // A centre's own samples from before its start, or another centre's on the same broker.
    if is_synthetic(gateway.as_str()) {
        return None;
    }
    let (about, text) = match code {
        "unknown_gateway" => (
            None,
            format!(
                "messages come under the name {gateway}, which has no key here; run `davy-ingest gateway add {gateway} --site SITE`, or mend the name in that gateway's configuration"
            ),
        ),
        "mac" => (
            Some(gateway),
            "messages under this name are not signed with its key: copy the key that `davy-ingest gateway add` printed into the gateway's configuration (--rekey makes a new one); if it is right there, somebody forges them: see the broker's access list".to_owned(),
        ),
        "frame_length" => (
            Some(gateway),
            "messages under this name are too short or too long for a frame: something else publishes on its topics; see the broker's access list".to_owned(),
        ),
        "topic_mismatch" | "gateway_mismatch" => (
            Some(gateway),
            "messages signed with this gateway's key name another gateway: a copied configuration or a stolen key; give each gateway a key of its own with `davy-ingest gateway add NAME --site SITE --rekey`".to_owned(),
        ),
        "frame_version" | "frame_kind" | "malformed" | "manifest_malformed" => (
            Some(gateway),
            format!("messages signed with this gateway's key cannot be read ({code}): run the same version of davy-gateway as here"),
        ),
        _ => return None,
    };
    Some(Notice { code, gateway: about.cloned(), text })
}

/// The notice of a refusal at a bound of one gateway; `None` where it needs none or another one says it.
pub(super) fn refused(code: &'static str, gateway: &GatewayName) -> Option<Notice> {
    let (code, text) = match code {
        "intervals" => (
            "intervals_full",
            "its blocks have more than 4,096 holes within one start: what opens another one is neither logged nor acked and stays on its disk until older ones arrive; something between it and here loses messages again and again: check the link and the broker",
        ),
        "held_full" => (
            "held_full",
            "more than 65,536 of its blocks wait for its clock to be set: further ones stay on its disk; give the gateway NTP, or let it hear this centre's acks",
        ),
        "manifests_full" => (
            "manifests_full",
            "it has sent more than 4,096 different lists of series: a new one is not taken, and its blocks stay on its disk; its configuration changes all the time: mend that, then provision it under another name that replaces this one",
        ),
        _ => return None,
    };
    Some(Notice { code, gateway: Some(gateway.clone()), text: text.to_owned() })
}
