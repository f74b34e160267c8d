//! The rules as data: what a rule looks at, its levels, delays, texts, source clause and its own tests.
//!
//! Read from TOML, one file a family (`rules/catalogue/*.toml` are built in). Checked as a whole when loaded: an
//! unknown field, a level that names no parameter or a default outside its range is refused with file and rule.
//! The compiler joins it with the registry. It must never hold anything about one site.

mod check;

use crate::fact::RegState;
use crate::text::Text;
use crate::transition::Severity;
use serde::{Deserialize, Serialize};

/// The files built into the program, with their names.
pub const BUILT_IN: [(&str, &str); 5] = [
    ("behaviour.toml", include_str!("../catalogue/behaviour.toml")),
    ("supply.toml", include_str!("../catalogue/supply.toml")),
    ("protection.toml", include_str!("../catalogue/protection.toml")),
    ("process.toml", include_str!("../catalogue/process.toml")),
    ("trust.toml", include_str!("../catalogue/trust.toml")),
];

/// Most rules a catalogue may hold.
pub const RULES_MAX: usize = 256;

/// Why a catalogue was refused.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The file is not TOML of the right shape.
    #[error("cannot read rule file {file}: {message}")]
    Parse {
        /// File name.
        file: String,
        /// What and where, as the TOML reader says it.
        message: String,
    },
    /// The file reads well but says something impossible.
    #[error("rule {rule} in {file}: {message}")]
    Meaning {
        /// File name.
        file: String,
        /// Rule id.
        rule: String,
        /// What is wrong and how to mend it.
        message: String,
    },
}

/// All rules, sorted by id.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalogue {
    /// The rules.
    pub rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "rule")]
    rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Id, such as `R01a`: the catalogue number and a letter for the part.
    pub id: String,
    /// Version, counted up with each change of meaning.
    pub version: u32,
    /// The primitive it is made of.
    pub kind: Kind,
    /// Name.
    pub name: Text,
    /// What happens if nobody acts.
    pub consequence: Text,
    /// 处置卡: what the duty officer does, step by step.
    pub action: Vec<Text>,
    /// Source clause.
    pub source: Text,
    /// True where a number or clause must be checked against the standard's text before it is relied upon.
    #[serde(default)]
    pub verify: bool,
    /// Sector tags it is for; empty for all.
    #[serde(default)]
    pub sectors: Vec<String>,
    /// Where it stands.
    pub scope: ScopeSpec,
    /// What it looks at.
    #[serde(default, rename = "input")]
    pub inputs: Vec<InputSpec>,
    /// Its parameters.
    #[serde(default, rename = "param")]
    pub params: Vec<ParamSpec>,
    /// Its levels, mildest first.
    #[serde(default, rename = "level")]
    pub levels: Vec<LevelSpec>,
    /// How far planned work approved by the bureau suppresses the page.
    #[serde(default)]
    pub work: WorkMask,
    /// Whether a calibration of the device masks the page.
    #[serde(default)]
    pub calibration: bool,
    /// States of the site in which the rule has no business.
    #[serde(default)]
    pub not_when: Vec<RegState>,
    /// Site of its tests.
    #[serde(default)]
    pub fixture: Option<crate::site::SiteModel>,
    /// Further sites of its tests, for a rule over several.
    #[serde(default)]
    pub neighbours: Vec<crate::site::SiteModel>,
    /// Its tests.
    #[serde(default, rename = "test")]
    pub tests: Vec<TestSpec>,
}

/// The primitive a rule is made of; each is one form of [`crate::test::Test`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A value at or above a limit; a level with a second limit also needs member 1 to rise at least so fast.
    High,
    /// A value at or below a limit.
    Low,
    /// All inputs of member 0 below a share of their rating; a level may also need that no switch of member 1 is set.
    AllBelow,
    /// Member 0 runs, member 1 is off.
    RunsWithout,
    /// Member 0 runs, but all of member 1 stay below a share of what is usual.
    RunsWeak,
    /// So many marks of member 0 stand.
    Votes,
    /// Activity under an order.
    Activity,
    /// A motor runs under an order.
    RunOrdered,
    /// One phase is low, the others are not.
    OneLow,
    /// A value outside a band.
    Outside,
    /// A protective input is UNKNOWN while its equipment runs or holds material.
    InputUnknown,
    /// All inputs of member 1 silent while a contact of member 0 is closed.
    SilentWhile,
    /// No usable sample of a device for so long, or never any.
    Stale,
    /// No block of a gateway for so long, or never any; judged on receive time by [`crate::stale`].
    GatewayStale,
    /// A gateway's last will or last gasp together with those of its neighbours on a feeder; judged on receive time
    /// by [`crate::feeder`].
    FeederLost,
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ScopeSpec {
    /// Each device of these roles.
    Device {
        /// Roles; empty for every device.
        roles: Vec<String>,
        /// Only devices that have one of these quantities (or a suffixed one); empty for all.
        #[serde(default)]
        only: Vec<String>,
        /// Not the devices that have one of these but nothing of what the rule looks at: another sort of sensor.
        #[serde(default)]
        unless: Vec<String>,
    },
    /// Each pair of a kind.
    Pair {
        /// Kind of pair.
        kind: String,
    },
    /// Each group of a kind.
    Group {
        /// Kind of group.
        kind: String,
    },
    /// The site.
    Site,
    /// Each protected object.
    Object,
}

