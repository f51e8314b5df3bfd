use flotilla_crds::{AllowedNamespaces, CertificateAuthority, Cluster, From};

use super::super::certificate::{Trust, source};
use super::name;
use crate::Problem;

pub(super) fn check(cluster: &Cluster, wrong: &mut Vec<Problem>) {
    super_users(cluster, wrong);
    authorities(cluster, wrong);
    for (place, allowed) in cluster.spec.allowed_namespaces.iter().enumerate() {
        namespaces(allowed, &format!("spec.allowedNamespaces[{place}]"), wrong);
    }
}

fn super_users(cluster: &Cluster, wrong: &mut Vec<Problem>) {
    let users = cluster
        .spec
        .authorization
        .iter()
        .flat_map(|rules| &rules.super_users);
    for user in users {
        let message = if user.trim().is_empty() {
            "a super user has a name"
        } else if user.starts_with("User:") {
            "name it without `User:`"
        } else if user == "*" {
            "`*` is nobody's name: with `type: none` everybody may do everything"
        } else {
            continue;
        };
        wrong.push(Problem::spec(
            format!("spec.authorization.superUsers[{user}]"),
            message,
        ));
    }
}

fn authorities(cluster: &Cluster, wrong: &mut Vec<Problem>) {
    let Some(tls) = &cluster.spec.tls else {
        return;
    };
    for (trust, field, given) in [
        (Trust::Cluster, "spec.tls.clusterCa", &tls.cluster_ca),
        (Trust::Clients, "spec.tls.clientsCa", &tls.clients_ca),
    ] {
        if let Some(given) = given {
            authority(cluster, trust, field, given, wrong);
        }
    }
}

fn authority(
    cluster: &Cluster,
    trust: Trust,
    field: &str,
    given: &CertificateAuthority,
    wrong: &mut Vec<Problem>,
) {
    let kinds = [
        given.own.is_some(),
        given.secret.is_some(),
        given.issuer_ref.is_some(),
    ];
    if kinds.iter().filter(|given| **given).count() > 1 {
        wrong.push(Problem::spec(field, "it is one of own, secret and issuerRef"));
    }
    if let Some(own) = &given.own {
        for (name, days) in [
            ("validityDays", own.validity_days),
            ("renewBeforeDays", own.renew_before_days),
        ] {
            if let Some(days) = days
                && !(1..=36_500).contains(&days)
            {
                wrong.push(Problem::spec(
                    format!("{field}.own.{name}"),
                    format!("it is 1 to 36500 days, not {days}"),
                ));
            }
        }
        let terms = source(cluster, trust).terms();
        if terms.renew_before_days >= terms.validity_days {
            wrong.push(Problem::spec(
                format!("{field}.own.renewBeforeDays"),
                format!(
                    "certificates that hold {} days cannot be renewed {} days before their end",
                    terms.validity_days, terms.renew_before_days
                ),
            ));
        }
    }
    let secret = given.secret.as_ref().map(|secret| ("secret", &secret.name));
    let issuer = given
        .issuer_ref
        .as_ref()
        .map(|issuer| ("issuerRef", &issuer.name));
    for (kind, name) in [secret, issuer].into_iter().flatten() {
        if !name::is_host(name) {
            wrong.push(Problem::spec(
                format!("{field}.{kind}.name"),
                format!("`{name}` is not the name of an object in Kubernetes"),
            ));
        }
    }
}

fn namespaces(allowed: &AllowedNamespaces, field: &str, wrong: &mut Vec<Problem>) {
    match (&allowed.selector, allowed.from) {
        (None, From::Selector) => wrong.push(Problem::spec(
            format!("{field}.selector"),
            "`from: Selector` needs it",
        )),
        (Some(_), From::All | From::Same) => wrong.push(Problem::spec(
            format!("{field}.selector"),
            "it has no effect without `from: Selector`",
        )),
        _ => {}
    }
    let expressions = allowed
        .selector
        .iter()
        .flat_map(|selector| &selector.match_expressions);
    for expression in expressions.flatten() {
        let has_values = expression
            .values
            .as_ref()
            .is_some_and(|values| !values.is_empty());
        let message = match expression.operator.as_str() {
            "In" | "NotIn" if !has_values => format!("{} needs values", expression.operator),
            "Exists" | "DoesNotExist" if has_values => format!("{} takes no values", expression.operator),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => continue,
            other => format!("`{other}` is none of In, NotIn, Exists and DoesNotExist"),
        };
        wrong.push(Problem::spec(
            format!("{field}.selector.matchExpressions"),
            message,
        ));
    }
    if allowed.prefixes.iter().any(String::is_empty) {
        wrong.push(Problem::spec(
            format!("{field}.prefixes"),
            "an empty prefix allows every name: leave `prefixes` out if that is meant",
        ));
    }
}
