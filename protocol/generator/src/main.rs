//! Writes `protocol/src/messages` from the message definitions in the kafka-clients jar. What it takes from them are
//! facts: names, types, versions, tags and defaults. None of their text is carried over.

mod listing;
mod render;
mod schema;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Parser;

use schema::{Message, Role};

/// What members of a group write into its metadata. Control records are in `flotilla_protocol::records`.
const DATA: [&str; 2] = ["ConsumerProtocolAssignment", "ConsumerProtocolSubscription"];

/// Writes Rust from Kafka's message definitions.
#[derive(Parser)]
struct Flags {
    /// The directory `common/message` of an unzipped kafka-clients jar.
    #[arg(long)]
    definitions: PathBuf,
    /// The directory to write to. Files of an earlier run that are not written again are removed.
    #[arg(long)]
    out: PathBuf,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let messages = select(read_all(&flags.definitions)?)?;
    let mut files = BTreeMap::new();
    for message in &messages {
        files.insert(
            format!("{}.rs", schema::snake_case(&message.name)),
            render::message(message),
        );
    }
    files.insert("api_key.rs".to_owned(), listing::api_key(&messages)?);
    files.insert("mod.rs".to_owned(), listing::door(&messages));
    write(&flags.out, &files)
}

fn read_all(definitions: &Path) -> Result<BTreeMap<String, Message>> {
    let mut messages = BTreeMap::new();
    let entries =
        fs::read_dir(definitions).with_context(|| format!("definitions in {}", definitions.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let message = schema::read(&path).with_context(|| path.display().to_string())?;
            messages.extend(message.map(|m| (m.name.clone(), m)));
        }
    }
    Ok(messages)
}

fn select(mut all: BTreeMap<String, Message>) -> Result<Vec<Message>> {
    let apis: Vec<String> = all
        .values()
        .filter(|m| m.role == Role::Request && m.client_facing)
        .filter_map(|m| m.name.strip_suffix("Request").map(str::to_owned))
        .collect();
    if apis.is_empty() {
        bail!("no definition of a request: is this the directory `common/message` of a kafka-clients jar?");
    }
    let names = apis
        .iter()
        .flat_map(|api| [format!("{api}Request"), format!("{api}Response")]);
    let names = names.chain(DATA.iter().map(|name| (*name).to_owned()));
    let mut messages = names
        .map(|name| {
            all.remove(&name)
                .with_context(|| format!("no definition of `{name}`"))
        })
        .collect::<Result<Vec<_>>>()?;
    messages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(messages)
}

fn write(out: &Path, files: &BTreeMap<String, String>) -> Result<()> {
    fs::create_dir_all(out)?;
    for entry in fs::read_dir(out)? {
        fs::remove_file(entry?.path())?;
    }
    for (name, text) in files {
        fs::write(out.join(name), text)?;
    }
    let mut rustfmt = Command::new("rustfmt");
    rustfmt.args(["--edition", "2024", "--config", "max_width=110"]);
    rustfmt.args(files.keys().map(|name| out.join(name)));
    let status = rustfmt.status().context("rustfmt, which must be installed")?;
    if !status.success() {
        bail!("rustfmt: {status}");
    }
    Ok(())
}