/// Which devices an input is taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The device the rule stands at.
    Device,
    /// The production side of the pair.
    Production,
    /// The protective side of the pair.
    Protective,
    /// Every member of the group.
    Members,
    /// Every member of the group and every device that protects it.
    Attached,
    /// Every device of the site with this role; at least one is needed.
    Role(String),
    /// Every device of the site with this role, if there is one.
    RoleIfAny(String),
}

/// One input of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputSpec {
    /// Side of the rule, see [`crate::test::Test`].
    #[serde(default)]
    pub member: u8,
    /// Which devices.
    pub from: Source,
    /// Sets of quantities, best first: the first set of which the device has all is taken. Empty for `run`.
    #[serde(default)]
    pub quantities: Vec<Vec<String>>,
    /// What is done with the quantity.
    #[serde(default)]
    pub measure: MeasureSpec,
    /// Rating the value is divided by: a name of [`crate::site::rating`], or `U_phase` for U_N ÷ √3.
    #[serde(default)]
    pub per: Option<String>,
    /// For kind `input_unknown`: roles of the devices whose quantity this is.
    #[serde(default)]
    pub roles: Vec<String>,
    /// Which of the devices must have it.
    #[serde(default)]
    pub need: Need,
    /// Kind of group whose other members (pumps by their run state, valves by `di_open`) must be known to stand while
    /// a [`MeasureSpec::Fall`] is taken.
    #[serde(default)]
    pub still: Option<String>,
    /// Where the rating `per` is not given, the median of the last 7 days in which the machine ran takes its place.
    #[serde(default)]
    pub learn: bool,
}

/// Which devices must have an input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// All of them, or the rule cannot run.
    #[default]
    All,
    /// All of them, or the levels that look at it cannot run.
    Level,
    /// At least one of all such inputs of this member: those that have it are taken.
    Some,
    /// None: those that have it are taken.
    None,
}

/// What is done with a quantity before it is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeasureSpec {
    /// Nothing.
    #[default]
    Value,
    /// Mean over so many whole minutes, at least 80 % covered; slower series are taken as they are.
    Mean(u16),
    /// The device's run state.
    Run,
    /// Change per hour over so many whole minutes (least squares through their means, at least 80 % covered).
    Slope(u16),
    /// How far the value fell over at most so many whole minutes in which nothing moved it, see [`InputSpec::still`].
    Fall(u16),
    /// Whether the value lay at or above a limit for a while, now or a short time ago.
    Mark(MarkSpec),
}

/// A mark of a series: set when a limit was reached for a delay, kept some time after. Numbers are names of parameters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkSpec {
    /// Limit.
    pub limit: String,
    /// Deadband: distance below the limit at which it is no longer reached.
    pub deadband: String,
    /// Delay before it is set, s.
    pub on: String,
    /// How long it is kept after the limit was last reached, s.
    pub keep: String,
}

/// One parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamSpec {
    /// Name.
    pub name: String,
    /// What it is, for people.
    pub label: Text,
    /// Default; without one the value must come from `rating` or an override.
    #[serde(default)]
    pub default: Option<f64>,
    /// Other defaults where a device or the site has a role or tag; the first that fits is taken.
    #[serde(default)]
    pub default_where: Vec<DefaultWhere>,
    /// Rating of the device (or of the site) it is taken from.
    #[serde(default)]
    pub rating: Option<String>,
    /// Unit; delays are in `s`.
    pub unit: String,
    /// Smallest value allowed.
    pub min: f64,
    /// Largest value allowed.
    pub max: f64,
    /// True where the default must be checked before it is relied upon.
    #[serde(default)]
    pub verify: bool,
}

