//! Replays what the fuzzer keeps in `fuzz/corpus/decode`, so that every finding stays found without a nightly compiler.

use std::path::Path;

use wire::Block;
use wire::manifest::Manifest;
use wire::message::{Ack, Command, State, Uplink};

#[test]
fn every_file_of_the_corpus_decodes_or_is_refused() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/decode");
    let mut files = 0;
    for file in std::fs::read_dir(corpus).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        drop((
            Uplink::decode(&bytes),
            Ack::decode(&bytes),
            State::decode(&bytes),
            Command::decode(&bytes),
        ));
        drop(Manifest::decode(&bytes));
        if let Ok(block) = Block::decode(&bytes) {
            assert_eq!(Block::decode(&block.encode()), Ok(block));
        }
        files += 1;
    }
    assert!(files >= 4, "the corpus holds {files} files");
}
