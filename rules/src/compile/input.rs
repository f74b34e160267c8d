//! Binds the inputs of a rule to series, windows and run states.

use super::scope::Candidate;
use super::{GAP_MS_MIN, GAP_POLLS, Missing, count};
use crate::catalogue::{InputSpec, Kind, MeasureSpec, Rule, Source};
use crate::evidence::Measure;
use crate::plan::{Binding, Plan, RunPlan, SeriesPlan, WindowPlan};
use crate::series::{Ms, SeriesKey};
use crate::site::{Device, Point, SiteModel, rating};
use std::collections::BTreeMap;

const MINUTE_MS: Ms = 60_000;
/// Shares of I_N at or above which a machine runs, below which it stands (domain.md §2.1).
const RUN_SHARE: (f64, f64) = (0.20, 0.10);
/// The same for power above idle.
const RUN_POWER_SHARE: (f64, f64) = (0.15, 0.10);

/// The inputs of one instance. Signals are numbered by kind until [`Signals::finish`].
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    pub(crate) bindings: Vec<Binding>,
    /// Longest poll period among the inputs, ms.
    pub(crate) period: Ms,
    /// Longest hold among the inputs, ms.
    pub(crate) gap: Ms,
}

/// Signals collected while compiling. While building, the two top bits of a signal's number say its kind.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    pub(crate) bindings: Vec<Binding>,
    series: Vec<SeriesPlan>,
    index: BTreeMap<SeriesKey, u32>,
    windows: Vec<WindowPlan>,
    window_index: BTreeMap<(u32, u16), u32>,
    runs: Vec<(Vec<Binding>, Ms, f64, f64)>,
    run_index: BTreeMap<(String, String), u32>,
}

const WINDOW: u32 = 1 << 30;
const RUN: u32 = 2 << 30;
const MEMORY: u32 = 3 << 30;
const NUMBER: u32 = (1 << 30) - 1;

impl Signals {
    /// Binds all inputs of a rule at a candidate; what is missing goes to `missing`.
    pub(crate) fn bind(
        &mut self,
        rule: &Rule,
        site: &SiteModel,
        candidate: &Candidate<'_>,
        missing: &mut Missing,
    ) -> Inputs {
        let mut inputs = Inputs::default();
        for id in &candidate.unknown {
            missing.push(format!("台账缺少设备 {id}"), format!("missing device {id} in registry"));
        }
        if rule.kind == Kind::InputUnknown {
            self.guards(site, candidate, &mut inputs);
        }
        if rule.kind == Kind::Stale {
            self.every_point(site, candidate, &mut inputs);
        }
        for spec in &rule.inputs {
            let devices = self.devices(rule, spec, site, candidate, missing);
            for device in devices {
                self.bind_device(rule, spec, site, device, &mut inputs, missing);
            }
        }
        inputs
    }

    fn every_point(&mut self, site: &SiteModel, candidate: &Candidate<'_>, inputs: &mut Inputs) {
        for device in &candidate.devices {
            for point in &device.points {
                inputs.period = inputs.period.max(point.period_ms);
                inputs.gap = inputs.gap.max(hold(point.period_ms));
                inputs.bindings.push(Binding {
                    signal: self.series(site, device, point),
                    member: 0,
                    rating: 1.0,
                    offset: 0.0,
                    measure: Measure::Value,
                });
            }
        }
    }

    fn guards(&mut self, site: &SiteModel, candidate: &Candidate<'_>, inputs: &mut Inputs) {
        for device in &candidate.production {
            // A machine whose run state cannot be told counts as running.
            let Some(run) = self.run(site, device, &mut Missing::default(), inputs) else {
                continue;
            };
            inputs.bindings.push(Binding {
                signal: MEMORY | run,
                member: 0,
                rating: 1.0,
                offset: 0.0,
                measure: Measure::LastRun,
            });
        }
    }

