//! How many hands work at a time.

use rayon::prelude::*;

/// One, or as many as there are processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crew {
    /// One thing after the other, in order: the same world gives the same operations.
    Alone,
    /// As many as there are processors.
    All,
}

impl Crew {
    /// As many as somebody asked for; only one is a number of its own.
    pub fn of(threads: u16) -> Self {
        if threads == 1 { Self::Alone } else { Self::All }
    }

    /// Does something with each item; the results come in the order of the items.
    pub fn map<T: Sync, R: Send>(
        self,
        items: &[T],
        work: impl Fn(&T) -> R + Sync + Send,
    ) -> Vec<R> {
        match self {
            Self::Alone => items.iter().map(work).collect(),
            Self::All => items.par_iter().map(work).collect(),
        }
    }

    /// Does something with each pair of an item and what belongs to it.
    pub fn map_with<T: Sync, U: Send, R: Send>(
        self,
        items: &[T],
        with: Vec<U>,
        work: impl Fn(&T, U) -> R + Sync + Send,
    ) -> Vec<R> {
        match self {
            Self::Alone => items.iter().zip(with).map(|(a, b)| work(a, b)).collect(),
            Self::All => items.par_iter().zip(with).map(|(a, b)| work(a, b)).collect(),
        }
    }
}
