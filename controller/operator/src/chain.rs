//! Errors with their causes, on one line.

use std::error::Error;
use std::fmt;

/// Shows an error and all its sources, joined by `: `.
///
/// `Display` of our errors never includes the source, so nothing is said twice.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> Chain<'a> {
    Chain(error)
}

/// What [`chain`] returns; to be displayed.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] fmt::Error);

    #[test]
    fn shows_all_causes() {
        let text = chain(&Outer(fmt::Error)).to_string();
        assert_eq!(text, format!("outer: {}", fmt::Error));
    }
}
