//! Random actions on the log and on a model of it, with crashes between them.

use std::collections::BTreeMap;

use super::*;

#[derive(Debug, Clone)]
enum Action {
    Block { gateway: u8, epoch: u64, seq: u64, size: usize },
    Other { kind: u8 },
    Covered { gateway: u8, epoch: u64, from: u64, width: u64 },
    Forget { gateway: u8, epoch: u64 },
    Put { key: u8, value: Option<u8> },
    Commit,
    Abandon,
    Crash,
    Evict { upto: u64, keep: Vec<u64> },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        8 => (0u8..3, 0u64..3, 1u64..40, 0usize..9000).prop_map(|(gateway, epoch, seq, size)|
            Action::Block { gateway, epoch, seq, size }),
        2 => (5u8..8).prop_map(|kind| Action::Other { kind }),
        1 => (0u8..3, 0u64..3, 1u64..40, 0u64..5).prop_map(|(gateway, epoch, from, width)|
            Action::Covered { gateway, epoch, from, width }),
        1 => (0u8..3, 0u64..3).prop_map(|(gateway, epoch)| Action::Forget { gateway, epoch }),
        2 => (1u8..5, prop::option::of(any::<u8>())).prop_map(|(key, value)| Action::Put { key, value }),
        4 => Just(Action::Commit),
        1 => Just(Action::Abandon),
        1 => Just(Action::Crash),
        1 => (0u64..60, prop::collection::vec(1u64..60, 0..5)).prop_map(|(upto, keep)|
            Action::Evict { upto, keep }),
    ]
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    records: BTreeMap<u64, Record>,
    sets: BTreeMap<(String, u64), EpochSets>,
    kv: BTreeMap<Vec<u8>, Vec<u8>>,
    next: u64,
}

fn name(gateway: u8) -> String {
    format!("gw-{gateway}")
}

/// Applies an action to an open transaction and to the model of it.
fn apply(txn: &mut Txn<'_>, model: &mut Model, action: &Action) {
    match action {
        Action::Block { gateway, epoch, seq, size } => {
            let (name, bytes) = (name(*gateway), vec![u8::try_from(*seq).unwrap(); *size]);
            let sets = model.sets.entry((name.clone(), *epoch)).or_default();
            assert_eq!(
                txn.epoch(&name, *epoch).is_some_and(|s| s.logged.contains(*seq)),
                sets.logged.contains(*seq)
            );
            if sets.logged.contains(*seq) {
                return;
            }
            sets.logged.insert(*seq, *seq).unwrap();
            sets.covered.insert(*seq, *seq).unwrap();
            sets.held.insert(*seq, *seq).unwrap();
            let position = txn.append_block(&block(&name, *epoch, *seq, &bytes)).unwrap();
            assert_eq!(position, model.next + 1);
            model.next = position;
            let new = block(&name, *epoch, *seq, &bytes);
            model.records.insert(position, kept(position, &new, true));
        }
        Action::Other { kind } => {
            let new = NewRecord { kind: *kind, gateway: "", ..block("", 3, 4, b"other") };
            model.next = txn.append(&new);
            model.records.insert(model.next, kept(model.next, &new, false));
        }
        Action::Covered { gateway, epoch, from, width } => {
            txn.add_covered(&name(*gateway), *epoch, *from, from + width).unwrap();
            let sets = model.sets.entry((name(*gateway), *epoch)).or_default();
            sets.covered.insert(*from, from + width).unwrap();
        }
        Action::Forget { gateway, epoch } => {
            txn.forget_epoch(&name(*gateway), *epoch);
            model.sets.remove(&(name(*gateway), *epoch));
        }
        Action::Put { key, value } => {
            let value = value.map(|v| vec![v; 3]);
            txn.put(&[*key], value.as_deref());
            match value {
                Some(v) => model.kv.insert(vec![*key], v),
                None => model.kv.remove(&vec![*key]),
            };
        }
        Action::Commit | Action::Abandon | Action::Crash | Action::Evict { .. } => {}
    }
}

fn kept(position: u64, new: &NewRecord<'_>, block: bool) -> Record {
    Record {
        position,
        kind: new.kind,
        gateway: new.gateway.to_owned(),
        epoch: new.epoch,
        seq: new.seq,
        received_at: new.received_at,
        meta: new.meta.to_vec(),
        bytes: new.bytes.to_vec(),
        block,
    }
}

fn check(log: &Log, model: &Model) {
    let reader = log.reader().unwrap();
    let held: Vec<Record> = model.records.values().cloned().collect();
    assert_eq!(records(&reader), held);
    assert_eq!(log.last_position(), model.next);
    let kv: Vec<_> = model.kv.clone().into_iter().collect();
    let found: Vec<_> = log.scan(b"").unwrap().into_iter().filter(|(k, _)| k[0] != 0).collect();
    assert_eq!(found, kv);
    for gateway in 0..3 {
        let name = name(gateway);
        for epoch in 0..3 {
            assert_eq!(log.epoch(&name, epoch), model.sets.get(&(name.clone(), epoch)));
        }
        let mine: Vec<_> = held.iter().filter(|r| r.block && r.gateway == name).collect();
        let bytes = mine.iter().map(|r| r.bytes.len() as u64).sum();
        assert_eq!(log.usage(&name), Usage { blocks: mine.len() as u64, bytes });
        for r in mine {
            // A block that is in the log keeps its digest unless the epoch was forgotten and the
            // same key logged again at a later position.
            assert!(log.block_sha(&name, r.epoch, r.seq).unwrap().is_some());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn log_agrees_with_a_model(actions in prop::collection::vec(action(), 1..80)) {
        let dir = TempDir::new().unwrap();
        let (mut log, _) = open(&dir);
        let mut model = Model::default();
        let mut queue: Vec<Action> = Vec::new();
        for action in actions {
            match action {
                Action::Commit => {
                    let mut txn = log.begin();
                    queue.drain(..).for_each(|a| apply(&mut txn, &mut model, &a));
                    txn.commit().unwrap();
                    check(&log, &model);
                }
                Action::Abandon => {
                    let mut txn = log.begin();
                    let mut scratch = model.clone();
                    queue.drain(..).for_each(|a| apply(&mut txn, &mut scratch, &a));
                    drop(txn);
                    check(&log, &model);
                }
                Action::Crash => {
                    drop(log);
                    log = open(&dir).0;
                    queue.clear();
                    check(&log, &model);
                }
                Action::Evict { upto, mut keep } => {
                    keep.sort_unstable();
                    while log.evict(upto, &keep).unwrap().more {}
                    model.records.retain(|p, r| {
                        let stays = *p > upto || keep.contains(p);
                        if let Some(sets) = model.sets.get_mut(&(r.gateway.clone(), r.epoch)) && !stays && r.block {
                            sets.held.remove(r.seq, r.seq).unwrap();
                        }
                        stays
                    });
                    check(&log, &model);
                }
                // A forgotten epoch may log a key again: only where nothing of it is in the log.
                Action::Forget { gateway, epoch }
                    if model.records.values().any(|r| r.gateway == name(gateway) && r.epoch == epoch)
                        || !queue.is_empty() => {}
                other => queue.push(other),
            }
        }
    }
}
