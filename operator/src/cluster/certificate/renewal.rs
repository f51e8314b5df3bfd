use std::collections::BTreeSet;
use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::Terms;

const DAY_S: u64 = 86_400;

/// What a certificate says that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its names, as [`super::Subject::names`] writes them.
    pub names: BTreeSet<String>,
    /// When it begins: seconds since 1970.
    pub from_unix_s: u64,
    /// When it ends: seconds since 1970.
    pub until_unix_s: u64,
}

/// By whom a certificate would be issued now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Issuer<'a> {
    /// A digest of its key.
    pub key: &'a str,
    /// When it ends itself, and with it whatever it issues: seconds since 1970.
    pub until_unix_s: u64,
}

/// Somebody put something else in its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no certificate in PEM form")]
pub struct Unreadable;

/// What to do about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Nothing until then: seconds since 1970.
    Keep {
        /// When to look again.
        until_unix_s: u64,
    },
    /// Make a new one; the text says why.
    Issue(String),
}

impl Held {
    /// Reads the first certificate of a chain.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn read(pem: &str) -> Result<Self, Unreadable> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| Unreadable)?;
        let (_, certificate) = X509Certificate::from_der(&pem.contents).map_err(|_| Unreadable)?;
        let unix_s = |time: i64| u64::try_from(time).unwrap_or(0);
        let common_names = certificate
            .subject()
            .iter_common_name()
            .filter_map(|name| Some(format!("CN:{}", name.as_str().ok()?)));
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let alternative = alternative
            .iter()
            .flat_map(|names| &names.value.general_names)
            .filter_map(written);
        Ok(Self {
            names: common_names.chain(alternative).collect(),
            from_unix_s: unix_s(certificate.validity().not_before.timestamp()),
            until_unix_s: unix_s(certificate.validity().not_after.timestamp()),
        })
    }

    /// When a new one is due. One that holds for less than the terms ask, because its authority ends, is renewed in the last
    /// third of its life: otherwise it would be made anew at every look.
    fn due_unix_s(&self, terms: Terms) -> u64 {
        let before = u64::from(terms.renew_before_days) * DAY_S;
        let life = self.until_unix_s.saturating_sub(self.from_unix_s);
        let last_third = self.from_unix_s + life / 3 * 2;
        self.until_unix_s.saturating_sub(before).max(last_third)
    }
}

fn written(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{name}")),
        GeneralName::URI(uri) => Some(format!("URI:{uri}")),
        GeneralName::IPAddress(bytes) => {
            let address: IpAddr = match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok()?.into(),
                16 => <[u8; 16]>::try_from(*bytes).ok()?.into(),
                _ => return None,
            };
            Some(format!("IP:{address}"))
        }
        _ => None,
    }
}

/// Whether a certificate is made anew: there is none, it ends soon, it lacks a name, or another authority made it. More names than
/// are needed are no reason: nodes come and go. Neither is age, where a new one would end no later: an authority at its own end would
/// be asked at every look. `issued_by` is the digest of the key of the authority that issued it.
#[must_use]
pub fn renewal(
    now_unix_s: u64,
    held: Option<&Result<Held, Unreadable>>,
    names: &BTreeSet<String>,
    issued_by: Option<&str>,
    issuer: Issuer<'_>,
    terms: Terms,
) -> Renewal {
    let held = match held {
        None => return Renewal::Issue("there is none yet".to_owned()),
        Some(Err(unreadable)) => return Renewal::Issue(unreadable.to_string()),
        Some(Ok(held)) => held,
    };
    if issued_by != Some(issuer.key) {
        return Renewal::Issue("the authority is another one now".to_owned());
    }
    if let Some(missing) = names.difference(&held.names).next() {
        return Renewal::Issue(format!("it does not name {missing}"));
    }
    match by_age(now_unix_s, held, terms) {
        Renewal::Issue(_) if issuer.until_unix_s <= held.until_unix_s => Renewal::Keep {
            until_unix_s: issuer.until_unix_s.max(now_unix_s.saturating_add(DAY_S)),
        },
        due => due,
    }
}

/// Whether an authority of the operator's own is made anew. It keeps its key: what it issued stays good, and whoever trusts the
/// old certificate trusts what is issued under the new one.
#[must_use]
pub fn authority_renewal(now_unix_s: u64, held: Option<&Result<Held, Unreadable>>, terms: Terms) -> Renewal {
    match held {
        None => Renewal::Issue("there is none yet".to_owned()),
        Some(Err(unreadable)) => Renewal::Issue(unreadable.to_string()),
        // It has to outlive whatever it issues from now on.
        Some(Ok(held)) => by_age(
            now_unix_s,
            held,
            Terms {
                renew_before_days: terms.validity_days.saturating_add(terms.renew_before_days),
                ..terms
            },
        ),
    }
}

fn by_age(now_unix_s: u64, held: &Held, terms: Terms) -> Renewal {
    let due = held.due_unix_s(terms);
    if now_unix_s >= due {
        let left_days = held.until_unix_s.saturating_sub(now_unix_s) / DAY_S;
        return Renewal::Issue(format!("it ends in {left_days} days"));
    }
    Renewal::Keep { until_unix_s: due }
}

