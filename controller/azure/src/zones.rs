//! Zones: `1` on the ARM wire, `<region>-1` in labels, `0` for a machine without a zone.

use controller_core::model::Zone;

/// Label value of a machine that Azure places anywhere in the region.
pub(crate) const REGIONAL: &str = "0";

/// The label value of a logical zone.
pub(crate) fn label(region: &str, zone: &str) -> Zone {
    Zone::new(format!("{}-{zone}", region.to_lowercase()))
}

/// The value of `zones` on the wire: empty for a regional machine.
pub(crate) fn wire(zone: &Zone) -> Vec<String> {
    if zone.as_str() == REGIONAL {
        return Vec::new();
    }
    zone.as_str()
        .rsplit('-')
        .next()
        .map(str::to_owned)
        .into_iter()
        .collect()
}

/// The label value of a machine with these `zones`.
pub(crate) fn of_machine(region: &str, zones: &[String]) -> Zone {
    zones
        .first()
        .map_or_else(|| Zone::from(REGIONAL), |zone| label(region, zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_wire_are_inverse() {
        for zones in [vec!["1".to_owned()], vec!["3".to_owned()], vec![]] {
            assert_eq!(wire(&of_machine("WestEurope", &zones)), zones);
        }
        assert_eq!(label("WestEurope", "2").as_str(), "westeurope-2");
    }
}
