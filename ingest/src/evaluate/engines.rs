//! Where the evaluators get their engines from: the shared catalogue in service, a small engine in tests.

use std::sync::Arc;

use rules::evaluator::Step;
use rules::{Fact, Quality, RuleState, SeriesKey, SiteModel, Transition};

/// An engine over the public types of the rules.
pub trait EngineStep:
    Step<Transition = Transition, Fact = Fact, Series = SeriesKey, Quality = Quality> + Send
{
}

impl<S> EngineStep for S where
    S: Step<Transition = Transition, Fact = Fact, Series = SeriesKey, Quality = Quality> + Send
{
}

/// Makes engines and reads their states.
pub trait Engines {
    /// What it makes.
    type Engine: EngineStep;

    /// An engine for the rules of one gateway over what the registry knew of `sites`.
    fn engine(&self, gateway: &str, sites: &[SiteModel]) -> Self::Engine;

    /// Version of the engine's meaning; snapshots of another one are not taken.
    fn version(&self) -> u32;

    /// Whether an engine that came out of a snapshot runs the rules of today; it shares them with all others then.
    fn share(&self, engine: &mut Self::Engine) -> bool;

    /// Lets an engine that has seen nothing hold alarms as active, in a time segment; gives back those whose place its
    /// rules do not have.
    fn resume(
        &self,
        engine: &mut Self::Engine,
        active: Vec<Transition>,
        segment: u32,
    ) -> Vec<Transition>;

    /// The rules that silence is judged by.
    fn catalogue(&self) -> &rules::Catalogue;

    /// State of every rule at every place of an engine.
    fn states(&self, engine: &Self::Engine) -> Vec<RuleState>;
}

/// Engines over the one catalogue of the centre.
#[derive(Debug, Clone)]
pub struct CatalogueEngines {
    catalogue: Arc<rules::Catalogue>,
    /// What every engine keeps of it.
    bare: Arc<rules::Catalogue>,
}

impl CatalogueEngines {
    /// Makes engines of this catalogue.
    #[must_use]
    pub fn new(catalogue: Arc<rules::Catalogue>) -> Self {
        let bare = Arc::new(catalogue.bare());
        Self { catalogue, bare }
    }
}

impl Engines for CatalogueEngines {
    type Engine = rules::Engine;

    fn engine(&self, gateway: &str, sites: &[SiteModel]) -> rules::Engine {
        rules::Engine::sharing(&self.bare, sites, gateway)
    }

    fn version(&self) -> u32 {
        rules::ENGINE_VERSION
    }

    fn share(&self, engine: &mut rules::Engine) -> bool {
        engine.share(&self.bare)
    }

    fn resume(
        &self,
        engine: &mut rules::Engine,
        active: Vec<Transition>,
        segment: u32,
    ) -> Vec<Transition> {
        engine.resume(active, segment)
    }

    fn catalogue(&self) -> &rules::Catalogue {
        &self.catalogue
    }

    fn states(&self, engine: &rules::Engine) -> Vec<RuleState> {
        engine.states()
    }
}
