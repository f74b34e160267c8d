//! Frames against the specification's examples, and against anything a device may send.

use proptest::prelude::*;

use super::{Exception, FrameError, Reply, Request, header};
use crate::profile::Table;

const TABLES: [Table; 4] = [Table::Coil, Table::Discrete, Table::Holding, Table::Input];

fn tables() -> impl Strategy<Value = Table> {
    prop_oneof![Just(TABLES[0]), Just(TABLES[1]), Just(TABLES[2]), Just(TABLES[3])]
}

fn requests() -> impl Strategy<Value = Request> {
    prop_oneof![
        (tables(), any::<u16>(), any::<u16>()).prop_map(|(table, start, count)| Request::Read {
            table,
            start,
            count
        }),
        any::<u8>().prop_map(|object| Request::Identify { object }),
    ]
}

#[test]
fn the_specifications_example_reads() {
    // Modbus application protocol 1.1b3, 6.3: registers 108..110 hold 022B, 0000, 0064.
    let request = Request::Read { table: Table::Holding, start: 107, count: 3 };
    assert_eq!(request.encode(1, 17), [0, 1, 0, 0, 0, 6, 17, 3, 0, 0x6B, 0, 3]);
    let reply = request.answer(&[3, 6, 2, 0x2B, 0, 0, 0, 0x64]).expect("an answer");
    assert_eq!(reply, Reply::Words(vec![0x22B, 0, 0x64]));
    let coils = Request::Read { table: Table::Coil, start: 19, count: 10 };
    let reply = coils.answer(&[1, 2, 0b1100_1101, 0b01]).expect("an answer");
    assert_eq!(reply, Reply::Words(vec![1, 0, 1, 1, 0, 0, 1, 1, 1, 0]));
}

#[test]
fn only_an_answer_to_the_question_is_taken() {
    let request = Request::Read { table: Table::Holding, start: 0, count: 2 };
    assert_eq!(request.answer(&[0x83, 2]), Ok(Reply::Exception(Exception(2))));
    assert_eq!(
        request.answer(&[4, 4, 0, 0, 0, 0]),
        Err(FrameError::Function { asked: 3, found: 4 })
    );
    // An exception is its code and nothing behind it.
    assert_eq!(request.answer(&[0x83]), Err(FrameError::Bytes { wanted: 2, found: 1 }));
    assert_eq!(request.answer(&[0x83, 2, 0]), Err(FrameError::Bytes { wanted: 2, found: 3 }));
    assert_eq!(request.answer(&[3, 2, 0, 0]), Err(FrameError::Bytes { wanted: 4, found: 2 }));
    assert_eq!(
        request.answer(&[3, 4, 0, 0, 0, 0, 0]),
        Err(FrameError::Bytes { wanted: 4, found: 4 })
    );
    assert_eq!(header([0, 1, 0, 1, 0, 6, 1]), Err(FrameError::Protocol(1)));
    assert_eq!(header([0, 1, 0, 0, 0, 2, 1]), Err(FrameError::Length(2)));
}

#[test]
fn every_exception_has_words() {
    let codes: [u8; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 0x0A];
    let unknown = Exception(0xFF).meaning();
    assert!(codes.iter().chain(&[0x0B]).all(|code| Exception(*code).meaning() != unknown));
}

#[test]
fn an_identity_is_read() {
    let request = Request::Identify { object: 0 };
    assert_eq!(request.encode(2, 1), [0, 2, 0, 0, 0, 5, 1, 0x2B, 0x0E, 1, 0]);
    let answer = [0x2B, 0x0E, 1, 1, 0, 0, 2, 0, 3, b'A', b'B', b'C', 1, 1, b'X'];
    let wanted = vec![(0, "ABC".to_owned()), (1, "X".to_owned())];
    assert_eq!(request.answer(&answer), Ok(Reply::Identity(wanted)));
}

#[test]
fn serial_frames_have_the_specifications_checksum() {
    // MODBUS over serial line 1.02, appendix B: 02 07 has the checksum 41 12 on the wire.
    assert_eq!(super::crc16(&[2, 7]).to_le_bytes(), [0x41, 0x12]);
    let request = Request::Read { table: Table::Holding, start: 0, count: 2 };
    let frame = request.encode_rtu(1);
    assert_eq!(frame, [1, 3, 0, 0, 0, 2, 0xC4, 0x0B]);
    let mut answer = vec![1, 3, 4, 0, 1, 0, 2];
    answer.extend(super::crc16(&answer).to_le_bytes());
    assert_eq!(request.rtu_bytes(1, &answer[..2]), Ok(None));
    assert_eq!(request.rtu_bytes(1, &answer[..3]), Ok(Some(9)));
    assert_eq!(request.answer_rtu(&answer), Ok(Reply::Words(vec![1, 2])));
    answer[4] ^= 1;
    assert!(matches!(request.answer_rtu(&answer), Err(FrameError::Checksum { .. })));
    assert_eq!(request.rtu_bytes(2, &answer), Err(FrameError::Unit { asked: 2, found: 1 }));
}

proptest! {
    /// Invariant 10: whatever is asked, the function code on the wire is one that reads.
    #[test]
    fn no_request_can_write(request in requests(), transaction in any::<u16>(), unit in any::<u8>()) {
        let serial = request.encode_rtu(unit);
        prop_assert!(matches!(serial[1], 1 | 2 | 3 | 4 | 0x2B));
        let frame = request.encode(transaction, unit);
        prop_assert!(matches!(frame[7], 1 | 2 | 3 | 4 | 0x2B));
        prop_assert_eq!(usize::from(u16::from_be_bytes([frame[4], frame[5]])), frame.len() - 6);
    }

    #[test]
    fn nothing_a_device_sends_panics(
        request in requests(),
        pdu in proptest::collection::vec(any::<u8>(), 0..300),
        head in any::<[u8; 7]>(),
    ) {
        if let Ok(Some(length)) = request.rtu_bytes(1, &pdu) {
            prop_assert!(length >= 5);
        }
        prop_assert!(request.answer_rtu(&pdu).is_err() || !pdu.is_empty());
        if let Ok(Reply::Words(words)) = request.answer(&pdu) {
            let Request::Read { count, .. } = request else { panic!("words of an identity") };
            prop_assert_eq!(words.len(), usize::from(count));
        }
        let parsed = header(head);
        prop_assert!(parsed.is_err() || parsed.is_ok_and(|h| h.pdu_bytes <= super::PDU_BYTES_MAX));
    }
}
