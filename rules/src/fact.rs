//! What a person or an office recorded: orders, approvals, work windows, calibrations, the registry itself.
//!
//! Made by the centre's state database, logged, and handed to the engine at the place where the log has it.
//! A fact joins the event-time order at max(valid from, recorded at); it never changes what was judged before.

use crate::series::Ms;
use crate::site::SiteModel;
use crate::text::Text;
use serde::{Deserialize, Serialize};

/// Longest time a calibration masks a page, ms (2 h).
pub const CALIBRATION_MS_MAX: Ms = 2 * 3_600_000;

/// Regulatory state of a site 监管状态.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegState {
    /// 正常.
    Normal,
    /// 停产整顿.
    Rectification,
    /// 停产停业.
    Suspended,
    /// 停建.
    ConstructionHalted,
    /// 检修(报备).
    Maintenance,
    /// 待复产验收.
    AwaitingAcceptance,
    /// 长期停产.
    LongStopped,
    /// 关闭.
    Closed,
}

impl RegState {
    /// Tells whether production is forbidden in this state.
    pub fn forbids_production(self) -> bool {
        matches!(
            self,
            Self::Rectification
                | Self::Suspended
                | Self::ConstructionHalted
                | Self::LongStopped
                | Self::Closed
        )
    }

    /// Returns the name in both languages.
    pub fn text(self) -> Text {
        match self {
            Self::Normal => Text::new("正常", "normal"),
            Self::Rectification => Text::new("停产整顿", "stopped for rectification"),
            Self::Suspended => Text::new("停产停业", "production suspended"),
            Self::ConstructionHalted => Text::new("停建", "construction halted"),
            Self::Maintenance => Text::new("检修", "maintenance"),
            Self::AwaitingAcceptance => {
                Text::new("待复产验收", "awaiting acceptance of resumption")
            }
            Self::LongStopped => Text::new("长期停产", "stopped for long"),
            Self::Closed => Text::new("关闭", "closed"),
        }
    }
}

/// One revision of one fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// Identity over all revisions.
    pub id: String,
    /// Number of this revision in the centre's one count of fact revisions.
    pub revision: u64,
    /// Site it is about.
    pub site: String,
    /// Valid from.
    pub valid_from: Ms,
    /// Valid until (exclusive), `None` for open end.
    pub valid_to: Option<Ms>,
    /// When it was recorded.
    pub recorded_at: Ms,
    /// True when this revision takes the fact back.
    pub withdrawn: bool,
    /// What it says.
    pub body: FactBody,
}

/// What goes first where there is no room for all facts: the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worth {
    /// Planned work that a plant filed: it is shown and changes nothing.
    Filed,
    /// Planned work that the bureau approved: losing it makes an alarm page that need not.
    Approved,
    /// Orders, approvals to resume, calibrations, the registry: losing one would make a rule judge wrongly.
    Binding,
}

impl Fact {
    /// What is lost where this fact is.
    #[must_use]
    pub fn worth(&self) -> Worth {
        match &self.body {
            FactBody::Work { approved_by: None, .. } => Worth::Filed,
            FactBody::Work { approved_by: Some(_), .. } => Worth::Approved,
            FactBody::RegState { .. }
            | FactBody::Approval { .. }
            | FactBody::Calibration { .. }
            | FactBody::Site { .. } => Worth::Binding,
        }
    }
}

/// What a fact says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactBody {
    /// An order or any other change of the regulatory state (停产令).
    RegState {
        /// The state while it is valid.
        state: RegState,
        /// Document number 文号.
        document: String,
        /// Security load declared in the order's file, kW.
        base_kw: Option<f64>,
    },
    /// Approval to resume production 复产批复: ends the effect of earlier orders while valid.
    Approval {
        /// Document number 文号.
        document: String,
    },
    /// Planned work 报备.
    Work {
        /// What is done (检修, 试车, 动火, 受限空间, 演练).
        work: String,
        /// Devices it covers; empty for the whole site.
        devices: Vec<String>,
        /// Power declared, kW.
        declared_kw: Option<f64>,
        /// Who of the bureau approved it; `None` when the plant filed it: then it is shown only.
        approved_by: Option<String>,
    },
    /// Calibration of detectors 标校: masks the page of gas alarms of these devices, at most 2 h.
    Calibration {
        /// Detectors.
        devices: Vec<String>,
    },
    /// A new revision of what the registry knows of the site.
    Site {
        /// The whole model, replacing the earlier one.
        model: Box<SiteModel>,
    },
}
