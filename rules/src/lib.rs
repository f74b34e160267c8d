//! The rule engine: what makes an alarm of samples and facts, and says why.
//!
//! Called by the gateway (edge copy) and by the centre's evaluator with the same inputs and the same result.
//! Pure: it has no clock, does no I/O, and uses no maths from the platform's library, so that edge, centre,
//! replay and back-test agree byte for byte. Times are Unix milliseconds (UTC) handed in by the caller.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`catalogue`] | the rules as data, built in from `rules/catalogue/*.toml` |
//! | [`engine`] | all rule instances of one gateway: samples and facts in, transitions out |
//! | [`stale`] | gateways that send nothing, judged on receive time |
//! | [`feeder`] | gateways that go together with their neighbours on a feeder, judged on receive time |
//! | [`selftest`] | runs the tests inside each rule |
//! | [`evaluator`] | the settled and the live evaluator of one gateway over the centre's log |
//! | [`series`] | names of series, quality of a sample |
//! | [`site`] | what the registry knows: devices, ratings, pairs, groups, overrides |
//! | [`fact`] | what a person or an office recorded: orders, approvals, work windows |
//! | [`transition`] | what the engine says: raise, level up, level down, clear, with a key that is stable for ever |
//! | [`evidence`] | why it said so, enough to judge again |
//! | [`mod@test`] | the tests a rule can make of its inputs, three-valued |
//! | [`mod@why`], [`verdict`] | one sentence from evidence; the same verdict again from evidence |
//! | [`standing`] | whether a rule can run at all at a site, and what is pending |

pub mod catalogue;
mod compile;
pub mod engine;
pub mod evaluator;
pub mod evidence;
pub mod fact;
pub mod feeder;
mod plan;
pub mod selftest;
pub mod series;
pub mod site;
pub mod stale;
pub mod standing;
pub mod test;
pub mod text;
pub mod transition;
pub mod verdict;
mod watched;
pub mod why;

pub use catalogue::Catalogue;
pub use engine::Engine;
pub use evidence::{Evidence, Lang};
pub use fact::{Fact, FactBody, RegState};
pub use feeder::FeederMonitor;
pub use series::{Ms, Quality, Sample, SeriesKey};
pub use site::SiteModel;
pub use stale::GatewayMonitor;
pub use standing::{Pending, RuleState, Standing};
pub use text::Text;
pub use transition::{Scope, Severity, Transition, TransitionKey, TransitionKind};
pub use verdict::{Verdict, re_evaluate};
pub use why::why;

/// Version of the engine's state and semantics; a snapshot of another version is rebuilt from the log.
pub const ENGINE_VERSION: u32 = 4;
