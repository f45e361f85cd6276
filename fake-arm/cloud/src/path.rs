//! ARM resource ids and request paths.

use std::fmt;

/// A resource id. Compares without case, keeps the spelling of whoever wrote it first.
#[derive(Clone, Debug)]
pub(crate) struct ResourceId {
    text: String,
}

impl ResourceId {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// The id of a resource of a group: `kind` is `Namespace/type`.
    pub(crate) fn in_group(subscription: &str, group: &str, kind: &str, name: &str) -> Self {
        Self::new(format!(
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/{kind}/{name}"
        ))
    }

    /// What the stores use as key.
    pub(crate) fn key(&self) -> String {
        key_of(&self.text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The last segment.
    pub(crate) fn name(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }

    /// The resource group's name; empty when the id has none.
    pub(crate) fn group(&self) -> &str {
        let mut segments = self.text.split('/').skip(1);
        while let Some(segment) = segments.next() {
            if segment.eq_ignore_ascii_case("resourceGroups") {
                return segments.next().unwrap_or_default();
            }
        }
        ""
    }

    /// `azure://` and the id, its resource group in lower case, as the Azure cloud provider of
    /// Kubernetes writes it.
    pub(crate) fn provider_id(&self) -> String {
        let mut id = String::with_capacity("azure://".len() + self.text.len());
        id.push_str("azure://");
        let mut is_group = false;
        for segment in self.text.split('/').skip(1) {
            id.push('/');
            if is_group {
                id.extend(segment.chars().flat_map(char::to_lowercase));
            } else {
                id.push_str(segment);
            }
            is_group = segment.eq_ignore_ascii_case("resourceGroups");
        }
        id
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The key of an id given as text.
pub(crate) fn key_of(id: &str) -> String {
    id.trim_end_matches('/').to_ascii_lowercase()
}

/// The decoded segments of a request path. Repeated slashes count as one.
pub(crate) fn segments(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .map(decode)
        .collect()
}

/// Percent-decodes one segment; a plus sign stays a plus sign.
fn decode(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let code = bytes
            .get(at + 1..at + 3)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        match code.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(value) if byte == b'%' => {
                out.push(value);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether two names are the same to ARM.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// `West Europe` and `westeurope` are one location.
pub(crate) fn normal_location(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace())
        .collect::<String>()
        .to_lowercase()
}
