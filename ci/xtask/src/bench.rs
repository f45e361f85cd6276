//! Benchmark programs: found by name, run in release mode, their rows printed.
//!
//! The program of an area is a target of the workspace: a bench called like the area, or an example
//! or binary called `bench-<area>`. It prints one JSON object per line with the keys `figure`,
//! `value`, `unit`, `goal` and `met`; other lines are talk.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use cargo_metadata::{Metadata, MetadataCommand, TargetKind};
use serde_json::{Value, json};

use crate::USAGE_ERROR;

/// Areas there are or will be.
const AREAS: &[&str] = &[
    "scheduling",
    "consolidation",
    "apiserver",
    "arm",
    "components",
    "scenarios",
    "controller",
];

struct Wanted {
    areas: Vec<String>,
    is_json: bool,
    /// Options for the programs.
    options: Vec<String>,
}

/// How to run an area's program.
struct Program {
    area: String,
    /// After `cargo`.
    arguments: Vec<String>,
}

/// Runs the programs; the code says whether all goals are met.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<ExitCode> {
    let wanted = match parse(arguments) {
        Ok(wanted) => wanted,
        Err(complaint) => {
            eprintln!("{complaint}");
            return Ok(ExitCode::from(USAGE_ERROR));
        }
    };
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cargo metadata")?;
    let programs = programs(&metadata);
    let have: Vec<&str> = programs
        .iter()
        .map(|program| program.area.as_str())
        .collect();
    if let Some(area) = wanted
        .areas
        .iter()
        .find(|area| !have.contains(&area.as_str()))
    {
        let known = if AREAS.contains(&area.as_str()) {
            "has no program yet"
        } else {
            "is unknown"
        };
        eprintln!(
            "area {area:?} {known}; areas with a program: {}",
            have.join(", ")
        );
        return Ok(ExitCode::from(USAGE_ERROR));
    }
    let mut rows = Vec::new();
    for program in &programs {
        if wanted.areas.is_empty() || wanted.areas.contains(&program.area) {
            rows.extend(measure(root, program, &wanted.options)?);
        }
    }
    print_rows(&rows, wanted.is_json);
    let is_missed = rows.iter().any(|row| row["met"] == json!(false));
    Ok(if is_missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn parse(arguments: &[String]) -> Result<Wanted, String> {
    let mut wanted = Wanted {
        areas: Vec::new(),
        is_json: false,
        options: Vec::new(),
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "-o" | "--output" => match rest.next().map(String::as_str) {
                Some("json") => wanted.is_json = true,
                Some("human") => wanted.is_json = false,
                other => {
                    return Err(format!(
                        "-o takes json or human, not {:?}",
                        other.unwrap_or("")
                    ));
                }
            },
            option if option.starts_with('-') || !wanted.options.is_empty() => {
                wanted.options.push(argument.clone());
            }
            _ => wanted.areas.push(argument.clone()),
        }
    }
    Ok(wanted)
}

/// The programs there are, in the order of the areas.
fn programs(metadata: &Metadata) -> Vec<Program> {
    let mut programs = Vec::new();
    for area in AREAS {
        let named = format!("bench-{area}");
        let found = metadata.packages.iter().find_map(|package| {
            let arguments = package.targets.iter().find_map(|target| {
                let is = |kind: TargetKind| target.kind.contains(&kind);
                let run: &[&str] =
                    if is(TargetKind::Bench) && (target.name == *area || target.name == named) {
                        &["bench", "--bench"]
                    } else if is(TargetKind::Example) && target.name == named {
                        &["run", "--release", "--example"]
                    } else if is(TargetKind::Bin) && target.name == named {
                        &["run", "--release", "--bin"]
                    } else {
                        return None;
                    };
                let mut arguments: Vec<String> = run.iter().map(|&word| word.to_owned()).collect();
                arguments.push(target.name.clone());
                Some(arguments)
            })?;
            let mut arguments = arguments;
            arguments.extend(["--quiet", "--package"].map(str::to_owned));
            arguments.push(package.name.to_string());
            Some(Program {
                area: (*area).to_owned(),
                arguments,
            })
        });
        programs.extend(found);
    }
    programs
}

fn measure(root: &Path, program: &Program, options: &[String]) -> anyhow::Result<Vec<Value>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(&program.arguments)
        .arg("--")
        .args(options)
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("running the program of {}", program.area))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut rows = Vec::new();
    for line in text.lines() {
        match serde_json::from_str::<Value>(line) {
            Ok(mut row) if row.get("figure").is_some() => {
                if row.get("area").is_none() {
                    row["area"] = json!(program.area);
                }
                rows.push(row);
            }
            _ => eprintln!("{line}"),
        }
    }
    if rows.is_empty() {
        bail!(
            "the program of {} printed no figures ({})",
            program.area,
            output.status
        );
    }
    // A program may say with its code that a goal was missed; any other failure is one.
    let is_missed = rows.iter().any(|row| row["met"] == json!(false));
    if !output.status.success() && !is_missed {
        bail!("the program of {} failed ({})", program.area, output.status);
    }
    Ok(rows)
}

fn print_rows(rows: &[Value], is_json: bool) {
    if is_json {
        println!("{}", json!({ "rows": rows }));
        return;
    }
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    for row in rows {
        let met = if row["met"] == json!(false) {
            "MISSED"
        } else {
            "ok"
        };
        println!(
            "{:<14} {:<44} {:>14} {:<10} goal {:<14} {met}",
            text(&row["area"]),
            text(&row["figure"]),
            text(&row["value"]),
            text(&row["unit"]),
            text(&row["goal"]),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(arguments: &[&str]) -> Result<Wanted, String> {
        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        parse(&arguments)
    }

    #[test]
    fn areas_come_first_and_foreign_options_go_on() {
        let all = wanted(&["scheduling", "arm", "-o", "json", "--workload", "x.jsonl"]);
        let all = all.expect("is understood");
        assert_eq!(all.areas, ["scheduling", "arm"]);
        assert!(all.is_json);
        assert_eq!(all.options, ["--workload", "x.jsonl"]);
        assert!(wanted(&["-o", "xml"]).is_err());
    }
}
