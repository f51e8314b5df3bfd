//! The configuration as it prints: without the values of settings that are secrets.

use std::collections::BTreeMap;
use std::fmt;

use super::BrokerConfig;
use crate::settings;

/// The settings that may be shown, and the names of the others.
fn public(settings: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    let hidden = |name: &str| settings::lookup(name).is_some_and(settings::Setting::sensitive);
    settings
        .iter()
        .map(|(name, value)| (name.as_str(), if hidden(name) { "[hidden]" } else { value }))
        .collect()
}

impl fmt::Debug for BrokerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cluster_id,
            broker_id,
            version,
            rack,
            roles,
            data_dirs,
            listeners,
            replication,
            control,
            admin,
            internal_tls,
            quorum,
            authorization,
            settings,
        } = self;
        f.debug_struct("BrokerConfig")
            .field("cluster_id", cluster_id)
            .field("broker_id", broker_id)
            .field("version", version)
            .field("rack", rack)
            .field("roles", roles)
            .field("data_dirs", data_dirs)
            .field("listeners", listeners)
            .field("replication", replication)
            .field("control", control)
            .field("admin", admin)
            .field("internal_tls", internal_tls)
            .field("quorum", quorum)
            .field("authorization", authorization)
            .field("settings", &public(settings))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_among_the_settings_are_not_printed() {
        let settings = BTreeMap::from([
            ("delegation.token.secret.key".to_owned(), "hush".to_owned()),
            ("log.retention.hours".to_owned(), "5".to_owned()),
        ]);
        assert_eq!(
            format!("{:?}", public(&settings)),
            r#"{"delegation.token.secret.key": "[hidden]", "log.retention.hours": "5"}"#
        );
    }
}
