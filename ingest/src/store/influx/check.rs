//! Whether the database is the one that the configuration speaks of, with words that say how to mend what is not.

use influxdb2::Client;
use influxdb2::api::buckets::ListBucketsRequest;
use influxdb2::api::organization::ListOrganizationRequest;
use influxdb2::models::{Bucket, PostBucketRequest, RetentionRule};

use super::{InfluxOptions, StoreError, answer, refused};

const DAY_S: u64 = 86_400;

/// Checks an address before anything panics on it or silently drops a part of it.
pub(super) fn address(text: &str) -> Result<(), StoreError> {
    let bad = |why: &str, mend: &str| Err(refused(format!("address {text:?} {why}"), mend));
    let Ok(url) = reqwest011::Url::parse(text) else {
        return bad("is not a URL", "give it as http://host:8086");
    };
    match url.scheme() {
        "http" => {}
        "https" => {
            let mend = "reach InfluxDB over http on loopback or a protected network, or through a TLS tunnel";
            return bad("needs TLS, which this client lacks", mend);
        }
        _ => return bad("is not http", "give it as http://host:8086"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return bad("holds a password", "give the token in its own key");
    }
    if url.path() != "/" || url.query().is_some() {
        let mend =
            "InfluxDB's client drops paths: let the proxy serve it at the root of a host or port";
        return bad("has a path", mend);
    }
    Ok(())
}

/// Checks token, organisation, bucket and retention; creates the bucket where asked to.
pub(super) async fn check(client: &Client, options: &InfluxOptions) -> Result<(), StoreError> {
    if let Some(bucket) = find(client, options).await? {
        return retention(&bucket, options);
    }
    if !options.create_bucket {
        return Err(refused(
            format!("organisation {:?} has no bucket {:?}", options.org, options.bucket),
            format!(
                "create it (influx bucket create --org {:?} --name {:?}) or set create_bucket = true",
                options.org, options.bucket
            ),
        ));
    }
    create(client, options).await.map_err(|error| match error {
        StoreError::Refused { reason, .. } => refused(
            format!(
                "organisation {:?} has no bucket {:?}, and it cannot be created with this token: {reason}",
                options.org, options.bucket
            ),
            format!(
                "create it (influx bucket create --org {:?} --name {:?}) or check the names in [store]",
                options.org, options.bucket
            ),
        ),
        other => other,
    })
}

async fn find(client: &Client, options: &InfluxOptions) -> Result<Option<Bucket>, StoreError> {
    let request = ListBucketsRequest {
        name: Some(options.bucket.clone()),
        org: Some(options.org.clone()),
        limit: Some(100),
        ..Default::default()
    };
    match client.list_buckets(Some(request)).await {
        Ok(found) => Ok(found.buckets.into_iter().find(|b| b.name == options.bucket)),
        Err(influxdb2::RequestError::Http { status, text })
            if status.as_u16() == 404 && text.contains("bucket") =>
        {
            Ok(None)
        }
        Err(error) => Err(answer::of_request(error, &options.org, &options.bucket)),
    }
}

/// A bucket that keeps less than configured loses data that the configuration promises.
fn retention(bucket: &Bucket, options: &InfluxOptions) -> Result<(), StoreError> {
    let Some(days) = options.retention_days else { return Ok(()) };
    let wanted = u64::from(days) * DAY_S;
    let kept = bucket.retention_rules.iter().map(|r| u64::try_from(r.every_seconds).unwrap_or(0));
    match kept.filter(|s| *s > 0).min() {
        Some(kept) if kept < wanted => {
            let id = bucket.id.as_deref().unwrap_or("ID");
            Err(refused(
                format!("bucket {:?} keeps {kept} s, configured are {wanted} s", bucket.name),
                format!(
                    "influx bucket update --id {id} --retention {wanted}s, or configure fewer days"
                ),
            ))
        }
        _ => Ok(()),
    }
}

async fn create(client: &Client, options: &InfluxOptions) -> Result<(), StoreError> {
    let failed = |e| answer::of_request(e, &options.org, &options.bucket);
    let request = ListOrganizationRequest { org: Some(options.org.clone()), ..Default::default() };
    let found = client.list_organizations(request).await.map_err(failed)?;
    let org = found.orgs.into_iter().find(|o| o.name == options.org).and_then(|o| o.id);
    let org = org.ok_or_else(|| {
        answer::denied(404, "no such organisation", &options.org, &options.bucket)
    })?;
    let mut request = PostBucketRequest::new(org, options.bucket.clone());
    if let Some(days) = options.retention_days {
        let seconds = i32::try_from(u64::from(days) * DAY_S).map_err(|_| {
            refused(
                format!("{days} days are more than InfluxDB's client can set"),
                "configure fewer days, or none to keep everything",
            )
        })?;
        let r#type = influxdb2::models::retention_rule::Type::Expire;
        request.retention_rules = vec![RetentionRule::new(r#type, seconds)];
    }
    client.create_bucket(Some(request)).await.map_err(failed)?;
    tracing::info!(bucket = %options.bucket, "bucket created");
    Ok(())
}
