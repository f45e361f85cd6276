//! A lower bound on what new claims can cost.
//!
//! A price per unit of CPU and of memory such that no type is worth less than what it offers: then
//! pods cost at least what they ask for at these prices, however they are arranged. The best such
//! prices are found by linear programming in two dimensions; any that obey the rule are valid, so
//! rounding down is safe. Other resources, topology and whole machines are left out of account:
//! the bound is what remains true without them.

use super::engine::Engine;
use super::solve::Outcome;
use crate::model::Price;

/// Prices are per unit in 2⁻²⁰ billionths of a dollar.
const SCALE: i128 = 1 << 20;

/// CPU, memory and price of one type.
type Offer = (i128, i128, i128);

pub(crate) fn lower_bound(engine: &Engine<'_>, outcome: &Outcome) -> Price {
    // Pods of one catalogue may share machines; of two catalogues they never do.
    let mut total = 0;
    for catalog in 0..engine.catalogs.len() {
        let claims = outcome.claims.iter();
        let ours = claims.filter(|claim| engine.templates[claim.template].catalog == catalog);
        let (mut cpu, mut memory) = (0, 0);
        for claim in ours {
            cpu += i128::from(claim.total[0]);
            memory += i128::from(claim.total[1]);
        }
        if cpu > 0 || memory > 0 {
            total += best_prices(&offers(engine, catalog), cpu, memory) / SCALE;
        }
    }
    Price(i64::try_from(total).unwrap_or(i64::MAX))
}

/// What every type offers at its lowest price, dominated ones included.
fn offers(engine: &Engine<'_>, catalog: usize) -> Vec<Offer> {
    let catalog = &engine.catalogs[catalog];
    let offer = |index: usize| {
        let sold = catalog
            .cells
            .iter()
            .filter(|cell| cell.available.get(index));
        let price = sold.map(|cell| cell.price[index].0).min()?;
        let amount = |resource| i128::from(catalog.allocatable(index, resource).max(0));
        Some((amount(0), amount(1), i128::from(price) * SCALE))
    };
    (0..catalog.len()).filter_map(offer).collect()
}

/// The most that the demand is worth at prices that no offer falls short of.
fn best_prices(offers: &[Offer], cpu: i128, memory: i128) -> i128 {
    // The highest price of CPU when memory is free.
    let highest = offers
        .iter()
        .filter(|offer| offer.0 > 0)
        .map(|(c, _, p)| p / c)
        .min();
    let Some(highest) = highest else { return 0 };
    let worth = |of_cpu: i128| {
        let left = |&(c, m, p): &Offer| (p - of_cpu * c) / m;
        let of_memory = offers.iter().filter(|offer| offer.1 > 0).map(left).min();
        of_cpu * cpu + of_memory.unwrap_or(0).max(0) * memory
    };
    // Concave in the price of CPU: thirds.
    let (mut low, mut high) = (0, highest);
    while high - low > 2 {
        let third = (high - low) / 3;
        if worth(low + third) < worth(high - third) {
            low += third;
        } else {
            high -= third;
        }
    }
    (low..=high).map(worth).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_tight_where_offers_match_the_demand() {
        let offers = [(4, 16, 8 * SCALE), (4, 32, 12 * SCALE)];
        // Half of each: 4 CPU and 24 of memory for 10.
        assert_eq!(best_prices(&offers, 400, 2_400) / SCALE, 1_000);
        assert_eq!(best_prices(&offers, 400, 0) / SCALE, 800);
        assert_eq!(best_prices(&[], 1, 1), 0);
    }
}
