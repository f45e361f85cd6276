//! Random draws by name: every draw comes from its own stream, derived from the seed and from what
//! the draw is for, so that one draw more or less shifts no other.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

/// The root of all randomness of one cloud.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeds {
    seed: u64,
}

impl Seeds {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The stream of one purpose and one identity.
    fn stream(self, purpose: &str, identity: &str) -> ChaCha8Rng {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update(b"fake-arm/");
        hash.update(purpose.as_bytes());
        hash.update(b"\0");
        hash.update(identity.as_bytes());
        ChaCha8Rng::from_seed(hash.finalize().into())
    }

    /// A whole number of `low..=high`.
    pub(crate) fn between(self, purpose: &str, identity: &str, low: u64, high: u64) -> u64 {
        let width = high.saturating_sub(low) + 1;
        // The bias of the remainder is below 2^-40 for the widths used here (milliseconds).
        low + self.stream(purpose, identity).next_u64() % width
    }

    /// A random (version 4) GUID.
    pub(crate) fn guid(self, purpose: &str, identity: &str) -> String {
        let mut bytes = [0_u8; 16];
        self.stream(purpose, identity).fill_bytes(&mut bytes);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let hex = hex(&bytes);
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        [
            part(0, 8),
            part(8, 12),
            part(12, 16),
            part(16, 20),
            part(20, 32),
        ]
        .join("-")
    }

    /// Eight decimal digits, as AKS puts them into names.
    pub(crate) fn digits(self, purpose: &str, identity: &str) -> String {
        format!(
            "{:08}",
            self.between(purpose, identity, 10_000_000, 99_999_999)
        )
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a String cannot fail");
            text
        })
}
