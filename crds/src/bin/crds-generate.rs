//! Writes the YAML of the three CustomResourceDefinitions beside the crate's sources: `just crds-generate`.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (name, definition) in flotilla_crds::definitions() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        std::fs::write(&path, serde_yaml::to_string(&definition)?)?;
    }
    Ok(())
}