    fn devices<'a>(
        &self,
        rule: &Rule,
        spec: &InputSpec,
        site: &'a SiteModel,
        candidate: &Candidate<'a>,
        missing: &mut Missing,
    ) -> Vec<&'a Device> {
        match &spec.from {
            Source::Device | Source::Members => candidate.devices.clone(),
            Source::Production => candidate.production.clone(),
            Source::Protective if rule.kind == Kind::InputUnknown => {
                let with_role = |d: &&&Device| spec.roles.contains(&d.role);
                candidate.protective.iter().filter(with_role).copied().collect()
            }
            Source::Protective => candidate.protective.clone(),
            Source::Role(role) | Source::RoleIfAny(role) => {
                let found: Vec<_> = site.devices.iter().filter(|d| d.role == *role).collect();
                if found.is_empty() && matches!(spec.from, Source::Role(_)) {
                    missing.push(
                        format!("缺少角色为 {role} 的设备"),
                        format!("missing device with role {role}"),
                    );
                }
                found
            }
        }
    }

    fn bind_device(
        &mut self,
        rule: &Rule,
        spec: &InputSpec,
        site: &SiteModel,
        device: &Device,
        inputs: &mut Inputs,
        missing: &mut Missing,
    ) {
        if spec.measure == MeasureSpec::Run {
            if let Some(run) = self.run(site, device, missing, inputs) {
                let (rating, offset, member) = (1.0, 0.0, spec.member);
                let measure = Measure::Run;
                inputs.bindings.push(Binding {
                    signal: RUN | run,
                    member,
                    rating,
                    offset,
                    measure,
                });
            }
            return;
        }
        let sets = &spec.quantities;
        let Some(set) = sets.iter().find(|s| s.iter().all(|q| device.point(q).is_some())) else {
            let wanted = sets.iter().map(|s| s.join("+")).collect::<Vec<_>>();
            missing.push(
                format!("缺少测点 {} ({})", wanted.join(" 或 "), device.label().zh),
                format!("missing point {} of {}", wanted.join(" or "), device.label().en),
            );
            return;
        };
        let phase = set.iter().any(|q| q == "u_a");
        let Some(divisor) = divisor(spec, site, device, phase, missing) else { return };
        for quantity in set {
            let Some(point) = device.point(quantity) else { continue };
            let series = self.series(site, device, point);
            let measured = self.measure(rule, spec, series, point, missing);
            let Some((signal, measure)) = measured else { continue };
            inputs.period = inputs.period.max(point.period_ms);
            inputs.gap = inputs.gap.max(hold(point.period_ms));
            let member = spec.member;
            inputs.bindings.push(Binding { signal, member, rating: divisor, offset: 0.0, measure });
        }
    }

    fn measure(
        &mut self,
        rule: &Rule,
        spec: &InputSpec,
        series: u32,
        point: &Point,
        missing: &mut Missing,
    ) -> Option<(u32, Measure)> {
        let MeasureSpec::Mean(minutes) = spec.measure else {
            return Some((series, Measure::Value));
        };
        let length = Ms::from(minutes) * MINUTE_MS;
        if point.period_ms > length {
            if rule.kind == Kind::Activity {
                return Some((series, Measure::Value)); // slower than the window: taken as it is
            }
            missing.push(
                format!("{} 采样周期长于 {minutes} 分钟窗口", point.quantity),
                format!("{} is polled slower than the window of {minutes} min", point.quantity),
            );
            return None;
        }
        let expect = u32::try_from(length / point.period_ms.max(1)).unwrap_or(u32::MAX);
        let next = count(self.windows.len());
        let number = *self.window_index.entry((series, minutes)).or_insert(next);
        if number == next {
            self.windows.push(WindowPlan { series, minutes, expect });
        }
        Some((WINDOW | number, Measure::Mean { minutes }))
    }

    fn series(&mut self, site: &SiteModel, device: &Device, point: &Point) -> u32 {
        let key = SeriesKey::new(&*site.site, &*device.id, &*point.quantity);
        let next = count(self.series.len());
        let number = *self.index.entry(key.clone()).or_insert(next);
        if number == next {
            let gap = hold(point.period_ms);
            self.series.push(SeriesPlan { key, gap, device_name: device.label() });
        }
        number
    }

    /// Finds or makes the run state of a device: from its currents and I_N, else from its power.
    fn run(
        &mut self,
        site: &SiteModel,
        device: &Device,
        missing: &mut Missing,
        inputs: &mut Inputs,
    ) -> Option<u32> {
        let currents: Vec<&Point> =
            ["i_a", "i_b", "i_c"].iter().filter_map(|q| device.point(q)).collect();
        let get = |name: &str| device.ratings.get(name).copied().filter(|v| v.is_finite());
        let rated = get(rating::I_N).filter(|v| *v > 0.0);
        let powers = (get(rating::P_IDLE), get(rating::P_RUN), device.point("p_total"));
        let (points, divisor, offset, share) = match (rated, powers) {
            (Some(rated), _) if !currents.is_empty() => (currents, rated, 0.0, RUN_SHARE),
            (_, (Some(idle), Some(run), Some(point))) if run > idle => {
                (vec![point], run - idle, -idle, RUN_POWER_SHARE)
            }
            _ => {
                let label = device.label();
                missing.push(
                    format!("{} 缺少额定电流 I_N 与电流测点, 或 P_idle、P_run 与功率测点", label.zh),
                    format!(
                        "missing rating I_N of {} with a current point, or P_idle and P_run with p_total",
                        label.en
                    ),
                );
                return None;
            }
        };
        let period = points.iter().map(|p| p.period_ms).max().unwrap_or(0);
        inputs.period = inputs.period.max(period);
        inputs.gap = inputs.gap.max(hold(period));
        let key = (site.site.clone(), device.id.clone());
        if let Some(run) = self.run_index.get(&key) {
            return Some(*run);
        }
        let bindings = points
            .iter()
            .map(|p| Binding {
                signal: self.series(site, device, p),
                member: 0,
                rating: divisor,
                offset,
                measure: Measure::Value,
            })
            .collect();
        let run = count(self.runs.len());
        self.runs.push((bindings, hold(period), share.0, share.1));
        self.run_index.insert(key, run);
        Some(run)
    }

    /// Numbers all signals for good and hands them to the plan.
    pub(crate) fn finish(self, plan: &mut Plan) {
        let (s, w) = (count(self.series.len()), count(self.windows.len()));
        let r = count(self.runs.len());
        let number = |signal: u32| match signal & !NUMBER {
            WINDOW => s + (signal & NUMBER),
            RUN => s + w + (signal & NUMBER),
            MEMORY => s + w + r + (signal & NUMBER),
            _ => signal,
        };
        plan.bindings =
            self.bindings.into_iter().map(|b| Binding { signal: number(b.signal), ..b }).collect();
        for (bindings, gap, high, low) in self.runs {
            let from = plan.bindings.len();
            plan.bindings.extend(bindings);
            plan.runs.push(RunPlan { inputs: from..plan.bindings.len(), gap, high, low });
        }
        plan.series = self.series;
        plan.index = self.index;
        plan.windows = self.windows;
    }
}

/// Returns how long a value of a series with this period is held, ms.
pub(crate) fn hold(period_ms: Ms) -> Ms {
    (GAP_POLLS * period_ms).max(GAP_MS_MIN)
}

fn divisor(
    spec: &InputSpec,
    site: &SiteModel,
    device: &Device,
    phase: bool,
    missing: &mut Missing,
) -> Option<f64> {
    let Some(name) = spec.per.as_deref() else { return Some(1.0) };
    let found = device.ratings.get(name).copied().filter(|v| v.is_finite() && *v > 0.0);
    match (found, site.learning.get(name)) {
        // U_N is line to line; phase voltages are compared with U_N ÷ √3.
        (Some(value), _) if name == rating::U_N && phase => Some(value / 3f64.sqrt()),
        (Some(value), _) => Some(value),
        (None, Some(until)) => {
            missing.learning_until = missing.learning_until.max(Some(*until));
            None
        }
        (None, None) => {
            let label = device.label();
            missing.push(
                format!("{} 缺少额定值 {name}", label.zh),
                format!("missing rating {name} of {}", label.en),
            );
            None
        }
    }
}
