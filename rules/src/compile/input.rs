//! Binds the inputs of a rule to series, windows and run states.

use super::param::Numbers;
use super::scope::Candidate;
use super::{DELAY_POLLS_MIN, GAP_MS_MIN, GAP_POLLS, Missing, count};
use crate::catalogue::{InputSpec, Kind, MeasureSpec, Need, Rule, Source};
use crate::evidence::Measure;
use crate::plan::{Binding, How, LearnPlan, MarkPlan, Plan, RunPlan, SeriesPlan, WindowPlan};
use crate::series::{Ms, SeriesKey};
use crate::site::{Device, Point, SiteModel, rating};
use crate::text::Text;
use std::collections::{BTreeMap, BTreeSet};

const MINUTE_MS: Ms = 60_000;
const HOUR_MS: Ms = 3_600_000;
/// How often a point is bound about.
const BINDINGS_EACH: usize = 4;
/// Fewest samples that make a trend.
const TREND_POINTS_MIN: Ms = 3;
/// Quantity that says of a valve whether it is open.
const VALVE_OPEN: &str = "di_open";
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
    /// An input that only some levels look at is not there: these cannot run.
    pub(crate) is_partial: bool,
}

/// Signals collected while compiling. While building, the top bits of a signal's number say its kind.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    pub(crate) bindings: Vec<Binding>,
    series: Vec<SeriesPlan>,
    index: BTreeMap<SeriesKey, u32>,
    windows: Vec<(WindowPlan, Vec<Binding>)>,
    window_index: BTreeMap<(u32, u16, How), u32>,
    runs: Vec<(Vec<Binding>, Ms, f64, f64)>,
    run_index: BTreeMap<(String, String), u32>,
    marks: Vec<MarkPlan>,
    learns: Vec<(LearnPlan, Vec<Binding>)>,
}

const WINDOW: u32 = 1 << 28;
const RUN: u32 = 2 << 28;
const MEMORY: u32 = 3 << 28;
const MARK: u32 = 4 << 28;
const NUMBER: u32 = (1 << 28) - 1;

/// One place of a rule, while its inputs are bound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a, 's> {
    pub(crate) rule: &'a Rule,
    pub(crate) site: &'s SiteModel,
    pub(crate) candidate: &'a Candidate<'s>,
    pub(crate) numbers: &'a Numbers,
}

impl Signals {
    /// Makes room for the series of so many points and what is bound to them.
    pub(crate) fn reserve(&mut self, points: usize) {
        self.series.reserve(points);
        self.bindings.reserve(points * BINDINGS_EACH);
    }

