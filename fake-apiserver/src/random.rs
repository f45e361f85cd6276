//! Seeded randomness of the server: one stream per purpose, so that one more draw in one place
//! does not shift the others.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

/// The streams.
#[derive(Debug)]
pub(crate) struct Random {
    uids: ChaCha8Rng,
    names: ChaCha8Rng,
}

/// `k8s.io/apimachinery/pkg/util/rand`: no vowels, no look-alikes.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            uids: stream(seed, "uids"),
            names: stream(seed, "names"),
        }
    }

    /// A version 4 UUID.
    pub(crate) fn uid(&mut self) -> String {
        let mut bytes = [0; 16];
        self.uids.fill_bytes(&mut bytes);
        let number = u128::from_be_bytes(bytes);
        // version 4, variant 10
        let number = number & !(0xf << 76) | (4 << 76);
        let number = number & !(0b11 << 62) | (0b10 << 62);
        let text = format!("{number:032x}");
        let mut rest = text.as_str();
        let parts = [8, 4, 4, 4, 12].map(|length| {
            let (part, tail) = rest.split_at(length);
            rest = tail;
            part
        });
        parts.join("-")
    }

    /// The suffix of a generated name.
    pub(crate) fn suffix(&mut self) -> String {
        let letter = |_| {
            let index = self.names.next_u32() as usize % ALPHABET.len();
            char::from(ALPHABET.get(index).copied().unwrap_or(b'b'))
        };
        (0..5).map(letter).collect()
    }
}

fn stream(seed: u64, purpose: &str) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(derive(seed, purpose))
}

/// 32 bytes for a purpose.
pub(crate) fn derive(seed: u64, purpose: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(b"fake-apiserver/");
    hash.update(purpose);
    hash.finalize().into()
}
