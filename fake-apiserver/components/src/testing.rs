//! Test doubles.

pub(crate) mod bootstrap {
    pub(crate) const CA: &str = "ca";
    pub(crate) fn script() -> String {
        String::new()
    }
    pub(crate) fn custom_data() -> String {
        String::new()
    }
}
