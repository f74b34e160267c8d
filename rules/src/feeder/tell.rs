//! Says what the feeder monitor found. Neighbours are counted, never named: a plant reads no other plant's row.

use super::{FeederMonitor, Found, Watch};
use crate::ENGINE_VERSION;
use crate::evidence::{Evidence, Input, Intermediate, Measure};
use crate::series::{Ms, Quality, SeriesKey};
use crate::test::Test;
use crate::text::Text;
use crate::transition::{Transition, TransitionKind};

impl FeederMonitor {
    pub(super) fn tell(
        &self,
        watch: &Watch,
        found: Found,
        kind: TransitionKind,
        t: Ms,
    ) -> Transition {
        let since = if kind == TransitionKind::Clear { t } else { found.at };
        Transition {
            rule: watch.rule.clone(),
            scope: watch.scope.clone(),
            level: watch.severity,
            source_level: watch.source_level.clone(),
            kind,
            t,
            since,
            segment: 0,
            latching: false,
            evidence: Box::new(self.evidence(watch, found, kind, since, t)),
        }
    }

    fn evidence(
        &self,
        watch: &Watch,
        found: Found,
        kind: TransitionKind,
        since: Ms,
        t: Ms,
    ) -> Evidence {
        let input = |gateway: &String| Input {
            series: SeriesKey::new(&*watch.scope.site, &**gateway, ""),
            device_name: Text::same(&**gateway),
            measure: Measure::Value,
            unit: String::new(),
            value: None,
            quality: Quality::Stale,
            t: self.gateways.get(gateway).and_then(|seen| seen.lost).map(|lost| lost.at),
            member: 0,
            rating: 1.0,
        };
        let count = |name: &str, n: u32| Intermediate {
            name: name.into(),
            value: Some(f64::from(n)),
            unit: String::new(),
        };
        Evidence {
            engine_version: ENGINE_VERSION,
            rule: watch.rule.clone(),
            rule_version: watch.rule_version,
            rule_name: watch.rule_name.clone(),
            scope: watch.scope.clone(),
            site_name: watch.site_name.clone(),
            object_name: watch.site_name.clone(),
            utc_offset_min: watch.utc_offset_min,
            kind,
            level: watch.severity,
            source_level: watch.source_level.clone(),
            test: Test::Neighbours {
                need: watch.numbers.neighbours,
                within_ms: watch.numbers.within,
            },
            parameters: watch.parameters.clone(),
            fact_revision: 0,
            facts: vec![],
            inputs: watch.gateways.iter().map(input).collect(),
            intermediates: vec![
                count("neighbours", found.neighbours),
                count("gasps", found.gasps),
                count("outside", found.outside),
                count("outside_alive", found.outside_alive),
            ],
            value: None,
            limit: None,
            clear_limit: None,
            unit: String::new(),
            on_ms: watch.numbers.settle,
            off_ms: 0,
            observed_ms: t - found.at,
            since,
            samples_from: found.at,
            samples_to: t,
            suppression: None,
            note: None,
        }
    }
}
