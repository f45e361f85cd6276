//! Defects planted on purpose, to see whether rehearsals catch them.
//!
//! Without the feature `mutants` no defect can be chosen and every [`is`] is `false` at compile
//! time. With it, a run chooses one by its name for its thread.

#[cfg(feature = "mutants")]
use std::cell::Cell;

/// A defect. Most shipped in some provisioner once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// What consolidation planned is done at once, without a second look.
    Unvalidated,
    /// Nodes go before their replacements are there.
    ReplacementNotAwaited,
    /// Marks of disruption that a crash has left stay on nodes.
    MarksAreKept,
    /// Pods are deleted where they should be evicted.
    DeletedNotEvicted,
    /// The deadline of a draining node is never written down.
    NoDeadline,
    /// A counter counts each launch twice.
    CountsTwice,
    /// A claim whose machine went after it had joined stays.
    LostMachineUnnoticed,
    /// Of several pods without a place only one is told why.
    SilentAboutPods,
    /// A node counts as drained while pods are on it.
    DrainedAtOnce,
    /// What is known of evictions on a node outlives the node.
    EvictionsRemembered,
    /// A node that is drained is open for new pods.
    UntaintedDrain,
    /// Machines that have not joined do not count against limits.
    FlightUncounted,
    /// What was refused is asked for again half a minute later.
    RefusalsForgotten,
    /// Lists are written over what somebody else has written meanwhile.
    UnguardedWrites,
    /// Nodes that pods are about to come to are not held for them.
    NominationForgotten,
    /// Decisions see the instance types of the pass before.
    CatalogsLag,
    /// Nodes on their way out do not count against disruption budgets.
    GoingUncounted,
    /// The drain of a node that is to be evicted knows no end.
    NoticeWithoutDeadline,
}

impl Mutant {
    /// All of them.
    #[cfg(feature = "mutants")]
    pub const ALL: [Self; 18] = [
        Self::Unvalidated,
        Self::ReplacementNotAwaited,
        Self::MarksAreKept,
        Self::DeletedNotEvicted,
        Self::NoDeadline,
        Self::CountsTwice,
        Self::LostMachineUnnoticed,
        Self::SilentAboutPods,
        Self::DrainedAtOnce,
        Self::EvictionsRemembered,
        Self::UntaintedDrain,
        Self::FlightUncounted,
        Self::RefusalsForgotten,
        Self::UnguardedWrites,
        Self::NominationForgotten,
        Self::CatalogsLag,
        Self::GoingUncounted,
        Self::NoticeWithoutDeadline,
    ];

    /// The name by which configuration chooses it.
    #[cfg(feature = "mutants")]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unvalidated => "unvalidated",
            Self::ReplacementNotAwaited => "replacement-not-awaited",
            Self::MarksAreKept => "marks-are-kept",
            Self::DeletedNotEvicted => "deleted-not-evicted",
            Self::NoDeadline => "no-deadline",
            Self::CountsTwice => "counts-twice",
            Self::LostMachineUnnoticed => "lost-machine-unnoticed",
            Self::SilentAboutPods => "silent-about-pods",
            Self::DrainedAtOnce => "drained-at-once",
            Self::EvictionsRemembered => "evictions-remembered",
            Self::UntaintedDrain => "untainted-drain",
            Self::FlightUncounted => "flight-uncounted",
            Self::RefusalsForgotten => "refusals-forgotten",
            Self::UnguardedWrites => "unguarded-writes",
            Self::NominationForgotten => "nomination-forgotten",
            Self::CatalogsLag => "catalogs-lag",
            Self::GoingUncounted => "going-uncounted",
            Self::NoticeWithoutDeadline => "notice-without-deadline",
        }
    }

    /// The defect of this name.
    #[cfg(feature = "mutants")]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mutant| mutant.as_str() == name)
    }
}

#[cfg(feature = "mutants")]
thread_local! {
    static CHOSEN: Cell<Option<Mutant>> = Cell::new(given());
}

/// What the environment chooses for threads that nobody has chosen for: tests of single crates.
#[cfg(feature = "mutants")]
#[expect(
    clippy::disallowed_methods,
    reason = "unit tests have no configuration; shipped programs have no mutants"
)]
fn given() -> Option<Mutant> {
    std::env::var("NAP_MUTANT")
        .ok()
        .and_then(|name| Mutant::named(&name))
}

/// Chooses the defect of this thread.
#[cfg(feature = "mutants")]
pub fn choose(mutant: Option<Mutant>) {
    CHOSEN.set(mutant);
}

/// Whether this defect is on.
#[cfg(feature = "mutants")]
pub fn is(mutant: Mutant) -> bool {
    CHOSEN.get() == Some(mutant)
}

/// Whether this defect is on: never.
#[cfg(not(feature = "mutants"))]
pub const fn is(_: Mutant) -> bool {
    false
}