    /// Binds all inputs of a rule at a candidate; what is missing goes to `missing`, what only some levels lack to
    /// `lacking`.
    pub(crate) fn bind(
        &mut self,
        at: At<'_, '_>,
        lacking: &mut Vec<Text>,
        missing: &mut Missing,
    ) -> Inputs {
        let At { rule, site, candidate, .. } = at;
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
            self.bind_spec(at, spec, &mut inputs, lacking, missing);
        }
        some_of_each(rule, &inputs, candidate, missing);
        inputs
    }

    fn bind_spec(
        &mut self,
        at: At<'_, '_>,
        spec: &InputSpec,
        inputs: &mut Inputs,
        lacking: &mut Vec<Text>,
        missing: &mut Missing,
    ) {
        let mut devices = self.devices(at.rule, spec, at.site, at.candidate, missing);
        if matches!(spec.need, Need::Some | Need::None) {
            devices.retain(|d| spec.quantities.iter().any(|s| has_all(d, s)));
        }
        if spec.need != Need::Level {
            for device in devices {
                self.bind_device(at, spec, device, inputs, missing);
            }
            return;
        }
        let (mut part, mut lacks) = (Inputs::default(), Missing::default());
        for device in devices {
            self.bind_device(at, spec, device, &mut part, &mut lacks);
        }
        if lacks.is_empty() {
            inputs.bindings.append(&mut part.bindings);
            inputs.period = inputs.period.max(part.period);
            inputs.gap = inputs.gap.max(part.gap);
        } else {
            inputs.is_partial = true;
            lacking.append(&mut lacks.texts);
        }
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
                    learnt: None,
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
                learnt: None,
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
            Source::Attached => {
                let mut found = candidate.devices.clone();
                let object = Some(candidate.object.as_str());
                let others = site.devices.iter().filter(|d| d.protects.as_deref() == object);
                for device in others {
                    if !found.iter().any(|d| d.id == device.id) {
                        found.push(device);
                    }
                }
                found
            }
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
        at: At<'_, '_>,
        spec: &InputSpec,
        device: &Device,
        inputs: &mut Inputs,
        missing: &mut Missing,
    ) {
        let (site, member) = (at.site, spec.member);
        if spec.measure == MeasureSpec::Run {
            if let Some(run) = self.run(site, device, missing, inputs) {
                inputs.bindings.push(Binding {
                    signal: RUN | run,
                    member,
                    rating: 1.0,
                    offset: 0.0,
                    learnt: None,
                    measure: Measure::Run,
                });
            }
            return;
        }
        let sets = &spec.quantities;
        let Some(set) = sets.iter().find(|s| has_all(device, s)) else {
            let wanted = sets.iter().map(|s| s.join("+")).collect::<Vec<_>>();
            missing.push(
                format!("缺少测点 {} ({})", wanted.join(" 或 "), device.label().zh),
                format!("missing point {} of {}", wanted.join(" or "), device.label().en),
            );
            return;
        };
        let phase = set.iter().any(|q| q == "u_a");
        let is_learnt = spec.learn && spec.per.as_deref().is_some_and(|n| !is_rated(device, n));
        let divisor =
            if is_learnt { Some(1.0) } else { divisor(spec, site, device, phase, missing) };
        let Some(rating) = divisor else { return };
        for quantity in set {
            let Some(point) = device.point(quantity) else { continue };
            let series = self.series(site, device, point);
            let measured = self.measure(at, spec, device, (series, point), missing);
            let Some((signal, measure)) = measured else { continue };
            inputs.period = inputs.period.max(point.period_ms);
            inputs.gap = inputs.gap.max(hold(point.period_ms));
            let learnt = is_learnt.then(|| self.learn(at, device, series, point, inputs));
            inputs.bindings.push(Binding { signal, member, rating, offset: 0.0, learnt, measure });
        }
    }

    fn measure(
        &mut self,
        at: At<'_, '_>,
        spec: &InputSpec,
        device: &Device,
        (series, point): (u32, &Point),
        missing: &mut Missing,
    ) -> Option<(u32, Measure)> {
        let (minutes, how, measure) = match &spec.measure {
            MeasureSpec::Value | MeasureSpec::Run => return Some((series, Measure::Value)),
            MeasureSpec::Mark(mark) => {
                let plan = at.numbers.mark(mark, series, DELAY_POLLS_MIN * point.period_ms)?;
                self.marks.push(plan);
                return Some((MARK | count(self.marks.len() - 1), Measure::Mark));
            }
            MeasureSpec::Mean(minutes) => {
                (*minutes, How::Mean, Measure::Mean { minutes: *minutes })
            }
            MeasureSpec::Slope(minutes) => {
                (*minutes, How::Slope, Measure::Slope { minutes: *minutes })
            }
            MeasureSpec::Fall(minutes) => {
                (*minutes, How::Fall, Measure::Fall { minutes: *minutes })
            }
        };
        let length = Ms::from(minutes) * MINUTE_MS;
        let points_min = if how == How::Mean { 1 } else { TREND_POINTS_MIN };
        if point.period_ms * points_min > length {
            if at.rule.kind == Kind::Activity {
                return Some((series, Measure::Value)); // slower than the window: taken as it is
            }
            missing.push(
                format!("{} 采样周期长于 {minutes} 分钟窗口", point.quantity),
                format!("{} is polled slower than the window of {minutes} min", point.quantity),
            );
            return None;
        }
        let gate = match (&spec.still, how) {
            (Some(kind), How::Fall) => self.gate(at, kind, device, missing)?,
            _ => vec![],
        };
        let expect = u32::try_from(length / point.period_ms.max(1)).unwrap_or(u32::MAX);
        let next = count(self.windows.len());
        let number = *self.window_index.entry((series, minutes, how)).or_insert(next);
        if number == next {
            let plan = WindowPlan { series, minutes, expect, how, gate: 0..0 };
            self.windows.push((plan, gate));
        }
        Some((WINDOW | number, measure))
    }

    /// What moves the content of a device: pumps by their run state, valves by `di_open`.
    fn gate(
        &mut self,
        at: At<'_, '_>,
        kind: &str,
        device: &Device,
        missing: &mut Missing,
    ) -> Option<Vec<Binding>> {
        let groups = at.site.groups.iter();
        let of_device = groups.filter(|g| g.kind == kind && g.devices.contains(&device.id));
        let mut ids: Vec<&String> = of_device.flat_map(|g| &g.devices).collect();
        ids.sort();
        ids.dedup();
        let movers = ids.into_iter().filter_map(|id| at.site.device(id));
        let movers: Vec<_> = movers.filter(|d| d.role != device.role).collect();
        if movers.is_empty() {
            missing.push(
                format!("缺少设备组({kind}): {} 及移动其物料的全部泵、阀", device.label().zh),
                format!(
                    "missing group of kind {kind}: {} with every pump and valve that moves its content",
                    device.label().en
                ),
            );
            return None;
        }
        let mut gate = Vec::new();
        let plain = |signal| Binding {
            signal,
            member: 0,
            rating: 1.0,
            offset: 0.0,
            learnt: None,
            measure: Measure::Value,
        };
        for mover in movers {
            if let Some(point) = mover.point(VALVE_OPEN) {
                gate.push(plain(self.series(at.site, mover, point)));
            } else {
                let run = self.run(at.site, mover, missing, &mut Inputs::default())?;
                gate.push(plain(RUN | run));
            }
        }
        Some(gate)
    }

    /// Begins to learn what is usual for a series: while its own machine runs, or any machine of the rule.
    fn learn(
        &mut self,
        at: At<'_, '_>,
        device: &Device,
        series: u32,
        point: &Point,
        inputs: &Inputs,
    ) -> u32 {
        let (mut none, mut nothing) = (Inputs::default(), Missing::default());
        let own = self.run(at.site, device, &mut nothing, &mut none).map(|run| RUN | run);
        let runs = inputs.bindings.iter().filter(|b| b.measure == Measure::Run).copied();
        let gate = runs.filter(|b| own.is_none_or(|own| own == b.signal)).collect();
        let expect = u32::try_from(HOUR_MS / point.period_ms.max(1)).unwrap_or(u32::MAX);
        self.learns.push((LearnPlan { series, expect, gate: 0..0 }, gate));
        count(self.learns.len() - 1)
    }

    fn series(&mut self, site: &SiteModel, device: &Device, point: &Point) -> u32 {
        let key = SeriesKey::new(&*site.site, &*device.id, &*point.quantity);
        if let Some(number) = self.index.get(&key) {
            return *number;
        }
        let (number, gap) = (count(self.series.len()), hold(point.period_ms));
        self.index.insert(key.clone(), number);
        self.series.push(SeriesPlan { key, gap, device_name: device.label() });
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
                learnt: None,
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
            MARK => s + w + 2 * r + (signal & NUMBER),
            _ => signal,
        };
        let place = |plan: &mut Plan, bindings: Vec<Binding>| {
            let from = plan.bindings.len();
            let numbered = bindings.into_iter().map(|b| Binding { signal: number(b.signal), ..b });
            plan.bindings.extend(numbered);
            from..plan.bindings.len()
        };
        // By far the most: renumbered where they lie.
        plan.bindings = self.bindings;
        plan.bindings.iter_mut().for_each(|b| b.signal = number(b.signal));
        for (bindings, gap, high, low) in self.runs {
            let inputs = place(plan, bindings);
            plan.runs.push(RunPlan { inputs, gap, high, low });
        }
        for (window, gate) in self.windows {
            let gate = place(plan, gate);
            plan.windows.push(WindowPlan { gate, ..window });
        }
        for (learn, gate) in self.learns {
            let gate = place(plan, gate);
            plan.learns.push(LearnPlan { gate, ..learn });
        }
        plan.series = self.series;
        plan.index = self.index;
        plan.marks = self.marks;
    }
}

