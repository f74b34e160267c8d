//! Lines as InfluxDB must see them, to the byte.

use std::sync::{Arc, Mutex};

use wire::columns::Builder;
use wire::manifest::{Point, Reply};
use wire::{Block, GatewayName, Manifest, ManifestKey, Mark, Reason};

use super::*;

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Refusal>>);

impl RefusalSink for Kept {
    fn refused(&self, refusal: Refusal) {
        self.0.lock().unwrap().push(refusal);
    }
}

type Samples<'a> = &'a [(&'a str, f64, Mark)];

const RECEIVED: i64 = 1_700_000_000_000;

fn block(site: &str, device: &str, rows: &[(i64, Samples<'_>)]) -> DecodedBlock {
    let points = rows[0].1.iter().map(|(q, _, _)| Point { quantity: (*q).into(), unit: "".into() });
    let gateway = GatewayName::new("gw1").unwrap();
    let manifest = Manifest {
        gateway: gateway.clone(),
        site: site.into(),
        replies: vec![Reply {
            device: device.into(),
            period_ms: 1000,
            points: points.collect(),
            profile: "p".into(),
            profile_version: "1".into(),
        }],
        replaces: None,
    };
    let mut builder = Builder::new(&manifest, ManifestKey([1; 16]));
    for (time, samples) in rows {
        let samples: Vec<_> = samples.iter().map(|(_, v, m)| (*v, *m)).collect();
        builder.push(0, *time, &samples).unwrap();
    }
    DecodedBlock {
        position: 7,
        gateway: gateway.clone(),
        site: site.into(),
        manifest: Arc::new(manifest),
        block: Block {
            gateway,
            epoch: wire::Epoch(1),
            seq: 1,
            link: None,
            clock: Default::default(),
            fact_revision: 0,
            list: None,
            body: wire::block::Body::Readings(Default::default()),
        },
        readings: Arc::new(builder.take()),
        received_at: RECEIVED,
        masked_rows: Vec::new(),
        is_ahead: false,
    }
}

fn written(block: &DecodedBlock) -> (String, Vec<Refusal>) {
    let (sink, mut lines) = (Kept::default(), Lines::default());
    LineWriter::new().append(block, Bounds::default(), &sink, &mut lines);
    (String::from_utf8(lines.bytes).unwrap(), sink.0.into_inner().unwrap())
}

fn check(site: &str, device: &str, samples: &[(&str, f64, Mark)], want: &str) {
    let (got, refused) = written(&block(site, device, &[(RECEIVED, samples)]));
    assert_eq!(got, want);
    assert_eq!(refused, []);
}

#[test]
fn each_family_gets_one_line_with_its_quantities_as_fields() {
    check(
        "S",
        "M1",
        &[("u_a", 230.1, Mark::GOOD), ("i_a", 4.0, Mark::GOOD), ("di_1", 1.0, Mark::GOOD)],
        "electric,device=M1,site=S u_a=230.1,i_a=4.0 1700000000000\n\
         state,device=M1,site=S di_1=1.0 1700000000000\n",
    );
}

#[test]
fn quality_decides_between_number_and_mark() {
    check(
        "S",
        "M1",
        &[
            ("u_a", 1e21, Mark::uncertain(Reason::OverRange)),
            ("u_b", 5.0, Mark::bad(Reason::Timeout)),
            ("u_c", 5.0, Mark::stale(Reason::DeviceStale)),
            ("freq", f64::NAN, Mark::GOOD),
            ("i_a", f64::INFINITY, Mark::GOOD),
            ("i_b", 1e-7, Mark { quality: Quality::Substituted, reason: Reason::Manual }),
        ],
        "electric,device=M1,site=S u_a=1e+21,u_a_q=1i,u_b_q=2i,u_c_q=3i,freq_q=2i,i_a_q=2i,\
         i_b=1e-7,i_b_q=4i 1700000000000\n",
    );
}

#[test]
fn odd_names_are_escaped() {
    check(
        "a b",
        "1#,x=y\\z\"电",
        &[("o2", 20.9, Mark::GOOD)],
        "gas,device=1#\\,x\\=y\\z\"电,site=a\\ b o2=20.9 1700000000000\n",
    );
}

#[test]
fn a_name_that_could_break_out_is_refused_and_counted() {
    for device in ["a\nb", "a\\", "a\u{7f}"] {
        let (got, refused) =
            written(&block("S", device, &[(RECEIVED, &[("o2", 1.0, Mark::GOOD)])]));
        assert_eq!(got, "");
        assert_eq!(
            (refused[0].code, refused[0].samples, refused[0].position),
            ("bad_name", 1, Some(7))
        );
    }
    let (_, refused) = written(&block("S", "d", &[(RECEIVED, &[("gas_ppm_q", 1.0, Mark::GOOD)])]));
    assert_eq!(refused[0].code, "bad_name");
}

#[test]
fn absurd_times_and_masked_rows_are_left_out() {
    let good: &[(&str, f64, Mark)] = &[("o2", 1.0, Mark::GOOD)];
    let rows = [(RECEIVED, good), (5, good), (RECEIVED + 90_000_000, good), (RECEIVED + 1, good)];
    let mut block = block("S", "d", &rows);
    block.masked_rows = vec![0];
    let (got, refused) = written(&block);
    assert_eq!(got, "gas,device=d,site=S o2=1.0 1700000000001\n");
    let codes: Vec<_> = refused.iter().map(|r| (r.code, r.samples)).collect();
    assert_eq!(codes, [("too_old", 1), ("too_far_ahead", 1)]);
}

#[test]
fn lines_know_where_they_came_from() {
    let mut lines = Lines::default();
    let mut writer = LineWriter::new();
    for position in [3, 9] {
        let mut block = block(
            "S",
            "d",
            &[(RECEIVED, &[("o2", 1.0, Mark::GOOD)]), (RECEIVED + 1, &[("o2", 2.0, Mark::GOOD)])],
        );
        block.position = position;
        writer.append(&block, Bounds::default(), &crate::store::LogRefusals, &mut lines);
    }
    assert_eq!(lines.len(), 4);
    assert_eq!(lines.origin(1), Some(("gw1", 3)));
    assert_eq!(lines.origin(2), Some(("gw1", 9)));
    assert_eq!(lines.slice(1, 2), b"gas,device=d,site=S o2=2.0 1700000000001\n");
}
