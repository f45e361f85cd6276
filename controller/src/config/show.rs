//! `config show`: every setting, its value and where it comes from.

use std::fmt::Write;

use super::flags::{Flags, SETTINGS};

/// One line per setting, `flag=value`, with the origin behind a tab when asked for.
#[must_use]
pub fn show(flags: &Flags, with_origin: bool) -> String {
    let mut text = String::new();
    for setting in SETTINGS {
        let value = flags.get(setting.flag);
        let shown = match value {
            Some(_) if setting.secret => "<hidden>",
            Some(value) => value,
            None => "",
        };
        write!(text, "{}={shown}", setting.flag).expect("writing to a string succeeds");
        if with_origin {
            let origin = flags.origin(setting.flag);
            let variable = if origin == "environment" {
                format!(" {}", setting.env)
            } else {
                String::new()
            };
            write!(text, "\t{origin}{variable}").expect("writing to a string succeeds");
        }
        text.push('\n');
    }
    text
}
