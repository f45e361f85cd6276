//! What a line of a trace says.

use serde::Serialize;

/// One line. Field order is part of the format.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Record<'a> {
    /// Virtual milliseconds since the start.
    pub t: u64,
    /// Sequence number.
    pub n: u64,
    /// Process and incarnation, for example `controller#1`.
    pub p: &'a str,
    /// The rest.
    #[serde(flatten)]
    pub entry: Entry<'a>,
}

/// The kinds of records; `k` names them.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "k", rename_all = "camelCase")]
pub enum Entry<'a> {
    /// The first record.
    #[serde(rename = "trace")]
    Header { version: u32 },
    /// A request leaves a process. `write` numbers the controller's writes from 1.
    Req {
        id: u64,
        to: &'a str,
        verb: &'a str,
        path: &'a str,
        body: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        write: Option<u64>,
    },
    /// Its answer arrives. A streamed answer has no hash here: its chunks follow.
    Resp { id: u64, code: u16, body: &'a str },
    /// No answer arrives.
    Lost { id: u64, why: &'a str },
    /// A part of a streamed answer.
    Chunk { id: u64, body: &'a str },
    /// The store changed.
    Write {
        op: &'a str,
        kind: &'a str,
        ns: &'a str,
        name: &'a str,
        rv: u64,
        body: &'a str,
    },
    /// The cloud did something by itself.
    Cloud {
        what: &'a str,
        id: &'a str,
        arg: &'a str,
    },
    /// A decision and its reason, as the controller published it.
    Decide {
        what: &'a str,
        about: &'a str,
        why: &'a str,
    },
    /// Something was broken on purpose.
    Fault { what: &'a str, arg: &'a str },
    /// A process started, crashed or ended.
    Proc { what: &'a str },
    /// A step of the timeline.
    Step { what: &'a str },
    /// A phase of the run began.
    Phase { name: &'a str },
    /// An expectation or invariant was decided.
    Assert { name: &'a str, ok: bool },
}

/// A line that is no record: the hash does not cover it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "aside", rename_all = "camelCase")]
pub enum Aside {
    /// A machine of a NodePool has changed.
    #[serde(rename_all = "camelCase")]
    Vm {
        /// Its name.
        name: String,
        /// Its NodePool.
        pool: String,
        /// VM size.
        size: String,
        /// For example `westeurope-1`.
        zone: String,
        /// `spot` or `on-demand`.
        capacity: String,
        /// `creating`, `running`, `stopped`, `failed`, `deleting` or `gone`.
        state: String,
        /// What it costs now, in millionths of a dollar.
        per_hour: u64,
    },
    /// What was to go wrong in this run.
    Faults {
        /// In words.
        text: String,
    },
    /// How long the run was.
    #[serde(rename_all = "camelCase")]
    End {
        /// Name of the scenario.
        scenario: String,
    },
}

/// An aside and its time.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Timed {
    #[serde(flatten)]
    pub(super) aside: Aside,
    /// Virtual milliseconds since the start.
    pub(super) t: u64,
}
