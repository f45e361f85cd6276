//! The name of a VM size, taken apart: `NC24ads_A100_v4` is family N, subfamily C, 24 vCPUs,
//! features `ads`, accelerator A100, version 4.
//!
//! The grammar covers every size Azure has published; `Azure/skewer` `vmsize.go` refuses some of
//! them, and a size is never dropped only because of its name here.

/// A parsed size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SizeName {
    /// One letter.
    pub(crate) family: String,
    /// Up to two letters.
    pub(crate) subfamily: String,
    /// A part of the vCPUs is switched off (`E32-16as_v5`).
    pub(crate) is_constrained: bool,
    /// Additive features, in their order.
    pub(crate) features: String,
    /// `A100`, `T4`, …
    pub(crate) accelerator: Option<String>,
    /// Without its `v`; sizes without one are version 1.
    pub(crate) version: Option<String>,
}

impl SizeName {
    /// Parses a size without its `Standard_` prefix.
    pub(crate) fn parse(size: &str) -> Option<Self> {
        let mut tokens: Vec<&str> = size.split('_').filter(|token| *token != "Promo").collect();
        let version = match tokens.last()?.strip_prefix(['v', 'V']) {
            Some(digits) if tokens.len() > 1 && is_number(digits) => {
                let digits = digits.to_owned();
                tokens.pop();
                Some(digits)
            }
            _ => None,
        };
        let (head, rest) = tokens.split_first()?;
        let letters = head.len()
            - head
                .trim_start_matches(|c: char| c.is_ascii_uppercase())
                .len();
        let (name, numbers) = head.split_at(letters);
        if !(1..=3).contains(&letters) {
            return None;
        }
        let (family, subfamily) = name.split_at(1);
        let (cpus, tail) = split_digits(numbers);
        // `E32-16as_v5`; the third generation of M sizes has it behind: `M12ds-6_v3`.
        let (constrained, features) = match (tail.strip_prefix('-'), tail.split_once('-')) {
            (Some(tail), _) => {
                let (digits, features) = split_digits(tail);
                (Some(digits), features)
            }
            (None, Some((features, digits))) => (Some(digits).filter(|d| is_number(d)), features),
            (None, None) => (None, tail),
        };
        if cpus.is_empty()
            || constrained.is_some() != tail.contains('-')
            || constrained.is_some_and(str::is_empty)
            || !features.bytes().all(|b| b.is_ascii_alphabetic())
        {
            return None;
        }
        Some(Self {
            family: family.to_owned(),
            subfamily: subfamily.to_owned(),
            is_constrained: constrained.is_some(),
            features: features.to_owned(),
            accelerator: rest
                .iter()
                .find(|token| is_accelerator(token))
                .map(|&token| token.to_owned()),
            version,
        })
    }

    /// `Ds_v5`, `NCads_v4`, `NC`.
    pub(crate) fn series(&self) -> String {
        let version = self
            .version
            .as_ref()
            .map(|version| format!("_v{version}"))
            .unwrap_or_default();
        format!(
            "{}{}{}{version}",
            self.family, self.subfamily, self.features
        )
    }

    /// The version as a label has it.
    pub(crate) fn version_label(&self) -> &str {
        self.version.as_deref().unwrap_or("1")
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len())
}

/// Capital letters, digits, capital letters.
fn is_accelerator(token: &str) -> bool {
    let rest = token.trim_start_matches(|c: char| c.is_ascii_uppercase());
    let (digits, tail) = split_digits(rest);
    rest.len() < token.len() && !digits.is_empty() && tail.bytes().all(|b| b.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn sizes_come_apart() {
        let rows = [
            ("D4s_v5", "D", "", false, "s", None, Some("5"), "Ds_v5"),
            (
                "NC24ads_A100_v4",
                "N",
                "C",
                false,
                "ads",
                Some("A100"),
                Some("4"),
                "NCads_v4",
            ),
            (
                "E32-16as_v5",
                "E",
                "",
                true,
                "as",
                None,
                Some("5"),
                "Eas_v5",
            ),
            ("M12ds-6_v3", "M", "", true, "ds", None, Some("3"), "Mds_v3"),
            ("M416s_8_v2", "M", "", false, "s", None, Some("2"), "Ms_v2"),
            ("NC6", "N", "C", false, "", None, None, "NC"),
            ("NC6_Promo", "N", "C", false, "", None, None, "NC"),
            (
                "D4nlds_v6",
                "D",
                "",
                false,
                "nlds",
                None,
                Some("6"),
                "Dnlds_v6",
            ),
            (
                "ND96isr_MI300X_v5",
                "N",
                "D",
                false,
                "isr",
                Some("MI300X"),
                Some("5"),
                "NDisr_v5",
            ),
            (
                "NC64as_T4_v3",
                "N",
                "C",
                false,
                "as",
                Some("T4"),
                Some("3"),
                "NCas_v3",
            ),
            (
                "DC4as_cc_v5",
                "D",
                "C",
                false,
                "as",
                None,
                Some("5"),
                "DCas_v5",
            ),
        ];
        for (size, family, subfamily, constrained, features, accelerator, version, series) in rows {
            let parsed = SizeName::parse(size).expect(size);
            assert_eq!(
                parsed,
                SizeName {
                    family: family.to_owned(),
                    subfamily: subfamily.to_owned(),
                    is_constrained: constrained,
                    features: features.to_owned(),
                    accelerator: accelerator.map(str::to_owned),
                    version: version.map(str::to_owned),
                },
                "{size}"
            );
            assert_eq!(parsed.series(), series);
        }
        for size in ["", "v5", "4s_v5", "ABCD4", "D_v5", "E32-as_v5"] {
            assert_eq!(SizeName::parse(size), None, "{size}");
        }
    }

    #[test]
    fn every_priced_size_parses() {
        for size in crate::pricing::known_sizes() {
            // Hardware for SQL, not a size of machines one can order.
            if size.contains("_SQLG7_") {
                continue;
            }
            let short = size.split_once('_').expect("a tier comes first").1;
            assert!(SizeName::parse(short).is_some(), "{size}");
        }
    }
}
