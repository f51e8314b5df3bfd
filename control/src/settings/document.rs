//! `docs/settings.md`, written from the tables: every setting of brokers, topics and groups, and whether it is honoured.

use std::fmt::Write as _;

use super::{Kind, Scope, Setting, Update, settings};

const HEAD: &str = "<!-- Written by `just settings-generate` from the tables in `control/src/settings`: change those. -->
# Every setting

All settings of brokers, topics and groups of Apache Kafka 4.3.1, and the few that are ours alone. Each is

- **honoured**: it does what stands beside it;
- **managed**: a part of the Cluster resource decides it, and it cannot be set by name; or
- **refused**: it has no effect here, for the reason that stands beside it. Kafka's default is taken, since tools and manifests repeat defaults, and so is what stands under
  \"Default\" after it. Every other value is refused with that reason, and with the same words everywhere: by `flotilla up` and in the conditions of Cluster and Topic, by
  CreateTopics, AlterConfigs and IncrementalAlterConfigs (`INVALID_CONFIG`), and by a broker that finds it in its configuration file, which does not start.

A name that is not here is refused, too, and the most similar one is named. `kafka-configs.sh --describe --all` shows what holds, and where it comes from.

Settings of brokers are set in `spec.config` of the Cluster. \"Changed\" says how: with a **restart** of each broker, which the operator does, or while they run, for all **brokers** or
for **each** by itself, also with `kafka-configs.sh`. Settings of topics and groups are always changed while brokers run: in `spec.config` of the Topic, or with `kafka-configs.sh`.
";

/// The text of `docs/settings.md`.
#[must_use]
pub fn document() -> String {
    let mut text = HEAD.to_owned();
    for (scope, title) in [
        (Scope::Topic, "Topics"),
        (Scope::Broker, "Brokers"),
        (Scope::Group, "Groups"),
    ] {
        section(&mut text, scope, title);
    }
    text
}

fn section(text: &mut String, scope: Scope, title: &str) {
    let of = |is: fn(&Setting) -> bool| settings(scope).iter().filter(|setting| is(setting)).count();
    let (managed, refused) = (
        of(|setting| setting.managed_by.is_some()),
        of(|setting| setting.no_effect.is_some()),
    );
    let honoured = settings(scope).len() - managed - refused;
    let _ = write!(
        text,
        "\n## {title}\n\n{honoured} honoured, {managed} managed, {refused} refused.\n\n"
    );
    let changed = scope == Scope::Broker;
    let (head, line) = if changed { ("| Changed ", "|---") } else { ("", "") };
    let _ = write!(
        text,
        "| Setting | Type | Default | Values {head}| Here |\n|---|---|---|---{line}|---|\n"
    );
    for setting in settings(scope) {
        let update = if changed {
            format!("| {} ", update(setting.update))
        } else {
            String::new()
        };
        let cells = [setting.name.to_owned(), default(setting), values(setting)];
        let [name, default, values] = cells.map(|cell| escaped(&cell));
        let here = escaped(&here(setting));
        let kind = kind(setting.kind);
        let _ = writeln!(
            text,
            "| `{name}` | {kind} | {default} | {values} {update}| {here} |"
        );
    }
}

/// What the setting does here, or why it does nothing.
fn here(setting: &Setting) -> String {
    if let Some(by) = setting.managed_by {
        return format!("**managed** by {by}");
    }
    if let Some(without) = &setting.no_effect {
        return format!("**refused**: {}.", without.reason);
    }
    let doc = setting.doc();
    let names: Vec<_> = setting
        .stands_in_for()
        .map(|of| format!("`{}`", of.name))
        .collect();
    match (doc.is_empty(), names.is_empty()) {
        (true, false) => format!("**honoured**: What holds where {} is not set.", names.join(", ")),
        _ => format!("**honoured**: {doc}"),
    }
}

/// The default, and what else a setting without effect takes.
fn default(setting: &Setting) -> String {
    let also = setting.no_effect.iter().flat_map(|without| without.also);
    let taken: Vec<_> = setting
        .default
        .iter()
        .chain(also)
        .map(|value| match *value {
            "" => "empty".to_owned(),
            value => format!("`{value}`"),
        })
        .collect();
    if taken.is_empty() {
        "none".to_owned()
    } else {
        taken.join(", ")
    }
}

fn values(setting: &Setting) -> String {
    let expected = setting.expected();
    let values = expected.replace(" is expected", "");
    values.trim_end_matches(',').to_owned()
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "boolean",
        Kind::Int => "int",
        Kind::Long => "long",
        Kind::Short => "short",
        Kind::Double => "double",
        Kind::String => "string",
        Kind::List => "list",
        Kind::Class => "class",
        Kind::Password => "password",
    }
}

fn update(update: Update) -> &'static str {
    match update {
        Update::Restart => "restart",
        Update::ClusterWide => "brokers",
        Update::PerBroker => "each",
    }
}

fn escaped(cell: &str) -> String {
    cell.replace('|', "\\|")
}
