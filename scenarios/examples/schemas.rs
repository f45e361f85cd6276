//! Writes the schemas of `nap schema` from the types; with `--check`, fails when a file is out of
//! date.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    let is_check = std::env::args().any(|argument| argument == "--check");
    let (strict, published) = scenarios::format::derived_schemas();
    let files = [
        ("strict.json", strict),
        ("scenario.json", published),
        ("trace.json", scenarios::trace::derived_schema()),
        ("report.json", scenarios::report::derived_schema()),
    ];
    let mut stale = false;
    for (name, schema) in files {
        let path = folder.join(name);
        let text = format!("{schema:#}\n");
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        if is_check {
            eprintln!("scenarios/schema/{name} is out of date; run this example without --check");
            stale = true;
        } else {
            std::fs::write(&path, text).expect("the folder is writable");
        }
    }
    ExitCode::from(u8::from(stale))
}
