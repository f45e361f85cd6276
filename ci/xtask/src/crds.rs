//! The CRDs as files.

use std::path::Path;

use anyhow::Context;
use controller_api::crd::generate;

const FOLDER: &str = "controller/api/crds";

/// Writes the files.
pub(crate) fn generate(root: &Path) -> anyhow::Result<Vec<String>> {
    let folder = root.join(FOLDER);
    std::fs::create_dir_all(&folder)?;
    for definition in generate::crds() {
        let path = folder.join(generate::file_name(&definition));
        std::fs::write(&path, generate::yaml(&definition))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(Vec::new())
}

/// Files that are not what the types yield.
pub(crate) fn check(root: &Path) -> Vec<String> {
    let mut complaints = Vec::new();
    for definition in generate::crds() {
        let name = generate::file_name(&definition);
        let path = root.join(FOLDER).join(&name);
        if std::fs::read_to_string(path).unwrap_or_default() != generate::yaml(&definition) {
            complaints.push(format!(
                "{FOLDER}/{name}: out of date; run `cargo xtask gen-crds`"
            ));
        }
    }
    complaints
}
