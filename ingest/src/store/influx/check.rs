//! Whether the database is the one that the configuration speaks of, with words that say how to mend what is not.

use influxdb2::Client;
use influxdb2::api::buckets::ListBucketsRequest;
use influxdb2::api::organization::ListOrganizationRequest;
use influxdb2::models::{Bucket, PostBucketRequest, RetentionRule};

use super::{InfluxOptions, StoreError, refused, unavailable};
use crate::store::push::{answer, endpoint, http};

const DAY_S: u64 = 86_400;

/// Ending of the bucket with a value a minute.
pub(super) const MINUTES: &str = "_1m";
/// Ending of the bucket with a value an hour.
pub(super) const HOURS: &str = "_1h";

/// What the database said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Its version, where it says one.
    pub version: Option<String>,
    /// What the bucket keeps, s; `None` = for ever.
    pub keeps_s: Option<u64>,
    /// Buckets that were created, or would be where it was only looked.
    pub created: Vec<String>,
    /// Both buckets of condensed data are there.
    pub has_rollups: bool,
    /// At least one of them was created now: nothing is condensed yet.
    pub are_rollups_new: bool,
    /// What a person should know though it works.
    pub warnings: Vec<String>,
}

/// Checks version, token, organisation, bucket and retention; creates what is missing where asked to.
pub(super) async fn check(client: &Client, options: &InfluxOptions) -> Result<Found, StoreError> {
    let mut found = Found { version: version(options).await?, ..Found::default() };
    let bucket = &options.bucket;
    match find(client, options, bucket).await? {
        Some(there) => {
            found.keeps_s = keeps(&there);
            retention(&there, options)?;
        }
        None if options.create_bucket => {
            if !options.only_look {
                create(client, options, bucket, options.retention_days).await?;
            }
            found.keeps_s = options.retention_days.map(|days| u64::from(days) * DAY_S);
            found.created.push(bucket.clone());
        }
        None => {
            let make = make(options, bucket);
            return Err(refused(
                format!("organisation {:?} has no bucket {bucket:?}", options.org),
                format!(
                    "check [store] org = {:?} and bucket = {bucket:?}; or create it ({make}), or set create_bucket = true",
                    options.org
                ),
            ));
        }
    }
    let late = u64::from(options.late_days) * DAY_S;
    if let Some(keeps) = found.keeps_s.filter(|keeps| *keeps < late) {
        found.warnings.push(format!(
            "bucket {bucket:?} keeps {keeps} s, but plants may send what is up to {late} s old ([log] hole_max_days): what is older than the bucket keeps is dropped and counted; give the bucket a longer retention"
        ));
    }
    if options.rollups {
        rollups(client, options, &mut found).await?;
    }
    Ok(found)
}

/// The buckets of condensed data: without them history is right, but a year's view reads every sample.
async fn rollups(
    client: &Client,
    options: &InfluxOptions,
    found: &mut Found,
) -> Result<(), StoreError> {
    found.has_rollups = true;
    for ending in [MINUTES, HOURS] {
        let bucket = format!("{}{ending}", options.bucket);
        if find(client, options, &bucket).await?.is_some() {
            continue;
        }
        if options.create_bucket {
            if !options.only_look {
                create(client, options, &bucket, None).await?;
            }
            found.are_rollups_new = true;
            found.created.push(bucket);
        } else {
            found.has_rollups = false;
            let make = make(options, &bucket);
            found.warnings.push(format!(
                "bucket {bucket:?} for condensed data is missing: views of months and years will be slow; create it ({make}), or set create_bucket = true, or rollups = false"
            ));
        }
    }
    Ok(())
}

fn make(options: &InfluxOptions, bucket: &str) -> String {
    format!("influx bucket create --org {:?} --name {bucket:?}", options.org)
}

/// The version, refused where it is known not to serve. InfluxDB 1 knows no buckets, InfluxDB 3 no Flux.
async fn version(options: &InfluxOptions) -> Result<Option<String>, StoreError> {
    let failed = |e: reqwest011::Error| unavailable(answer::chain(&e));
    let client = http(&options.limits, false).build().map_err(failed)?;
    let url = format!("{}/ping", options.url.trim_end_matches('/'));
    let response = client.get(url).send().await.map_err(failed)?;
    let header = response.headers().get("X-Influxdb-Version").and_then(|v| v.to_str().ok());
    let Some(version) = header.map(|v| v.trim_start_matches('v').to_owned()) else {
        return Ok(None);
    };
    let mend = match version.split('.').next() {
        Some("1" | "0") => {
            "set [store] kind = \"influxdb1\" (or \"victoriametrics\" where it is that), or give the address of an InfluxDB 2"
        }
        Some("3") => {
            "give the address of an InfluxDB 2: history is asked in Flux, which InfluxDB 3 lacks"
        }
        _ => return Ok(Some(version)),
    };
    Err(refused(format!("{} is a database of version {version}", options.url), mend))
}

async fn find(
    client: &Client,
    options: &InfluxOptions,
    bucket: &str,
) -> Result<Option<Bucket>, StoreError> {
    let request = ListBucketsRequest {
        name: Some(bucket.to_owned()),
        org: Some(options.org.clone()),
        limit: Some(100),
        ..Default::default()
    };
    match client.list_buckets(Some(request)).await {
        Ok(found) => Ok(found.buckets.into_iter().find(|b| b.name == bucket)),
        Err(influxdb2::RequestError::Http { status, text })
            if status.as_u16() == 404 && text.contains("bucket") =>
        {
            Ok(None)
        }
        Err(error) => Err(endpoint::of_request(error, &options.org, &options.bucket)),
    }
}

/// What a bucket keeps, s; `None` = for ever.
fn keeps(bucket: &Bucket) -> Option<u64> {
    let kept = bucket.retention_rules.iter().map(|r| u64::try_from(r.every_seconds).unwrap_or(0));
    kept.filter(|s| *s > 0).min()
}

/// A bucket that keeps less than configured loses data that the configuration promises.
fn retention(bucket: &Bucket, options: &InfluxOptions) -> Result<(), StoreError> {
    let Some(days) = options.retention_days else { return Ok(()) };
    let wanted = u64::from(days) * DAY_S;
    match keeps(bucket) {
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

async fn create(
    client: &Client,
    options: &InfluxOptions,
    bucket: &str,
    days: Option<u32>,
) -> Result<(), StoreError> {
    let failed = |e| match endpoint::of_request(e, &options.org, bucket) {
        StoreError::Refused { reason, .. } => refused(
            format!(
                "organisation {:?} has no bucket {bucket:?}, and it cannot be created with this token: {reason}",
                options.org
            ),
            format!("create it ({}) or check the names in [store]", make(options, bucket)),
        ),
        other => other,
    };
    let request = ListOrganizationRequest { org: Some(options.org.clone()), ..Default::default() };
    let found = client.list_organizations(request).await.map_err(failed)?;
    let org = found.orgs.into_iter().find(|o| o.name == options.org).and_then(|o| o.id);
    let org = org.ok_or_else(|| {
        endpoint::denied(404, "no such organisation", &options.org, &options.bucket)
    })?;
    let mut request = PostBucketRequest::new(org, bucket.to_owned());
    if let Some(days) = days {
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
    tracing::info!(bucket, "bucket created");
    Ok(())
}
