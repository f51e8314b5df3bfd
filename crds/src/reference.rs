//! What users look up, written from the types: `docs/resources.md` and `docs/reasons.md`.

use std::fmt::Write as _;

use serde_json::Value;

use crate::{ConditionType, GROUP, Reason, VERSION, definitions};

const WRITTEN: &str =
    "<!-- Written by `just crds-generate` from the types in `crds/src`: change those. -->\n";

/// Fields whose insides are Kubernetes' own, with the name of the type there.
const KUBERNETES: [(&str, &str); 4] = [
    ("selector", "LabelSelector"),
    ("resources", "ResourceRequirements"),
    ("conditions", "list of Condition"),
    ("template", "open object"),
];

/// The documents, each by the name of its file in `docs/`.
#[must_use]
pub fn documents() -> Vec<(&'static str, String)> {
    vec![("resources.md", resources()), ("reasons.md", reasons())]
}

fn resources() -> String {
    let mut text = format!(
        "{WRITTEN}# Every field of the three resources\n\n\
         All three are `{GROUP}/{VERSION}`, live in a namespace, and belong to the category `flotilla`: `kubectl get flotilla -A` lists \
         them all, and `kubectl explain cluster.spec.pools` says on the terminal what stands here. A field in **bold** has to be given. \
         What a field's \"Default\" says is known to the operator and not filled in by the API server: what you apply is what stays.\n\n\
         What is listed as refused is refused by the API server, so that `kubectl apply` fails and says why. The operator checks more \
         than that, such as the names and values of Kafka's settings; those problems are in the condition `Ready`, see \
         [reasons.md](reasons.md). What runs is left alone in both cases.\n"
    );
    for (_, definition) in definitions() {
        resource(&mut text, &definition);
    }
    text
}

fn resource(text: &mut String, definition: &Value) {
    let names = &definition["spec"]["names"];
    let version = &definition["spec"]["versions"][0];
    let root = &version["schema"]["openAPIV3Schema"];
    let short: Vec<&str> = texts(&names["shortNames"]);
    let columns = version["additionalPrinterColumns"].as_array();
    let columns: Vec<String> = columns
        .into_iter()
        .flatten()
        .map(|column| {
            let wide = if column["priority"].is_null() {
                ""
            } else {
                " (with `-o wide`)"
            };
            format!("{}{wide}", word(column, "name"))
        })
        .collect();
    let _ = write!(
        text,
        "\n## {}\n\n{} `kubectl get {}`, in short `{}`, shows {}.\n",
        word(names, "kind"),
        word(root, "description"),
        word(names, "plural"),
        short.join("`, `"),
        columns.join(", "),
    );
    for (part, title) in [("spec", "What you write"), ("status", "What it reports")] {
        let _ = write!(text, "\n### {title}\n\n| field | type | |\n| --- | --- | --- |\n");
        fields(text, part, &root["properties"][part]);
    }
    let mut refusals = Vec::new();
    rules(&mut refusals, "", root);
    text.push_str("\n### What is refused\n\n");
    for (way, message) in refusals {
        let at = if way.is_empty() {
            String::new()
        } else {
            format!("`{way}`: ")
        };
        let _ = writeln!(text, "- {at}{message}");
    }
}

/// A row for every field beneath a schema.
fn fields(text: &mut String, way: &str, schema: &Value) {
    let required = texts(&schema["required"]);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let way = format!("{way}.{name}");
        // In a status everything is told, and nothing has to be given.
        let bold = if required.contains(&name.as_str()) && way.starts_with("spec") {
            "**"
        } else {
            ""
        };
        let theirs = KUBERNETES
            .iter()
            .find(|(known, _)| known == name && field["type"] != "string");
        let type_ = theirs.map_or_else(|| type_of(field), |(_, type_)| (*type_).to_owned());
        let _ = writeln!(
            text,
            "| {bold}`{way}`{bold} | {} | {} |",
            type_.replace('|', "\\|"),
            word(field, "description").replace('\n', " ").replace('|', "\\|")
        );
        if theirs.is_none() {
            let inner = if field["type"] == "array" {
                (format!("{way}[]"), &field["items"])
            } else {
                (way, field)
            };
            fields(text, &inner.0, inner.1);
        }
    }
}

