//! Writes the YAML of the three CustomResourceDefinitions beside the crate's sources, the copies that the Helm chart carries, and
//! the documents that say every field and every reason: `just crds-generate`.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let chart = own.join("../charts/flotilla/files/crds");
    for (name, definition) in flotilla_crds::definitions() {
        let text = serde_yaml::to_string(&definition)?;
        for directory in [own, &chart] {
            std::fs::write(directory.join(name), &text)?;
        }
    }
    for (name, text) in flotilla_crds::reference::documents() {
        std::fs::write(own.join("../docs").join(name), text)?;
    }
    Ok(())
}
