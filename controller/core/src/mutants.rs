//! Defects planted on purpose, to see whether rehearsals catch them.
//!
//! Without the feature `mutants` no defect can be chosen and every [`is`] is `false` at compile
//! time. With it, a run chooses one by its name for its thread.

#[cfg(feature = "mutants")]
use std::cell::Cell;

/// A defect. Most shipped in some provisioner once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// What a failed launch leaves is never deleted.
    RemainsAreKept,
    /// The deletion of a claim without a provider id is tried for ever.
    UnlaunchedNeverFinal,
    /// A claim whose machine is gone stays.
    LostMachineUnnoticed,
    /// Refusals for lack of quota are not remembered.
    QuotaForgotten,
    /// Machines are replaced by others that cost as much.
    ReplacedByEqual,
    /// The figure that pools may lose at once is not heeded by consolidation.
    BudgetsIgnored,
    /// Pods that must not be disrupted are.
    ProtectionIgnored,
    /// Pods are deleted where they should be evicted.
    DeletedNotEvicted,
    /// Limits of pools are not heeded.
    LimitsIgnored,
    /// Announced evictions are not heeded.
    NoticeIgnored,
    /// Each try of a launch uses another name.
    NameOfTheMoment,
    /// Pods that nothing holds are not told so.
    SilentAboutPods,
    /// The deadline of a draining node is never written down.
    NoDeadline,
    /// A machine that an earlier try made is asked for again.
    NeverAdopted,
    /// A counter counts each launch twice.
    CountsTwice,
}

impl Mutant {
    /// All of them.
    #[cfg(feature = "mutants")]
    pub const ALL: [Self; 15] = [
        Self::RemainsAreKept,
        Self::UnlaunchedNeverFinal,
        Self::LostMachineUnnoticed,
        Self::QuotaForgotten,
        Self::ReplacedByEqual,
        Self::BudgetsIgnored,
        Self::ProtectionIgnored,
        Self::DeletedNotEvicted,
        Self::LimitsIgnored,
        Self::NoticeIgnored,
        Self::NameOfTheMoment,
        Self::SilentAboutPods,
        Self::NoDeadline,
        Self::NeverAdopted,
        Self::CountsTwice,
    ];

    /// The name by which configuration chooses it.
    #[cfg(feature = "mutants")]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RemainsAreKept => "remains-are-kept",
            Self::UnlaunchedNeverFinal => "unlaunched-never-final",
            Self::LostMachineUnnoticed => "lost-machine-unnoticed",
            Self::QuotaForgotten => "quota-forgotten",
            Self::ReplacedByEqual => "replaced-by-equal",
            Self::BudgetsIgnored => "budgets-ignored",
            Self::ProtectionIgnored => "protection-ignored",
            Self::DeletedNotEvicted => "deleted-not-evicted",
            Self::LimitsIgnored => "limits-ignored",
            Self::NoticeIgnored => "notice-ignored",
            Self::NameOfTheMoment => "name-of-the-moment",
            Self::SilentAboutPods => "silent-about-pods",
            Self::NoDeadline => "no-deadline",
            Self::NeverAdopted => "never-adopted",
            Self::CountsTwice => "counts-twice",
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
