//! `nap replay` and `nap compare`: traces, read back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use scenarios::format::parse_duration;
use scenarios::replay::{TraceFile, overview, show};

use crate::commands::Output;
use crate::exit::{FAILED, OK, USAGE, data, talk};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// File that nap sim --trace wrote
    trace: PathBuf,
    /// Virtual time since the start, for example 3m20s or 3:20; default: the end
    #[arg(long, value_name = "T", value_parser = time)]
    at: Option<Duration>,
    /// An object as it was, and what touched it: KIND/NAME or KIND/NAMESPACE/NAME
    #[arg(long, value_name = "KIND/NAME")]
    show: Option<String>,
    /// How data is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// One trace
    left: PathBuf,
    /// Another
    right: PathBuf,
    /// Records to show before the difference
    #[arg(long, default_value_t = 20)]
    context: usize,
    /// How data is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// `3m20s`, `3:20.5` or `1:02:03`.
fn time(text: &str) -> Result<Duration, String> {
    if let Ok(duration) = parse_duration(text) {
        return Ok(duration);
    }
    let wrong = || format!("'{text}' is no time: write 3m20s or 3:20");
    let mut millis: u64 = 0;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if !whole.contains(':') {
        return Err(wrong());
    }
    for part in whole.split(':') {
        let part: u64 = part.parse().map_err(|_error| wrong())?;
        millis = millis.saturating_mul(60).saturating_add(part);
    }
    let digits = format!("{fraction:0<3}");
    let digits = digits.get(..3).ok_or_else(wrong)?;
    let fraction: u64 = digits.parse().map_err(|_error| wrong())?;
    Ok(Duration::from_millis(
        millis.saturating_mul(1000).saturating_add(fraction),
    ))
}

fn read(path: &Path) -> Result<TraceFile, u8> {
    TraceFile::read(path).map_err(|error| {
        talk(&format!("error: {error}"));
        USAGE
    })
}

pub(crate) fn run(arguments: &Arguments) -> u8 {
    let trace = match read(&arguments.trace) {
        Ok(trace) => trace,
        Err(code) => return code,
    };
    let at = arguments
        .at
        .map(|at| u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
    let Some(wanted) = &arguments.show else {
        match arguments.output {
            Output::Human => data(&overview(&trace, at)),
            Output::Json => {
                let value = serde_json::json!({"schema_version": 1, "figures": trace.figures()});
                data(&format!("{value:#}\n"));
            }
        }
        return OK;
    };
    match show(&trace, wanted, at.unwrap_or_else(|| trace.end())) {
        Ok(shown) => {
            match arguments.output {
                Output::Human => data(&shown.render()),
                Output::Json => {
                    let mut value = serde_json::to_value(&shown).expect("it is plain data");
                    value["schema_version"] = 1.into();
                    data(&format!("{value:#}\n"));
                }
            }
            OK
        }
        Err(error) => {
            talk(&format!("error: {}: {error}", arguments.trace.display()));
            USAGE
        }
    }
}

pub(crate) fn compare(arguments: &CompareArguments) -> u8 {
    let mut sides = Vec::new();
    for path in [&arguments.left, &arguments.right] {
        if let Err(code) = read(path) {
            return code;
        }
        match std::fs::read_to_string(path) {
            Ok(text) => sides.push(text.lines().map(str::to_owned).collect::<Vec<_>>()),
            Err(error) => {
                talk(&format!("error: {}: {error}", path.display()));
                return USAGE;
            }
        }
    }
    let [left, right] = [&sides[0], &sides[1]];
    let found = scenarios::trace::compare(left, right);
    match arguments.output {
        Output::Json => {
            let value = serde_json::json!({
                "schema_version": 1,
                "equal": found.is_none(),
                "line": found.as_ref().map(|found| found.index + 1),
                "left": found.as_ref().and_then(|found| found.left.clone()),
                "right": found.as_ref().and_then(|found| found.right.clone()),
            });
            data(&format!("{value:#}\n"));
        }
        Output::Human => match scenarios::trace::context(left, right, arguments.context) {
            None => data(&format!("equal: {} lines\n", left.len())),
            Some(text) => data(&text),
        },
    }
    if found.is_none() { OK } else { FAILED }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        assert_eq!(time("3m20s"), Ok(Duration::from_secs(200)));
        assert_eq!(time("3:20.5"), Ok(Duration::from_millis(200_500)));
        assert_eq!(time("1:00:01"), Ok(Duration::from_secs(3_601)));
        assert!(time("soon").is_err() && time("3:x").is_err());
    }
}
