//! What the tables of settings call honoured, something reads; what they say has no effect, nothing does.

use std::collections::BTreeSet;

use flotilla_control::settings::{Scope, Setting, find, settings};

use super::{read, root, sources};

/// Where settings are acted upon. The tables themselves do not count.
const ROOMS: [&str; 4] = ["broker/src", "control/src/config", "operator/src", "cli/src/up"];

/// Honoured without being read: whatever they are set to, it is the case.
const ALWAYS_MET: [(&str, &str); 1] = [(
    "file.delete.delay.ms",
    "files go at once, which is never later than it says",
)];

/// The code of a file without its tests and comments.
fn code(text: &str) -> String {
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..tests]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn is_test(path: &std::path::Path) -> bool {
    let tests = ["tests", "testing", "tests.rs", "testing.rs"];
    path.components().any(|part| {
        part.as_os_str()
            .to_str()
            .is_some_and(|part| tests.contains(&part))
    }) || path
        .file_stem()
        .and_then(|stem| stem.to_str())
        .is_some_and(|stem| stem.ends_with("_tests") || stem.ends_with("_bench"))
}

/// What the code reads: names of fields that follow a dot, and names in quotes.
struct Reads {
    fields: BTreeSet<String>,
    quoted: BTreeSet<String>,
}

impl Reads {
    fn of_all() -> Self {
        let mut reads = Self {
            fields: BTreeSet::new(),
            quoted: BTreeSet::new(),
        };
        let mut looked_at = 0;
        for file in ROOMS.iter().flat_map(|room| sources(&root().join(room))) {
            if is_test(file.strip_prefix(root()).unwrap()) {
                continue;
            }
            looked_at += 1;
            let code = code(&read(&file));
            let words = code.split('.').skip(1).map(|after| {
                let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let end = after.find(|c| !is_part(c)).unwrap_or(after.len());
                after[..end].to_owned()
            });
            reads.fields.extend(words);
            // A text in quotes that is a name has no quote inside: every second part is one, as far as names go.
            reads.quoted.extend(code.split('"').map(str::to_owned));
        }
        assert!(
            looked_at > 200,
            "only {looked_at} files looked at: did the rooms move?"
        );
        reads
    }

    /// By its name, or by the field of `BrokerSettings` or `TopicConfig` that is named like it.
    fn has(&self, setting: &Setting) -> bool {
        self.quoted.contains(setting.name) || self.fields.contains(&setting.name.replace('.', "_"))
    }
}

fn all() -> impl Iterator<Item = &'static Setting> {
    [Scope::Broker, Scope::Topic, Scope::Group]
        .into_iter()
        .flat_map(settings)
}

#[test]
fn what_is_called_honoured_is_read() {
    let reads = Reads::of_all();
    let is_always_met = |setting: &Setting| {
        let mut met = ALWAYS_MET.iter();
        met.any(|(name, _)| *name == setting.name)
    };
    let is_acted_upon = |setting: &Setting| reads.has(setting) || is_always_met(setting);
    let unread: Vec<_> = all()
        .filter(|setting| setting.managed_by.is_none() && setting.no_effect.is_none())
        // Those that stand in for others are read where those are: through the table.
        .filter(|setting| !is_acted_upon(setting) && !setting.stands_in_for().any(is_acted_upon))
        .map(|setting| format!("{} setting `{}`", setting.scope, setting.name))
        .collect();
    assert!(
        unread.is_empty(),
        "nothing reads these. Honour them, or say in the table why they have no effect:\n{}",
        unread.join("\n")
    );
    for (name, _) in ALWAYS_MET {
        let setting = find(Scope::Topic, name).expect("a setting");
        assert!(!reads.has(setting), "{name} is read: it is no exception any more");
    }
}

#[test]
fn what_is_said_to_have_no_effect_is_read_by_nothing() {
    let reads = Reads::of_all();
    let read: Vec<_> = all()
        .filter(|setting| setting.no_effect.is_some() && reads.has(setting))
        .map(|setting| setting.name)
        // Clients have a setting of that name, too, and files for them are written.
        .filter(|name| *name != "sasl.jaas.config")
        .collect();
    assert_eq!(
        read,
        Vec::<&str>::new(),
        "these are read, and refused all the same"
    );
}
