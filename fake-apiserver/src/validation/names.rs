//! Names and label values (`k8s.io/apimachinery/pkg/util/validation`).

pub(crate) const DNS_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

pub(crate) const DNS_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

pub(crate) const QUALIFIED_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// At most 63 of `[a-z0-9-]`, alphanumeric at both ends.
pub(crate) fn is_dns_label(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Labels joined by dots, at most 253 in all (each may be longer than 63 here, as upstream).
pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// `[prefix/]name`.
pub(crate) fn is_qualified_name(text: &str) -> bool {
    let name = match text.split_once('/') {
        Some((prefix, name)) if is_dns_subdomain(prefix) => name,
        Some(_) => return false,
        None => text,
    };
    !name.is_empty() && is_word(name)
}

/// Why a label value is wrong.
pub(crate) fn label_value_error(text: &str) -> Option<String> {
    if text.len() > 63 {
        return Some("must be no more than 63 characters".to_owned());
    }
    (!text.is_empty() && !is_word(text)).then(|| LABEL_VALUE.to_owned())
}

fn is_word(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63
        && text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_at_their_edges() {
        assert!(
            is_dns_label("a") && is_dns_label(&"a".repeat(63)) && !is_dns_label(&"a".repeat(64))
        );
        assert!(
            !is_dns_label("A") && !is_dns_label("-a") && !is_dns_label("a-") && !is_dns_label("")
        );
        assert!(
            is_dns_subdomain("a.b-c.d")
                && !is_dns_subdomain("a..b")
                && !is_dns_subdomain("Bad_Name")
        );
        assert!(is_qualified_name("karpenter.sh/x_y.Z") && is_qualified_name("app"));
        assert!(
            !is_qualified_name("a/b/c") && !is_qualified_name("/x") && !is_qualified_name("x/")
        );
        assert!(label_value_error("").is_none() && label_value_error("A_1.b").is_none());
        assert!(label_value_error("-x").is_some() && label_value_error(&"a".repeat(64)).is_some());
    }
}
