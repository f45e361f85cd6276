//! Comparing what a provider sells now with what it sold before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use controller_core::model::{InstanceType, NodeClassName};

/// Instance types by NodeClass.
pub(crate) type Catalogs = BTreeMap<NodeClassName, Arc<Vec<InstanceType>>>;

/// Whether two fetches say the same.
pub(crate) fn same_catalogs(a: &Catalogs, b: &Catalogs) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|((name_a, types_a), (name_b, types_b))| {
                name_a == name_b && (Arc::ptr_eq(types_a, types_b) || types_a == types_b)
            })
}

/// NodeClasses whose instance types or offerings are others than before. Prices, and what can be
/// had at the moment, do not count.
pub(crate) fn sold_otherwise(before: &Catalogs, after: &Catalogs) -> BTreeSet<NodeClassName> {
    let is_same = |old: &InstanceType, new: &InstanceType| {
        old.name == new.name
            && old.offerings.len() == new.offerings.len()
            && old.offerings.iter().zip(&new.offerings).all(|(old, new)| {
                old.zone == new.zone
                    && old.capacity_type == new.capacity_type
                    && old.requirements == new.requirements
            })
    };
    let changed = after.iter().filter(|(name, new)| {
        before.get(*name).is_none_or(|old| {
            old.len() != new.len() || !old.iter().zip(&***new).all(|(old, new)| is_same(old, new))
        })
    });
    changed.map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::instance_type;

    #[test]
    fn only_what_is_sold_counts() {
        let catalogs = |types: Vec<InstanceType>| {
            Catalogs::from([(NodeClassName::new("default"), Arc::new(types))])
        };
        let one = catalogs(vec![instance_type()]);
        let concerned = BTreeSet::from([NodeClassName::new("default")]);
        assert_eq!(sold_otherwise(&Catalogs::new(), &one), concerned);
        assert_eq!(sold_otherwise(&one, &one.clone()), BTreeSet::new());

        let mut refused = instance_type();
        refused.offerings[0].available = false;
        let refused = catalogs(vec![refused]);
        assert!(!same_catalogs(&one, &refused));
        assert_eq!(sold_otherwise(&one, &refused), BTreeSet::new());

        let mut withdrawn = instance_type();
        withdrawn.offerings.clear();
        assert_eq!(sold_otherwise(&one, &catalogs(vec![withdrawn])), concerned);
        assert_eq!(sold_otherwise(&one, &catalogs(Vec::new())), concerned);
    }
}
