use std::net::IpAddr;

/// Begins with a letter, then letters, digits and `-`, and ends with none of the latter: what can be part of the name of a Service.
pub(super) fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let ends_well = matches!(bytes, [first, .., last]
        if first.is_ascii_lowercase() && (last.is_ascii_lowercase() || last.is_ascii_digit()))
        || matches!(bytes, [only] if only.is_ascii_lowercase());
    ends_well
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
}

/// A name in DNS, as Kubernetes has it (RFC 1123): also what Secrets may be called.
pub(super) fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        let edge =
            |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let bytes = label.as_bytes();
        bytes.len() <= 63
            && edge(bytes.first())
            && edge(bytes.last())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

/// A name in DNS or an address.
pub(super) fn is_host_or_address(host: &str) -> bool {
    is_host(host) || host.parse::<IpAddr>().is_ok()
}

/// The key of a label or an annotation: a name of at most 63 characters, after a domain and a `/` where there is one.
pub(super) fn is_label_key(key: &str) -> bool {
    let name = match key.split_once('/') {
        Some((domain, name)) if is_host(domain) => name,
        Some(_) => return false,
        None => key,
    };
    let bytes = name.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// Roughly what a container runtime takes: it tells the rest itself, as `ImageUnavailable`.
pub(super) fn is_image(image: &str) -> bool {
    let bytes = image.as_bytes();
    bytes.len() <= 1_000
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/@".contains(byte))
}
