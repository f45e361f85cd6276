//! The hash of a pod template (`controller.ComputeHash`, `rand.SafeEncodeString`).

use serde_json::Value;

use crate::object::number;

/// The label that carries it.
pub(crate) const LABEL: &str = "pod-template-hash";

/// Letters and digits that spell no words.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// FNV-1 over the template and the collision count. Upstream hashes a dump of its Go structures,
/// so the values differ from those of a real cluster; their form and their use are the same.
pub(crate) fn of_template(deployment: &Value) -> String {
    let mut hash: u32 = 0x811c_9dc5;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes {
            hash = hash.wrapping_mul(0x0100_0193) ^ u32::from(*byte);
        }
    };
    feed(deployment["spec"]["template"].to_string().as_bytes());
    let collisions = number(&deployment["status"]["collisionCount"]);
    if collisions > 0 {
        feed(&collisions.to_le_bytes());
    }
    safe(&hash.to_string())
}

fn safe(text: &str) -> String {
    text.bytes()
        .map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]))
        .collect()
}
