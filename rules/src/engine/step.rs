//! The engine as the evaluator sees it.

use super::Engine;
use crate::evaluator::step::{Step, Turn, Verdict};
use crate::fact::{Fact, Worth};
use crate::series::{Ms, Quality, SeriesKey};
use crate::test::Test;
use crate::transition::{Scope, Transition, TransitionKey, TransitionKind};

impl Verdict for Transition {
    type Condition = (String, Scope);
    type Key = TransitionKey;

    fn condition(&self) -> Self::Condition {
        (self.rule.clone(), self.scope.clone())
    }

    fn key(&self) -> TransitionKey {
        Transition::key(self)
    }

    fn turn(&self) -> Turn {
        match self.kind {
            TransitionKind::Raise => Turn::Raise,
            TransitionKind::LevelUp | TransitionKind::Unsuppress => Turn::Rise,
            TransitionKind::LevelDown => Turn::Lower,
            TransitionKind::Clear => Turn::Clear,
        }
    }

    fn severity(&self) -> u8 {
        self.level.number()
    }

    fn time(&self) -> Ms {
        self.t
    }

    fn segment(&self) -> u32 {
        self.segment
    }

    fn is_silence(&self) -> bool {
        matches!(self.evidence.test, Test::Silent { .. })
    }

    fn is_suppressed(&self) -> bool {
        Transition::is_suppressed(self)
    }
}

impl Step for Engine {
    type Transition = Transition;
    type Fact = Fact;
    type Series = SeriesKey;
    type Quality = Quality;

    fn worth(fact: &Fact) -> Worth {
        Fact::worth(fact)
    }

    fn series_index(&self, series: &SeriesKey) -> Option<u32> {
        Engine::series_index(self, series)
    }

    fn sample(
        &mut self,
        series: u32,
        t: Ms,
        value: f64,
        quality: Quality,
        out: &mut Vec<Transition>,
    ) {
        Engine::sample(self, series, t, value, quality, out);
    }

    fn fact(&mut self, fact: &Fact, at: Ms, out: &mut Vec<Transition>) {
        Engine::fact(self, fact, at, out);
    }

    fn advance(&mut self, closing: Ms, out: &mut Vec<Transition>) {
        Engine::advance(self, closing, out);
    }

    fn segment(&mut self, t: Ms) {
        Engine::segment(self, t);
    }

    fn hole(&mut self, resumes: Ms) {
        Engine::hole(self, resumes);
    }

    fn due(&self) -> Option<Ms> {
        Engine::due(self)
    }
}