/// What a value can be, with its bounds.
fn type_of(schema: &Value) -> String {
    let values = texts(&schema["enum"]);
    if !values.is_empty() {
        return format!("`{}`", values.join("`, `"));
    }
    let number = |key: &str| schema[key].as_i64();
    match word(schema, "type") {
        "array" => {
            let at_most = number("maxItems").map_or(String::new(), |most| format!(", at most {most}"));
            let items = &schema["items"];
            let of = if items["properties"].is_object() {
                "objects".to_owned()
            } else {
                match type_of(items) {
                    bounded if bounded.contains(", ") => format!("({bounded})"),
                    plain => plain,
                }
            };
            format!("list of {of}{at_most}")
        }
        "object" if schema["additionalProperties"].is_object() => {
            format!("names with values: {}", type_of(&schema["additionalProperties"]))
        }
        "integer" | "number" => match (number("minimum"), number("maximum")) {
            (Some(least), Some(most)) => format!("number, {least} to {most}"),
            (Some(least), None) => format!("number, at least {least}"),
            _ => "number".to_owned(),
        },
        "string" => {
            let mut type_ = "text".to_owned();
            if let Some(most) = number("maxLength") {
                let _ = write!(type_, ", at most {most} characters");
            }
            if let Some(pattern) = schema["pattern"].as_str() {
                let _ = write!(type_, ", `{pattern}`");
            }
            type_
        }
        "" => "text, number or boolean".to_owned(),
        other => other.to_owned(),
    }
}

/// The messages of all rules beneath a schema, with the field that each is about.
fn rules(found: &mut Vec<(String, String)>, way: &str, schema: &Value) {
    for rule in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let field = rule["fieldPath"].as_str().unwrap_or_default();
        let said = match rule["messageExpression"].as_str() {
            Some(expression) => literals(expression),
            None => word(rule, "message").to_owned(),
        };
        let way = format!("{way}{field}");
        found.push((way.trim_start_matches('.').to_owned(), said));
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        rules(found, &format!("{way}.{name}"), inner);
    }
    if schema["items"].is_object() {
        rules(found, &format!("{way}[]"), &schema["items"]);
    }
}

/// What a CEL expression for a message says, with `…` for what it fills in.
fn literals(expression: &str) -> String {
    let texts: Vec<&str> = expression.split('\'').skip(1).step_by(2).collect();
    texts.join("…").replace("%d", "…")
}

fn reasons() -> String {
    let mut text = format!(
        "{WRITTEN}# Every condition and reason, with what to do\n\n\
         The status of a Cluster, Topic or User holds conditions as kstatus has them, so that `kubectl wait --for=condition=Ready`, Argo CD \
         and Flux judge it right. Each has a reason from the list below, and a message that says what is going on, names the field or \
         the broker that it is about, and says what to do where you can do something. `kubectl get` shows the reason, \
         `kubectl get -o wide` and `kubectl describe` the message too.\n\n\
         A condition's `observedGeneration` is the generation of the specification that it speaks of.\n\n\
         ## Conditions\n\n| condition | status | meaning |\n| --- | --- | --- |\n"
    );
    for condition in ConditionType::ALL {
        for (status, meaning) in condition.meanings() {
            let _ = writeln!(text, "| `{condition}` | {status} | {meaning} |");
        }
    }
    text.push_str("\n## Reasons\n\n| reason | meaning | what to do |\n| --- | --- | --- |\n");
    for reason in Reason::ALL {
        let _ = writeln!(
            text,
            "| `{reason}` | {} | {} |",
            reason.meaning(),
            reason.advice()
        );
    }
    text
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn texts(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn types_are_said_with_their_bounds() {
        for (schema, said) in [
            (
                json!({"type": "integer", "minimum": 1, "maximum": 5}),
                "number, 1 to 5",
            ),
            (
                json!({"type": "string", "maxLength": 3}),
                "text, at most 3 characters",
            ),
            (
                json!({"type": "array", "maxItems": 2, "items": {"enum": ["a", "b"]}}),
                "list of (`a`, `b`), at most 2",
            ),
            (
                json!({"type": "object", "additionalProperties": {"type": "string"}}),
                "names with values: text",
            ),
        ] {
            assert_eq!(type_of(&schema), said);
        }
    }

    #[test]
    fn messages_that_are_put_together_show_where_they_are_filled_in() {
        assert_eq!(
            literals("'it has ' + self.a + ', not ' + self.b"),
            "it has …, not "
        );
        assert_eq!(
            literals("'%d is less than %d'.format([a, b])"),
            "… is less than …"
        );
    }
}
