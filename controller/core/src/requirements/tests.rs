//! The algebra against its meaning: which labels satisfy a requirement.

use std::sync::Arc;

use proptest::prelude::*;

use super::UndefinedKeys::{self, Denied, WellKnownAllowed};
use super::{Operator, Requirement, RequirementSpec, Requirements};

const VALUES: [&str; 5] = ["1", "2", "3", "7", "x"];

fn spec() -> impl Strategy<Value = RequirementSpec> {
    let value = || prop::sample::select(&VALUES[..]).prop_map(Arc::<str>::from);
    let set = prop::collection::btree_set(value(), 1..4)
        .prop_map(|values| values.into_iter().collect::<Vec<_>>());
    let number = prop::sample::select(&VALUES[..4]).prop_map(|value| vec![Arc::from(value)]);
    prop_oneof![
        set.clone().prop_map(|values| (Operator::In, values)),
        set.prop_map(|values| (Operator::NotIn, values)),
        Just((Operator::Exists, Vec::new())),
        Just((Operator::DoesNotExist, Vec::new())),
        number.clone().prop_map(|values| (Operator::Gt, values)),
        number.clone().prop_map(|values| (Operator::Lt, values)),
        number.clone().prop_map(|values| (Operator::Gte, values)),
        number.prop_map(|values| (Operator::Lte, values)),
    ]
    .prop_map(|(operator, values)| RequirementSpec::new("key", operator, values))
}

/// What Kubernetes says about one label value.
fn satisfied(spec: &RequirementSpec, value: &str) -> bool {
    let listed = spec.values.iter().any(|listed| **listed == *value);
    let bound = || spec.values[0].parse::<i64>().expect("bounds are numbers");
    let compare = |holds: fn(i64, i64) -> bool| {
        value
            .parse::<i64>()
            .is_ok_and(|number| holds(number, bound()))
    };
    match spec.operator {
        Operator::In => listed,
        Operator::NotIn => !listed,
        Operator::Exists => true,
        Operator::DoesNotExist => false,
        Operator::Gt => compare(|a, b| a > b),
        Operator::Lt => compare(|a, b| a < b),
        Operator::Gte => compare(|a, b| a >= b),
        Operator::Lte => compare(|a, b| a <= b),
    }
}

proptest! {
    #[test]
    fn an_intersection_allows_what_both_allow(a in spec(), b in spec()) {
        let (x, y) = (Requirement::from_spec(&a), Requirement::from_spec(&b));
        let both = x.intersect(&y);
        for value in VALUES.into_iter().chain(["0", "5", "unheard-of"]) {
            prop_assert_eq!(x.has(value), satisfied(&a, value), "{}", value);
            prop_assert_eq!(both.has(value), x.has(value) && y.has(value), "{}", value);
        }
        prop_assert_eq!(&both, &y.intersect(&x));
        if both.has("1") || both.has("x") || both.has("unheard-of") {
            prop_assert!(x.has_intersection(&y));
        }
    }

    #[test]
    fn what_is_written_out_reads_back_the_same(a in spec(), b in spec()) {
        let both = Requirement::from_spec(&a).intersect(&Requirement::from_spec(&b));
        let written = both.to_specs(&"key".into());
        let read = Requirements::from_specs(&written);
        let read = read.get("key").expect("a requirement is written out");
        for value in VALUES.into_iter().chain(["0", "5", "unheard-of"]) {
            prop_assert_eq!(read.has(value), both.has(value), "{} in {}", value, both);
        }
    }
}

#[test]
fn undefined_keys_follow_the_compatibility_table() {
    let incoming = |key: &str, operator, values: &[&str]| {
        let values = values.iter().map(|&value| Arc::from(value));
        Requirements::from_specs(&[RequirementSpec::new(key, operator, values)])
    };
    let empty = Requirements::new();
    let check = |incoming: &Requirements, undefined: UndefinedKeys| {
        empty.compatible(incoming, undefined).is_ok()
    };
    let custom = incoming("team", Operator::In, &["a"]);
    assert_eq!(
        [check(&custom, Denied), check(&custom, WellKnownAllowed)],
        [false, false]
    );
    let excluded = incoming("team", Operator::NotIn, &["a"]);
    assert_eq!(
        [check(&excluded, Denied), check(&excluded, WellKnownAllowed)],
        [true, true]
    );
    let absent = incoming("team", Operator::DoesNotExist, &[]);
    assert!(check(&absent, Denied));
    let exists = incoming("team", Operator::Exists, &[]);
    assert!(!check(&exists, Denied));
    let zone = incoming(
        "failure-domain.beta.kubernetes.io/zone",
        Operator::In,
        &["1"],
    );
    assert_eq!(
        [check(&zone, Denied), check(&zone, WellKnownAllowed)],
        [false, true]
    );
}
