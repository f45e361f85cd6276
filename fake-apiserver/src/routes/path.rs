//! Request paths, as the real server's `RequestInfo` reads them
//! (`kubernetes/kubernetes staging/src/k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`).

use std::borrow::Cow;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    Root,
    Health(&'a str),
    Version,
    OpenApiV2,
    OpenApiV3(Option<&'a str>),
    OpenId,
    /// `/api`
    Core,
    /// `/apis`
    Groups,
    Group(&'a str),
    GroupVersion(&'a str, &'a str),
    Resource(ResourcePath<'a>),
    Unknown,
}

/// A path below a group and version.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResourcePath<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub namespace: Cow<'a, str>,
    pub plural: &'a str,
    pub name: Cow<'a, str>,
    pub subresource: &'a str,
    /// The legacy `/watch/` prefix.
    pub watch: bool,
}

pub(super) fn parse(path: &str) -> Target<'_> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut segments = path.split('/').skip(1);
    match segments.next() {
        None | Some("") => Target::Root,
        Some(check @ ("healthz" | "livez" | "readyz")) => Target::Health(check),
        Some("version") if segments.next().is_none() => Target::Version,
        Some("openapi") => openapi(path),
        Some(".well-known" | "openid") => Target::OpenId,
        Some("api") => match segments.next() {
            None => Target::Core,
            Some(version) => below("", version, segments),
        },
        Some("apis") => match (segments.next(), segments.next()) {
            (None, _) => Target::Groups,
            (Some(group), None) => Target::Group(group),
            (Some(group), Some(version)) => below(group, version, segments),
        },
        Some(_) => Target::Unknown,
    }
}

fn openapi(path: &str) -> Target<'_> {
    match path.strip_prefix("/openapi/") {
        Some("v2") => Target::OpenApiV2,
        Some("v3") => Target::OpenApiV3(None),
        Some(rest) => rest
            .strip_prefix("v3/")
            .map_or(Target::Unknown, |rest| Target::OpenApiV3(Some(rest))),
        None => Target::Unknown,
    }
}

fn below<'a>(
    group: &'a str,
    version: &'a str,
    segments: impl Iterator<Item = &'a str>,
) -> Target<'a> {
    let mut segments: Vec<&str> = segments.collect();
    if segments.is_empty() {
        return Target::GroupVersion(group, version);
    }
    let watch = segments.first() == Some(&"watch") && segments.len() > 1;
    if watch {
        segments.remove(0);
    }
    let mut path = ResourcePath {
        group,
        version,
        namespace: "".into(),
        plural: "",
        name: "".into(),
        subresource: "",
        watch,
    };
    match segments.as_slice() {
        ["namespaces", name, sub @ ("status" | "finalize")] if group.is_empty() => {
            (path.plural, path.name, path.subresource) = ("namespaces", decode(name), sub);
        }
        ["namespaces", namespace, plural, rest @ ..] => {
            path.namespace = decode(namespace);
            path.plural = plural;
            tail(&mut path, rest);
        }
        [plural, rest @ ..] => {
            path.plural = plural;
            tail(&mut path, rest);
        }
        [] => {}
    }
    Target::Resource(path)
}

fn tail<'a>(path: &mut ResourcePath<'a>, rest: &[&'a str]) {
    if let Some(name) = rest.first() {
        path.name = decode(name);
    }
    if let Some(subresource) = rest.get(1) {
        path.subresource = subresource;
    }
}

/// Percent-decoding; malformed escapes stay as they are.
fn decode(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return segment.into();
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        let ahead = rest.clone();
        let escape = (byte == b'%').then(|| {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            Some(digit(rest.next())? * 16 + digit(rest.next())?)
        });
        match escape.flatten().and_then(|value| u8::try_from(value).ok()) {
            Some(value) => bytes.push(value),
            None => {
                rest = ahead;
                bytes.push(byte);
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_what_they_should() {
        let resource = |path| match parse(path) {
            Target::Resource(path) => (
                path.group,
                path.namespace.into_owned(),
                path.plural,
                path.name.into_owned(),
                path.subresource,
                path.watch,
            ),
            other => panic!("{path}: {other:?}"),
        };
        let own = |text: &str| text.to_owned();
        assert_eq!(
            resource("/api/v1/pods"),
            ("", own(""), "pods", own(""), "", false)
        );
        assert_eq!(
            resource("/api/v1/namespaces/a"),
            ("", own(""), "namespaces", own("a"), "", false)
        );
        assert_eq!(
            resource("/api/v1/namespaces/a/pods/b/status"),
            ("", own("a"), "pods", own("b"), "status", false)
        );
        assert_eq!(
            resource("/api/v1/namespaces/a/finalize"),
            ("", own(""), "namespaces", own("a"), "finalize", false)
        );
        assert_eq!(
            resource("/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode"),
            (
                "rbac.authorization.k8s.io",
                own(""),
                "clusterroles",
                own("system:node"),
                "",
                false
            )
        );
        assert_eq!(
            resource("/api/v1/watch/namespaces/a/pods"),
            ("", own("a"), "pods", own(""), "", true)
        );
        assert_eq!(parse("/version/"), Target::Version);
        assert_eq!(parse("/apis/apps"), Target::Group("apps"));
        assert_eq!(parse("/apis/apps/v1"), Target::GroupVersion("apps", "v1"));
        assert_eq!(
            parse("/openapi/v3/apis/apps/v1"),
            Target::OpenApiV3(Some("apis/apps/v1"))
        );
        assert_eq!(parse("/nope"), Target::Unknown);
        assert_eq!(parse("/"), Target::Root);
    }
}
