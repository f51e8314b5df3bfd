use super::Held;

/// Authorities that are trusted at once: the current one and those before it.
const TRUSTED_MAX: usize = 4;

/// The authorities that are trusted: the current one first, then those that were trusted before, for as long as they hold. What one of
/// them issued may be in use until then. Whoever wants one forgotten at once deletes the Secret that holds the bundle.
#[must_use]
pub fn bundle(current: &str, before: &str, now_unix_s: u64) -> String {
    let mut trusted: Vec<&str> = Vec::new();
    for certificate in certificates(current) {
        if !trusted.contains(&certificate) {
            trusted.push(certificate);
        }
    }
    for certificate in certificates(before) {
        let holds = Held::read(certificate).is_ok_and(|held| held.until_unix_s > now_unix_s);
        if holds && trusted.len() < TRUSTED_MAX && !trusted.contains(&certificate) {
            trusted.push(certificate);
        }
    }
    trusted
        .iter()
        .map(|certificate| format!("{certificate}\n"))
        .collect()
}

/// The certificates of a PEM file, each from its first line to its last.
fn certificates(pem: &str) -> impl Iterator<Item = &str> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    pem.match_indices(BEGIN).filter_map(|(start, _)| {
        let length = pem[start..].find(END)? + END.len();
        Some(&pem[start..start + length])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::{Authority, Validity};

    const DAY_S: u64 = 86_400;

    #[test]
    fn former_authority_is_trusted_until_it_ends() {
        let authority = |from_day: u64, days| {
            let validity = Validity::days(from_day * DAY_S, days);
            Authority::generate("test", validity)
                .unwrap()
                .pem()
                .certificate
                .clone()
        };
        let (first, second) = (authority(1_000, 10), authority(1_005, 10));
        let both = bundle(&second, &first, 1_006 * DAY_S);
        assert_eq!(both, format!("{}\n{}\n", second.trim(), first.trim()));
        assert_eq!(bundle(&second, &both, 1_006 * DAY_S), both, "the same again");
        assert_eq!(
            bundle(&second, &both, 1_011 * DAY_S),
            format!("{}\n", second.trim())
        );
        assert_eq!(
            bundle(&second, "nonsense -----BEGIN CERTIFICATE-----", 0),
            format!("{}\n", second.trim())
        );
        assert_eq!(bundle("", "", 0), "");
    }

    #[test]
    fn no_more_are_trusted_than_a_few() {
        let mut all = String::new();
        for _ in 0..6 {
            let new = Authority::generate("test", Validity::days(1_000 * DAY_S, 10)).unwrap();
            all = bundle(&new.pem().certificate, &all, 1_001 * DAY_S);
        }
        assert_eq!(certificates(&all).count(), TRUSTED_MAX);
    }
}
