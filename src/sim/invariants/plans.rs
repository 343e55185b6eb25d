//! No provider is sent more than the config says, and none that the config is right about refuses a call for its rate.

use super::super::call::{Call, Flight};
use super::super::run::{Run, Watcher};
use super::super::world::{METHODS, Reply, Used, World};
use crate::routing::OutboundConfig;

#[derive(Debug)]
pub(super) struct Plans {
    /// By provider: what the config says, whether that is what was bought, and what was sent.
    of: Vec<(OutboundConfig, bool, Used)>,
    /// Calls under a plan, and calls that one refused.
    pub(super) calls: usize,
    pub(super) refused: usize,
}

impl Plans {
    pub(super) fn new(world: &World) -> Self {
        let of = |provider: &super::super::world::Provider| {
            let right = provider.told == provider.plan && provider.limit.is_none();
            (provider.told, right, Used::default())
        };
        Self { of: world.providers.iter().map(of).collect(), calls: 0, refused: 0 }
    }

    fn end(&mut self, provider: usize) {
        self.of[provider].2.on_end();
    }
}

impl Watcher for Plans {
    fn on_attempt(&mut self, run: &Run, call: &Call, flight: &Flight, _trials: &[usize]) {
        let (told, right, used) = &mut self.of[flight.attempt.provider];
        let within = used.on_call(run.now, METHODS[call.method].units, told);
        run.holds(within, "a call beyond the plan");
        let refused = matches!(flight.reply, Reply::Limited(..));
        run.holds(!(*right && refused), "a refusal of what the plan allows");
        self.calls += usize::from(told.is_limited());
        self.refused += usize::from(told.is_limited() && refused);
    }

    fn on_end(&mut self, _run: &Run, _call: &Call, flight: &Flight) {
        self.end(flight.attempt.provider);
    }

    fn on_lost(&mut self, _run: &Run, _call: &Call, flight: &Flight) {
        self.end(flight.attempt.provider);
    }
}
