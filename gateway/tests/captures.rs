//! Real Modbus TCP captures with an independent decode beside them (tshark): our frames must be theirs, byte for byte,
//! and our decoder must read what tshark reads. Without the data folder (DAVY_DATA) the test says so and passes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gateway::bus::frame::{Exception, HEADER_BYTES, Reply, Request, header};
use gateway::profile::Table;

fn folder() -> Option<PathBuf> {
    let data = std::env::var_os("DAVY_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let folder = data.join("modbus_pcap");
    folder.is_dir().then_some(folder)
}

/// TCP payloads by frame number: classic little-endian pcap, Ethernet, IPv4.
fn payloads(pcap: &[u8]) -> BTreeMap<usize, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut rest = pcap.get(24..).expect("a pcap header");
    let mut number = 0;
    while rest.len() >= 16 {
        let length = u32::from_le_bytes(rest[8..12].try_into().expect("four bytes"));
        let length = usize::try_from(length).expect("fits");
        let packet = &rest[16..16 + length];
        rest = &rest[16 + length..];
        number += 1;
        let Some(ip) = packet.get(14..).filter(|ip| ip.len() >= 20 && ip[0] >> 4 == 4) else {
            continue;
        };
        let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
        let Some(tcp) = ip.get(usize::from(ip[0] & 15) * 4..total) else { continue };
        let payload = tcp.get(12).and_then(|offset| tcp.get(usize::from(offset >> 4) * 4..));
        if let Some(payload) = payload.filter(|payload| !payload.is_empty()) {
            found.insert(number, payload.to_vec());
        }
    }
    found
}

/// One row of tshark's decode, by column name.
type Row = BTreeMap<String, String>;

fn rows(text: &str) -> Vec<Row> {
    let cells = |line: &str| -> Vec<String> {
        line.split(',').map(|cell| cell.trim_matches('"').to_owned()).collect()
    };
    let mut lines = text.lines();
    let head = cells(lines.next().expect("a head"));
    lines.map(|line| head.iter().cloned().zip(cells(line)).collect()).collect()
}

fn number<T: std::str::FromStr>(row: &Row, column: &str) -> Option<T> {
    row.get(column)?.parse().ok()
}

fn table(function: u8) -> Option<Table> {
    [Table::Coil, Table::Discrete, Table::Holding, Table::Input]
        .get(usize::from(function.checked_sub(1)?))
        .copied()
}

/// The read that a request row asks for.
fn request(row: &Row) -> Option<Request> {
    let table = table(number(row, "modbus.func_code")?)?;
    let count = number(row, "modbus.word_cnt").or_else(|| number(row, "modbus.bit_cnt"))?;
    Some(Request::Read { table, start: number(row, "modbus.reference_num")?, count })
}

#[test]
fn captured_reads_are_encoded_and_decoded_as_tshark_does() {
    let Some(folder) = folder() else {
        eprintln!("no modbus_pcap in DAVY_DATA: the captures were not checked");
        return;
    };
    let mut checked = 0;
    for name in ["icsnpp_modbus_example", "modbus_test_data_part1"] {
        let pcap = std::fs::read(folder.join(format!("{name}.pcap"))).expect("the capture");
        let text = std::fs::read_to_string(folder.join(format!("{name}.tshark.csv")));
        let payloads = payloads(&pcap);
        let mut open: BTreeMap<(String, String), Request> = BTreeMap::new();
        for row in rows(&text.expect("the decode")) {
            let frame: usize = number(&row, "frame.number").expect("a number");
            let (transaction, unit) =
                (number(&row, "mbtcp.trans_id"), number(&row, "mbtcp.unit_id"));
            let (Some(transaction), Some(unit)) = (transaction, unit) else { continue };
            let from_device = row["tcp.srcport"] == "502";
            let client = if from_device { &row["tcp.dstport"] } else { &row["tcp.srcport"] };
            let key = (client.clone(), row["mbtcp.trans_id"].clone());
            if !from_device {
                let Some(request) = request(&row) else { continue };
                assert_eq!(
                    request.encode(transaction, unit),
                    payloads[&frame],
                    "{name} frame {frame}"
                );
                open.insert(key, request);
                checked += 1;
                continue;
            }
            let Some(request) = open.remove(&key) else { continue };
            let payload = &payloads[&frame];
            let head = header(payload[..HEADER_BYTES].try_into().expect("a header"));
            let head = head.expect("a Modbus header");
            assert_eq!((head.transaction, head.unit), (transaction, unit));
            let reply = request.answer(&payload[HEADER_BYTES..HEADER_BYTES + head.pdu_bytes]);
            let wanted = match number::<u8>(&row, "modbus.exception_code") {
                Some(code) => Some(Reply::Exception(Exception(code))),
                None => registers(&row).map(Reply::Words),
            };
            match (reply, wanted) {
                (Ok(reply), Some(wanted)) => assert_eq!(reply, wanted, "{name} frame {frame}"),
                // tshark prints no bits: that the answer is taken is what there is to see.
                (Ok(Reply::Words(_)), None) => {}
                (reply, wanted) => panic!("{name} frame {frame}: {reply:?}, tshark {wanted:?}"),
            }
            checked += 1;
        }
    }
    assert!(checked >= 20, "only {checked} frames were reads");
}

fn registers(row: &Row) -> Option<Vec<u16>> {
    let values = row.get("modbus.regval_uint16").filter(|values| !values.is_empty())?;
    Some(values.split(';').map(|value| value.parse().expect("a register")).collect())
}
