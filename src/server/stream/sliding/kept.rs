//! Where a connection keeps which rooms it is about, between the looks of its requests.

use parking_lot::Mutex;

use super::scope::{KnownTo, Scope};

/// Where a connection keeps which rooms it is about. A look takes it out and puts it back; whoever finds nothing here asks for all
/// rooms.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    scope: Option<Box<Scope>>,
    /// How often it was found to be wrong.
    dropped: u64,
}

/// What was taken out.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) scope: Option<Box<Scope>>,
    dropped: u64,
}

impl Taken {
    /// With this in its place.
    pub(super) fn with(self, scope: Option<Box<Scope>>) -> Self {
        Self { scope, ..self }
    }
}

impl Kept {
    pub(super) fn take(&self) -> Taken {
        let mut inner = self.0.lock();
        Taken { scope: inner.scope.take(), dropped: inner.dropped }
    }

    /// Puts back what was taken, as it is by now.
    pub(super) fn put(&self, taken: Taken) {
        let mut inner = self.0.lock();
        if inner.dropped == taken.dropped {
            inner.scope = taken.scope;
        }
    }

    /// All rooms are to be asked for.
    pub(super) fn drop_scope(&self) {
        let mut inner = self.0.lock();
        inner.scope = None;
        inner.dropped += 1;
    }

    /// Whoever has the `answer` was told what who was `known_to` had been.
    pub(super) fn answered(&self, known_to: KnownTo, answer: u64) {
        if let Some(scope) = &mut self.0.lock().scope
            && scope.known_to == known_to
        {
            scope.known_to = KnownTo::Answer(answer);
        }
    }

    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        self.0.lock().scope.as_ref().map_or(0, |scope| scope.weight())
    }
}
