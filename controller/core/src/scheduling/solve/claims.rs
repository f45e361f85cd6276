//! Claims of one run: joining an open one, opening another.

use std::sync::Arc;

use super::{Miss, Run, Step};
use crate::model::Price;
use crate::scheduling::bits::Bits;
use crate::scheduling::claim::{
    Claim, Narrowed, Options, filter_types, fresh, min_values_hold, narrow,
};
use crate::scheduling::class::{ClassId, FootprintId, Fresh};
use crate::scheduling::compiled::ReqSet;
use crate::scheduling::topology::Target;

impl Run<'_, '_, '_> {
    /// Open claims, those with fewest pods first, then in the order they were opened.
    pub(super) fn add_to_claim(&mut self, pod: usize, class: ClassId) -> bool {
        let mask = self.claim_mask(class);
        let found = self.join_first(pod, class, &mask);
        self.mask = mask;
        found
    }

    /// Where the pod costs nothing, else where it costs least, a new claim included.
    pub(super) fn add_cheapest(&mut self, pod: usize, class: ClassId) -> bool {
        let mask = self.claim_mask(class);
        let found = self.join_free(pod, class, &mask)
            || self.join_dearer(pod, class, &mask)
            || self.open_claim(pod, class)
            || self.join_first(pod, class, &mask);
        self.mask = mask;
        found
    }

    fn join_free(&mut self, pod: usize, class: ClassId, mask: &Bits) -> bool {
        let footprint = self.known(class).footprint;
        let pricing = self.pricing.as_mut().expect("the caller has looked");
        let free = pricing.free(self.engine, footprint, mask);
        free.into_iter()
            .any(|index| self.try_join(pod, class, index))
    }

    /// Claims to which the pod adds no more than a new claim would cost.
    fn join_dearer(&mut self, pod: usize, class: ClassId, mask: &Bits) -> bool {
        let footprint = self.known(class).footprint;
        let alone = self.price_alone(footprint);
        let pricing = self.pricing.as_ref().expect("the caller has looked");
        let needs = &self.engine.footprints[footprint];
        let dearer = pricing.dearer(self.engine, needs, &self.outcome.claims, mask);
        dearer
            .into_iter()
            .take_while(|&(added, _)| alone.is_none_or(|alone| added <= alone))
            .any(|(_, index)| self.try_join(pod, class, index))
    }

    /// The price of a new claim for one such pod, from the first template that takes it.
    fn price_alone(&mut self, footprint: FootprintId) -> Option<Price> {
        for template in 0..self.engine.templates.len() {
            if let Fresh::Fits(options) = fresh(self.engine, footprint, template) {
                let first = options.first()?.clone();
                let pricing = self.pricing.as_mut()?;
                let cheapest = pricing.cheapest(self.engine, template, &first.reqs, &first.types);
                return cheapest.map(|(price, _)| price);
            }
        }
        None
    }

    /// Open claims that may take the class; [`Run::mask`] is to be given back.
    fn claim_mask(&mut self, class: ClassId) -> Bits {
        let footprint = self.known(class).footprint;
        let mut mask = std::mem::take(&mut self.mask);
        mask.copy_from(&self.open);
        mask.and_not_assign(&self.known_footprint(footprint).dead);
        mask.and_not_assign(&self.known(class).barred_claims);
        if let Some(topology) = self.restricting(class) {
            topology.keep_claims(self.engine, class, &mut mask);
        }
        mask
    }

    /// Joins a claim, or takes note of why not.
    fn try_join(&mut self, pod: usize, class: ClassId, index: usize) -> bool {
        match self.join_claim(pod, class, index) {
            Ok(()) => return true,
            Err(Miss::NotNow) => {}
            Err(Miss::Barred) => {
                let state = self.classes[class].as_mut();
                let state = state.expect("made when it was tried");
                state.barred_claims.insert(index);
            }
            Err(Miss::Never) => {
                let footprint = self.known(class).footprint;
                self.known_footprint(footprint).dead.insert(index);
            }
        }
        false
    }

    fn join_first(&mut self, pod: usize, class: ClassId, mask: &Bits) -> bool {
        let mut count = 0;
        while let Some((&next, _)) = self.by_count.range(count..).next() {
            let mut from = 0;
            while let Some(index) = self
                .by_count
                .get(&next)
                .and_then(|bucket| bucket.next_in(from, mask))
            {
                from = index + 1;
                if self.try_join(pod, class, index) {
                    return true;
                }
            }
            count = next + 1;
        }
        false
    }

    fn join_claim(&mut self, pod: usize, class: ClassId, index: usize) -> Result<(), Miss> {
        let template = self.outcome.claims[index].template;
        let footprint = self.known(class).footprint;
        if matches!(fresh(self.engine, footprint, template), Fresh::Never) {
            return Err(Miss::Never);
        }
        let base = self.outcome.claims[index].as_base();
        let needs = &self.engine.footprints[footprint];
        let options = narrow(self.engine, &base, needs);
        let narrowed = self.settle_one(class, template, index, options)?;
        let claim = &mut self.outcome.claims[index];
        let is_narrower = !Arc::ptr_eq(&claim.reqs, &narrowed.reqs);
        claim.reqs = narrowed.reqs;
        claim.types = narrowed.types;
        let count = claim.pods.len();
        claim.take(pod, class, &self.engine.footprints[footprint]);
        self.move_claim(index, count);
        self.record(class, index, is_narrower);
        Ok(())
    }

    pub(super) fn open_claim(&mut self, pod: usize, class: ClassId) -> bool {
        let index = self.outcome.claims.len();
        let footprint = self.known(class).footprint;
        for template in 0..self.engine.templates.len() {
            let Fresh::Fits(options) = fresh(self.engine, footprint, template) else {
                continue;
            };
            let mut options = options.clone();
            let limits = &self.outcome.limits[template];
            options.retain(|narrowed| {
                limits.restrict(self.engine, template, &mut narrowed.types)
                    && min_values_hold(self.engine, template, &narrowed.reqs, &narrowed.types)
            });
            let Ok(narrowed) = self.settle_one(class, template, index, options) else {
                continue;
            };
            let Narrowed { reqs, types } = narrowed;
            self.outcome.limits[template].take(self.engine, template, &types);
            let mut claim = Claim::new(template, reqs, types, &self.engine.universe);
            claim.take(pod, class, &self.engine.footprints[footprint]);
            self.outcome.claims.push(claim);
            self.by_count.entry(1).or_default().insert(index);
            self.open.insert(index);
            self.record(class, index, true);
            return true;
        }
        false
    }

    /// The first of the options that topology allows, narrowed to what it allows.
    fn settle_one(
        &mut self,
        class: ClassId,
        template: usize,
        index: usize,
        options: Options,
    ) -> Result<Narrowed, Miss> {
        let mut miss = None;
        for mut narrowed in options {
            match self.settle(class, template, index, &mut narrowed) {
                Ok(()) => return Ok(narrowed),
                Err(Miss::NotNow) => miss = Some(Miss::NotNow),
                Err(other) => miss = miss.or(Some(other)),
            }
        }
        Err(miss.unwrap_or(Miss::Never))
    }

    /// Narrows a claim further, into domains that topology allows: the best for which types are
    /// left.
    fn settle(
        &mut self,
        class: ClassId,
        template: usize,
        index: usize,
        narrowed: &mut Narrowed,
    ) -> Result<(), Miss> {
        let Some(topology) = self.restricting(class) else {
            return Ok(());
        };
        let claim = self.outcome.claims.get(index);
        let target = Target::Claim {
            index,
            reqs: &narrowed.reqs,
            members: claim.map_or(&[], |claim| &claim.classes),
        };
        let narrowings = match topology.narrowings(self.engine, class, target) {
            Ok(narrowings) => narrowings,
            Err(refusal) => {
                let miss = if refusal.for_good {
                    Miss::Barred
                } else {
                    Miss::NotNow
                };
                self.outcome.refusals.insert(class, refusal.reason);
                return Err(miss);
            }
        };
        for narrowing in narrowings {
            let mut reqs = Arc::clone(&narrowed.reqs);
            let mut changed = Bits::default();
            for (key, req) in &narrowing {
                if ReqSet::narrow_shared(&mut reqs, *key, req) {
                    changed.insert(*key);
                }
            }
            if !changed.any() {
                return Ok(());
            }
            let mut types = narrowed.types.clone();
            filter_types(self.engine, template, &reqs, &changed, &mut types);
            if types.any() && min_values_hold(self.engine, template, &reqs, &types) {
                *narrowed = Narrowed { reqs, types };
                return Ok(());
            }
        }
        Err(Miss::NotNow)
    }

    fn record(&mut self, class: ClassId, index: usize, is_narrower: bool) {
        if let Some(pricing) = &mut self.pricing {
            pricing.note(self.engine, index, &self.outcome.claims[index]);
        }
        let mut is_settled = false;
        if let Some(topology) = &mut self.topology {
            let claim = &self.outcome.claims[index];
            let reqs = &claim.reqs;
            is_settled = topology.is_settled(reqs);
            if is_narrower {
                let (_, before) = claim.classes.split_last().expect("a pod was just taken");
                topology.note_claim(self.engine, index, reqs, before);
            }
            let target = Target::Claim {
                index,
                reqs,
                members: &[],
            };
            topology.record(self.engine, class, target);
        }
        self.outcome.steps.push(Step {
            claim: index,
            is_settled,
        });
    }

    fn move_claim(&mut self, index: usize, count: usize) {
        if let Some(bucket) = self.by_count.get_mut(&count) {
            bucket.remove(index);
            if !bucket.any() {
                self.by_count.remove(&count);
            }
        }
        self.by_count.entry(count + 1).or_default().insert(index);
    }
}