/// One level of a rule. Numbers are names of parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelSpec {
    /// 红橙黄蓝.
    pub severity: Severity,
    /// Another severity where the device (or a device of the pair) has a role or tag.
    #[serde(default)]
    pub severity_where: Vec<SeverityWhere>,
    /// The source's own word for the level.
    #[serde(default)]
    pub source_level: Option<String>,
    /// Limit (also the lower edge of a band).
    #[serde(default)]
    pub limit: Option<String>,
    /// Second limit: upper edge of a band, "the others are above".
    #[serde(default)]
    pub second: Option<String>,
    /// Deadband: distance from the limit at which the level clears.
    #[serde(default)]
    pub deadband: Option<String>,
    /// Limit that clears, where it is given itself.
    #[serde(default)]
    pub clear: Option<String>,
    /// Delay before raising, s.
    pub on: String,
    /// Delay before clearing, s.
    pub off: String,
    /// Stays until a person resets it.
    #[serde(default)]
    pub latching: bool,
    /// Only where an earlier occurrence of the alarm, not masked, was raised at most so long before, s.
    #[serde(default)]
    pub again: Option<String>,
    /// For kind `all_below`: only while every switch of member 1 is known to be 0.
    #[serde(default)]
    pub unset: bool,
}

/// A default for some devices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultWhere {
    /// Role, device tag or sector tag.
    pub has: String,
    /// The default there.
    pub value: f64,
}

/// A severity for some devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeverityWhere {
    /// Role, device tag or sector tag.
    pub has: String,
    /// The severity there.
    pub severity: Severity,
}

/// How far planned work approved by the bureau suppresses a page. Work filed by a plant never does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkMask {
    /// Not at all: shown only.
    #[default]
    Never,
    /// Up to the power declared.
    Power,
    /// For the equipment named.
    Equipment,
}

/// One test of a rule, run by [`crate::selftest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestSpec {
    /// What it shows: `positive`, `negative`, `boundary`, `gap`, `unknown`, `work`, with words after it.
    pub name: String,
    /// What comes in, one line each, see [`crate::selftest`].
    pub feed: Vec<String>,
    /// What must come out: all transitions of this rule, in order.
    pub expect: Vec<String>,
}

impl Catalogue {
    /// Loads the rules built into the program.
    ///
    /// # Errors
    /// [`CatalogueError`] when a built-in file is wrong; a test of this crate excludes it.
    pub fn built_in() -> Result<Self, CatalogueError> {
        Self::load(&BUILT_IN)
    }

    /// Loads rule files given as (name, text).
    ///
    /// # Errors
    /// [`CatalogueError`] with the file and the rule.
    pub fn load(files: &[(&str, &str)]) -> Result<Self, CatalogueError> {
        let mut rules = Vec::new();
        for (name, text) in files {
            let file: File = toml::from_str(text).map_err(|e| CatalogueError::Parse {
                file: (*name).to_string(),
                message: e.to_string(),
            })?;
            for rule in file.rules {
                check::check(&rule).map_err(|message| CatalogueError::Meaning {
                    file: (*name).to_string(),
                    rule: rule.id.clone(),
                    message,
                })?;
                if rules.iter().any(|r: &Rule| r.id == rule.id) || rules.len() == RULES_MAX {
                    return Err(CatalogueError::Meaning {
                        file: (*name).to_string(),
                        rule: rule.id,
                        message: format!("id used twice, or more than {RULES_MAX} rules"),
                    });
                }
                rules.push(rule);
            }
        }
        rules.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(Self { rules })
    }

    /// Returns the catalogue without what only tests and pages need: this is what an engine keeps, many one and the same.
    pub fn bare(&self) -> Self {
        let mut rules = self.rules.clone();
        for rule in &mut rules {
            rule.fixture = None;
            rule.neighbours.clear();
            rule.tests.clear();
            rule.action.clear();
        }
        Self { rules }
    }

    /// Finds a rule by its id.
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|r| r.id == id)
    }
}

impl Rule {
    /// Finds a parameter by its name.
    pub fn param(&self, name: &str) -> Option<&ParamSpec> {
        self.params.iter().find(|p| p.name == name)
    }
}

impl LevelSpec {
    /// Returns the names of the parameters the level uses, delays last.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        [&self.limit, &self.second, &self.deadband, &self.clear, &self.again]
            .into_iter()
            .flatten()
            .chain([&self.on, &self.off])
            .map(String::as_str)
    }
}
