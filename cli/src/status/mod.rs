//! `flotilla status`: the fleet as it says it is, and its processes on this machine.

mod collect;
mod groups;
mod report;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use flotilla_operator::fleet::Fleet;
use serde_json::{Value, json};

use crate::home::Home;

/// Shows a fleet on this machine: brokers, topics, partitions and groups with their lag.
///
/// Ends with 0 where the fleet answers, with 1 where it does not (what is known of its processes is shown all the same), and
/// with 2 for a wrong command line.
#[derive(clap::Args)]
pub struct Arguments {
    /// The fleet's data directory. Default: the only one in .flotilla.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Show this part of the metadata as a tree, such as /brokers/ids or /topics/NAME/partitions/0/state.
    #[arg(long, value_name = "PATH")]
    tree: Option<String>,
    /// How to show it.
    #[arg(long, value_name = "FORM", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Shows it once.
pub fn run(arguments: &Arguments) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(async {
            match &arguments.tree {
                Some(path) => tree(arguments, path).await,
                None => fleet(arguments).await,
            }
        }),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn fleet(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let home = Home::find(arguments.data.as_deref())?;
    let (report, trouble) = collect::collect(&home).await?;
    match arguments.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Output::Text => print!("{}", report.text()),
    }
    match trouble {
        None => Ok(ExitCode::SUCCESS),
        Some(trouble) => Err(trouble),
    }
}

async fn tree(arguments: &Arguments, path: &str) -> anyhow::Result<ExitCode> {
    let home = Home::find(arguments.data.as_deref())?;
    let node = Fleet::follow(home.access(&home.broker_configs()?)?)
        .read_tree(path)
        .await?;
    if !node.found {
        anyhow::bail!("there is nothing at {path}: look at / and go down from there");
    }
    let value: Value = serde_json::from_str(&node.value_json).unwrap_or(Value::Null);
    match arguments.output {
        Output::Json => {
            let node = json!({"path": path, "value": value, "children": node.children});
            println!("{}", serde_json::to_string_pretty(&node)?);
        }
        Output::Text => {
            if !value.is_null() {
                println!("{}", serde_json::to_string_pretty(&value)?);
            }
            for child in node.children {
                println!("{child}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
