//! Writes `docs/settings.md` from the tables of settings: `just settings-generate`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
    std::fs::write(path, flotilla_control::settings::document::document())
}
