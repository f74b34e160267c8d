//! Records go into the log and come back the same; their bytes are those of the versions before.

use super::record::{BlockMeta, CentreRecord, Decided, GoneSpan};
use rules::fact::{Fact, FactBody, RegState};

fn stored(record: &CentreRecord) -> spool::Record {
    let encoded = record.encode();
    let new = encoded.as_new("g1", 7);
    spool::Record {
        position: 1,
        kind: new.kind,
        gateway: new.gateway.to_owned(),
        epoch: new.epoch,
        seq: new.seq,
        received_at: new.received_at,
        meta: new.meta.to_vec(),
        bytes: new.bytes.to_vec(),
        block: false,
    }
}

// Goal: every record is read back as it was written.
#[test]
fn records_are_read_back_as_they_were_written() {
    let order = FactBody::RegState {
        state: RegState::Suspended,
        document: "迪应急〔2026〕1号".to_owned(),
        base_kw: Some(12.5),
    };
    let fact = Fact {
        id: "f".to_owned(),
        revision: 9,
        site: "s".to_owned(),
        valid_from: 1,
        valid_to: None,
        recorded_at: 2,
        withdrawn: false,
        body: order,
    };
    let records = [
        CentreRecord::Chain { epoch: u64::MAX, after: Some(3), last: 812 },
        CentreRecord::Chain { epoch: 1, after: None, last: 0 },
        CentreRecord::Gone(vec![GoneSpan { epoch: 1, from: 2, to: 3 }]),
        CentreRecord::Fact(Box::new(fact)),
        CentreRecord::Tick,
        CentreRecord::Start { log_id: 0xfeed },
        CentreRecord::Presence { epoch: 4, online: false, on_battery: true },
        CentreRecord::Step { by: -7_200_000 },
    ];
    for record in records {
        assert_eq!(CentreRecord::decode(&stored(&record)).unwrap(), record);
    }
}

// Goal: a log of an earlier version stays readable. Method: bytes written down by hand.
#[test]
fn bytes_of_records_stay_what_they_were() {
    let chain = CentreRecord::Chain { epoch: 5, after: Some(300), last: 2 };
    assert_eq!(stored(&chain).bytes, [1, 0xac, 2, 2]);
    let gone = CentreRecord::Gone(vec![GoneSpan { epoch: 1, from: 2, to: 3 }]);
    assert_eq!(stored(&gone).bytes, [1, 1, 2, 3]);
    let meta = BlockMeta { masked_rows: vec![1, 200], is_ahead: true, ..BlockMeta::default() };
    assert_eq!(meta.encode(), [2, 1, 0xc8, 1, 1]);
    assert_eq!(BlockMeta::decode(&meta.encode()).unwrap(), meta);
    assert_eq!(BlockMeta::decode(&[]).unwrap(), BlockMeta::default());
    let decided = Decided { is_superseded: false, offset: Some(-1), releases: vec![300] };
    let meta = BlockMeta { decided, ..BlockMeta::default() };
    assert_eq!(meta.encode(), [0, 0, 0, 1, 1, 1, 0xac, 2]);
    assert_eq!(BlockMeta::decode(&meta.encode()).unwrap(), meta);
}

// Goal: a record of a newer version is refused with what to do about it.
#[test]
fn a_record_of_an_unknown_kind_is_refused() {
    let mut record = stored(&CentreRecord::Tick);
    record.kind = 200;
    let error = CentreRecord::decode(&record).unwrap_err();
    assert!(error.to_string().contains("run the version that wrote it"), "{error}");
}