fn has_all(device: &Device, set: &[String]) -> bool {
    set.iter().all(|q| device.point(q).is_some())
}

/// Names the inputs of which at least one device must have something, and none has.
fn some_of_each(rule: &Rule, inputs: &Inputs, candidate: &Candidate<'_>, missing: &mut Missing) {
    let some = |spec: &&InputSpec| spec.need == Need::Some;
    let members: BTreeSet<u8> = rule.inputs.iter().filter(some).map(|s| s.member).collect();
    for member in members {
        if inputs.bindings.iter().any(|b| b.member == member) {
            continue;
        }
        let specs = rule.inputs.iter().filter(some).filter(|s| s.member == member);
        let wanted: Vec<_> = specs.flat_map(|s| &s.quantities).map(|set| set.join("+")).collect();
        missing.push(
            format!("缺少测点 {} ({})", wanted.join(" 或 "), candidate.name.zh),
            format!("missing point {} of {}", wanted.join(" or "), candidate.name.en),
        );
    }
}

/// Returns how long a value of a series with this period is held, ms.
pub(crate) fn hold(period_ms: Ms) -> Ms {
    (GAP_POLLS * period_ms).max(GAP_MS_MIN)
}

fn is_rated(device: &Device, name: &str) -> bool {
    device.ratings.get(name).is_some_and(|v| v.is_finite() && *v > 0.0)
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