#[cfg(test)]
mod tests {
    use flotilla_control::Uuid;

    use super::super::Subject;
    use super::*;
    use crate::certificate::{Authority, Validity};

    const TERMS: Terms = Terms {
        validity_days: 90,
        renew_before_days: 30,
    };
    const NOW: u64 = 1_700_000_000;

    fn held(days: u32) -> Held {
        Held {
            names: BTreeSet::from(["DNS:a".into(), "DNS:b".into()]),
            from_unix_s: NOW,
            until_unix_s: NOW + u64::from(days) * DAY_S,
        }
    }

    const CA: Issuer<'_> = Issuer {
        key: "ca",
        until_unix_s: NOW + 9_000 * DAY_S,
    };

    fn look(now_unix_s: u64, held: Held, names: &[&str], issued_by: &str) -> Renewal {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        renewal(now_unix_s, Some(&Ok(held)), &names, Some(issued_by), CA, TERMS)
    }

    #[test]
    fn issued_certificate_is_read_as_it_was_asked_for() {
        let authority = Authority::generate("ca", Validity::days(NOW, 900)).unwrap();
        let hosts = ["a.example.com", "10.0.0.1", "fd00::1"];
        let issued = authority.issue_listener(&hosts, Validity::days(NOW, 90)).unwrap();
        let held = Held::read(&issued.certificate).unwrap();
        let subject = Subject::Listener(hosts.map(str::to_owned).to_vec());
        assert!(held.names.is_superset(&subject.names(Uuid([0; 16]))), "{held:?}");
        assert_eq!(held.until_unix_s, NOW + 90 * DAY_S);
        assert_eq!(
            renewal(
                NOW,
                Some(&Ok(held)),
                &subject.names(Uuid([0; 16])),
                Some("ca"),
                CA,
                TERMS
            ),
            Renewal::Keep {
                until_unix_s: NOW + 60 * DAY_S
            }
        );
        assert_eq!(Held::read("nothing"), Err(Unreadable));
    }

    #[test]
    fn certificate_is_renewed_in_time_and_not_before() {
        let due = NOW + 60 * DAY_S;
        assert_eq!(
            look(due - 1, held(90), &["DNS:a"], "ca"),
            Renewal::Keep { until_unix_s: due }
        );
        assert_eq!(
            look(due, held(90), &["DNS:a"], "ca"),
            Renewal::Issue("it ends in 30 days".into())
        );
        assert_eq!(
            look(due + 400 * DAY_S, held(90), &["DNS:a"], "ca"),
            Renewal::Issue("it ends in 0 days".into())
        );
    }

    #[test]
    fn certificate_cut_short_by_its_authority_is_not_renewed_at_every_look() {
        assert_eq!(
            look(NOW, held(9), &["DNS:a"], "ca"),
            Renewal::Keep {
                until_unix_s: NOW + 6 * DAY_S
            }
        );
    }

    #[test]
    fn certificate_is_not_renewed_where_its_authority_ends_no_later() {
        let names = BTreeSet::from(["DNS:a".to_owned()]);
        let at = |now_unix_s, until_unix_s| {
            let ends = Issuer {
                key: "ca",
                until_unix_s,
            };
            renewal(now_unix_s, Some(&Ok(held(9))), &names, Some("ca"), ends, TERMS)
        };
        let end = NOW + 9 * DAY_S;
        assert_eq!(at(NOW + 8 * DAY_S, end), Renewal::Keep { until_unix_s: end });
        // It has ended, and what it would issue now had ended too.
        let later = end + 100 * DAY_S;
        assert_eq!(
            at(later, end),
            Renewal::Keep {
                until_unix_s: later + DAY_S
            }
        );
        // The same authority was given more time.
        assert_eq!(
            at(NOW + 8 * DAY_S, end + 1),
            Renewal::Issue("it ends in 1 days".into())
        );
    }

    #[test]
    fn missing_name_or_another_authority_is_reason_to_issue() {
        assert_eq!(
            look(NOW, held(90), &["DNS:a", "IP:10.0.0.9"], "ca"),
            Renewal::Issue("it does not name IP:10.0.0.9".into())
        );
        assert_eq!(
            look(NOW, held(90), &["DNS:a"], "old"),
            Renewal::Issue("the authority is another one now".into())
        );
        let none = BTreeSet::new();
        assert_eq!(
            renewal(NOW, None, &none, None, CA, TERMS),
            Renewal::Issue("there is none yet".into())
        );
        assert_eq!(
            renewal(NOW, Some(&Err(Unreadable)), &none, None, CA, TERMS),
            Renewal::Issue("it is no certificate in PEM form".into())
        );
    }

    #[test]
    fn authority_is_renewed_while_it_still_outlives_what_it_issues() {
        let due = NOW + (900 - 120) * DAY_S;
        assert_eq!(
            authority_renewal(due - 1, Some(&Ok(held(900))), TERMS),
            Renewal::Keep { until_unix_s: due }
        );
        assert!(matches!(
            authority_renewal(due, Some(&Ok(held(900))), TERMS),
            Renewal::Issue(_)
        ));
    }
}
