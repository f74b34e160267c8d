//! The evaluator of the centre's own samples: a real one with the rule of [`crate::selfwatch`], beside those of the
//! gateways. It begins anew at each start, is in no snapshot, and nothing it says reaches a journal.

use rules::evaluator::{Evaluator, Limits, Record};

use super::centre::{Again, Said};
use super::convert::Converter;
use crate::log::record::CentreRecord;
use crate::log::{Follower, LogRecord, RecordBody};
use crate::selfwatch::{catalogue, is_synthetic, model};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct OwnTest(Option<Fed>);

#[derive(Debug)]
struct Fed {
    evaluator: Evaluator<rules::Engine>,
    converter: Converter,
}

impl Fed {
    fn new(gateway: &str) -> Self {
        let engine = rules::Engine::new(&catalogue(), &[model(gateway)], gateway);
        let evaluator = Evaluator::new(engine, Limits::default());
        Self { evaluator, converter: Converter::default() }
    }
}

impl OwnTest {
    /// Takes any record of the log and says what the test alarm does, under the name of the centre's own gateway.
    pub(super) fn take(&mut self, record: &LogRecord, log: &mut Follower, out: &mut Vec<Said>) {
        match &record.body {
            RecordBody::Centre(CentreRecord::Start { .. }) => self.0 = None,
            // Each start joins an epoch of its own, and what it follows does not matter here.
            RecordBody::Centre(CentreRecord::Chain { epoch, last, .. })
                if is_synthetic(&record.gateway) =>
            {
                let fed = self.0.insert(Fed::new(&record.gateway));
                let chain = Record::Chain { epoch: *epoch, last: *last };
                fed.take(record, chain, log, out);
            }
            RecordBody::Block { block, decided } if is_synthetic(&record.gateway) => {
                let Some(fed) = &mut self.0 else { return };
                let block = fed.converter.block(block, decided, fed.evaluator.series());
                fed.take(record, Record::Block(Box::new(block)), log, out);
            }
            _ => {}
        }
    }
}

impl Fed {
    fn take(
        &mut self,
        record: &LogRecord,
        taken: Record<rules::Engine>,
        log: &mut Follower,
        out: &mut Vec<Said>,
    ) {
        let mut said = Vec::new();
        let mut again = Again { log, converter: &mut self.converter };
        self.evaluator.record(record.position, taken, &mut again, &mut said);
        out.extend(said.into_iter().map(|output| Said { gateway: record.gateway.clone(), output }));
    }
}
