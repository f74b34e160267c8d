//! Alarms that are active on the desk and that no evaluator holds after a start.
//!
//! Most were raised after the newest snapshot: the log brings them again, and often their end too. What is left then are those
//! whose log was lost, with a backup older than they are in its place. The gateway sends again what it holds, and the evaluator
//! raises them itself. Where what raised them is gone for good and the condition does not hold now, nobody would ever clear
//! them: this does, and says why.

use rules::evaluator::Progress;
use rules::{GatewayMonitor, RuleState, Standing, Text};

use super::{Cursor, CursorError, Engines};
use crate::alarms::ActiveAlarm;

/// What becomes of an orphan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Not known yet.
    Waits,
    /// An evaluator holds it now.
    Taken,
    /// Everything was run through, and the condition does not hold.
    Over,
}

impl<E: Engines> Cursor<E> {
    /// Finds them, at a start.
    pub(super) fn find_orphans(&mut self) -> Result<(), CursorError> {
        let active = self.ask(|state| async move { state.active_alarms().await })?;
        // Silence of a gateway is the centre's own judgement, by its own clock.
        let judged = active.into_iter().filter(|alarm| !GatewayMonitor::makes(&alarm.transition));
        let orphans: Vec<_> = judged.filter(|alarm| self.fate(alarm) != Fate::Taken).collect();
        if !orphans.is_empty() {
            tracing::info!(
                alarms = orphans.len(),
                "alarms are active that the snapshots do not hold: they wait for what the log and the gateways bring"
            );
        }
        self.orphans = orphans;
        Ok(())
    }

    /// Lets go of those that an evaluator holds now, and ends those that are over.
    pub(super) fn keep_orphans(&mut self) -> Result<(), CursorError> {
        if self.orphans.is_empty() || self.position < self.log.shared().tail.head() {
            return Ok(());
        }
        let mut over = Vec::new();
        for alarm in std::mem::take(&mut self.orphans) {
            match self.fate(&alarm) {
                Fate::Taken => {}
                Fate::Waits => self.orphans.push(alarm),
                Fate::Over => over.push(alarm.transition),
            }
        }
        if over.is_empty() {
            return Ok(());
        }
        // What the log brought may have ended them already, with its own reason.
        self.apply_now()?;
        let active = self.ask(|state| async move { state.active_alarms().await })?;
        over.retain(|orphan| active.iter().any(|alarm| alarm.transition == *orphan));
        for transition in over {
            tracing::warn!(rule = %transition.rule, site = %transition.scope.site, object = %transition.scope.object,
                "what raised an alarm is in no log any more and its condition does not hold: it is closed");
            let why = Text::new(
                "触发该报警的数据已不在中心日志中(如日志由备份恢复), 当前条件不成立, 报警关闭",
                "the readings that raised this are in the centre's log no more, as after a restore from a backup, and the condition does not hold now",
            );
            self.close(super::super::snapshot::CENTRE, transition, why);
        }
        Ok(())
    }

    fn fate(&self, alarm: &ActiveAlarm) -> Fate {
        let transition = &alarm.transition;
        let mut is_over = false;
        for (name, progress) in self.centre.progress() {
            let states = self.centre.states(name);
            let is_it = |s: &&RuleState| s.rule == transition.rule && s.scope == transition.scope;
            let Some(state) = states.iter().find(is_it) else { continue };
            if state.active.is_some() {
                return Fate::Taken;
            }
            is_over = is_quiet(state) && is_past(&progress, transition.t);
            if !is_over {
                return Fate::Waits;
            }
        }
        if is_over { Fate::Over } else { Fate::Waits }
    }
}

/// It runs, knows its inputs, and nothing is on its way.
fn is_quiet(state: &RuleState) -> bool {
    state.standing == Standing::Evaluating && !state.unknown && state.pending.is_none()
}

/// No hole is open, and the time of the alarm lies behind.
fn is_past(progress: &Progress, t: i64) -> bool {
    let is_behind = progress.live_at.is_some_and(|at| at > t);
    !progress.is_forked && progress.waiting == 0 && is_behind
}
