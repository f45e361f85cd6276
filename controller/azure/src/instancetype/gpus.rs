//! Which GPU sizes there are drivers for.

use std::collections::BTreeMap;
use std::sync::OnceLock;

static TABLE: &str = include_str!("../../data/gpus.tsv");

/// What is known of a GPU size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gpu {
    /// `nvidia` or `amd`.
    pub(crate) manufacturer: &'static str,
    systems: &'static str,
    /// Kind of driver; empty when none is installed.
    pub(crate) driver: &'static str,
}

impl Gpu {
    /// Whether the operating system has drivers for it.
    pub(crate) fn supports(&self, is_azure_linux: bool) -> bool {
        self.systems.split(',').any(|system| match system {
            "ubuntu" => !is_azure_linux,
            "azurelinux" | "azurelinux3" => is_azure_linux,
            _ => false,
        })
    }

    /// Resource name of the devices.
    pub(crate) fn resource(&self) -> &'static str {
        if self.manufacturer == "amd" {
            "amd.com/gpu"
        } else {
            "nvidia.com/gpu"
        }
    }

    /// Version and image suffix of the driver (`pkg/utils/gpu.go` of the upstream provider).
    pub(crate) fn driver_version(&self) -> Option<(&'static str, &'static str)> {
        Some(match self.driver {
            "cuda" => ("470.82.01", "20260629214430"),
            "cuda-lts" => ("580.159.04", "20260629214430"),
            "grid" => ("570.211.01", "20260522192315"),
            "grid-v20" => ("595.58.03", "20260609172331"),
            _ => return None,
        })
    }
}

/// Looks up a size by its full name, in any case.
pub(crate) fn lookup(size: &str) -> Option<Gpu> {
    static SIZES: OnceLock<BTreeMap<&'static str, Gpu>> = OnceLock::new();
    let sizes = SIZES.get_or_init(|| {
        let rows = TABLE.lines().filter(|line| !line.starts_with('#'));
        rows.filter_map(|line| {
            let mut fields = line.split('\t');
            let size = fields.next()?;
            let [manufacturer, systems, driver] = [fields.next()?, fields.next()?, fields.next()?];
            Some((
                size,
                Gpu {
                    manufacturer,
                    systems,
                    driver,
                },
            ))
        })
        .collect()
    });
    let lower = size.to_ascii_lowercase();
    sizes
        .get(lower.as_str())
        .or_else(|| sizes.get(lower.trim_end_matches("_promo")))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_follow_the_registry() {
        let a10 = lookup("Standard_NV36ads_A10_v5").expect("listed");
        assert_eq!((a10.manufacturer, a10.driver), ("nvidia", "grid"));
        assert!(lookup("Standard_NC6s_v3").expect("listed").supports(true));
        assert_eq!(lookup("Standard_D4s_v5"), None);
        assert_eq!(
            lookup("STANDARD_NC12_PROMO").map(|gpu| gpu.driver),
            Some("cuda")
        );
    }
}
