//! Azure's physical regions.

const LOCATIONS: &str = include_str!("../../data/locations.tsv");

/// One region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Location {
    pub(crate) name: &'static str,
    pub(crate) display_name: &'static str,
    pub(crate) geography: &'static str,
    pub(crate) geography_group: &'static str,
    pub(crate) category: &'static str,
    paired: &'static str,
    zones: &'static str,
}

impl Location {
    /// Every region, in the order of their names.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        LOCATIONS
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(Self::parse)
    }

    pub(crate) fn find(name: &str) -> Option<Self> {
        Self::all().find(|location| location.name == name)
    }

    /// `(logical, physical)`, for example `("1", "westeurope-az1")`.
    pub(crate) fn zones(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.zones
            .split(',')
            .filter_map(|pair| pair.split_once('='))
    }

    pub(crate) fn paired(&self) -> impl Iterator<Item = &'static str> {
        self.paired.split(',').filter(|name| *name != "-")
    }

    fn parse(line: &'static str) -> Option<Self> {
        let mut columns = line.split('\t');
        Some(Self {
            name: columns.next()?,
            display_name: columns.next()?,
            geography: columns.next()?,
            geography_group: columns.next()?,
            category: columns.next()?,
            paired: columns.next()?,
            zones: columns.next()?,
        })
    }
}
