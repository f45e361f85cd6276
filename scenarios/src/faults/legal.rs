//! Which fault is legal on which request, and who says so.
//!
//! A fault that the real service cannot cause proves nothing: a client that fails under it is
//! right. So every fault that is injected has a row here.

use super::class::Verb;
use super::kind::FaultKind;
use FaultKind::{
    Expired, Latency, ResetAfter, ResetBefore, ServerError, SlowConsumer, StaleRead, Throttle,
    WatchCut, WatchDelay,
};

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Legal {
    /// On which requests.
    pub verb: Verb,
    /// Which faults.
    pub kinds: &'static [FaultKind],
    /// Where it is documented or where the server's source does it.
    pub source: &'static str,
}

/// Faults of requests that change something: above all, nobody knows whether they did.
const WRITE: &[FaultKind] = &[Latency, ServerError, Throttle, ResetBefore, ResetAfter];
/// Faults of questions. An answer that is lost is a reset before: nothing was done.
const READ: &[FaultKind] = &[Latency, ServerError, Throttle, ResetBefore];

/// The whole table: every verb once.
///
/// Not in it, on purpose: single events of a watch that are left out (a stream is complete or
/// broken), 409 without a cause (conflicts come from concurrent writes), 410 as the status of a
/// watch (it is an event in the stream), stale answers to lists without `resourceVersion=0`
/// (those are quorum reads), and everything that Azure's services themselves do late or refuse
/// (the emulator's physics).
pub const LEGAL: [Legal; 15] = [
    Legal {
        verb: Verb::KubeRead,
        kinds: READ,
        source: "kubernetes/kubernetes staging/src/k8s.io/apiserver/pkg/util/flowcontrol: any \
                 request may be rejected with 429; apimachinery/pkg/api/errors: 500, 503, 504",
    },
    Legal {
        verb: Verb::KubeList,
        kinds: READ,
        source: "as single reads; kubernetes.io/docs/reference/using-api/api-concepts, \
                 'Resource versions': without resourceVersion the newest state, never an old one",
    },
    Legal {
        verb: Verb::KubeListAny,
        kinds: &[Latency, ServerError, Throttle, ResetBefore, StaleRead],
        source: "api-concepts, 'Semantics for get and list': resourceVersion=0 means any; the \
                 answer may be older than one seen before, from another replica",
    },
    Legal {
        verb: Verb::KubeListPage,
        kinds: &[Latency, ServerError, Throttle, ResetBefore, Expired],
        source: "api-concepts, 'Retrieving large results sets in chunks': an expired continue \
                 token is answered with 410 Gone",
    },
    Legal {
        verb: Verb::KubeWatch,
        kinds: &[
            Latency,
            ResetBefore,
            WatchCut,
            WatchDelay,
            Expired,
            SlowConsumer,
        ],
        source: "api-concepts, 'Efficient detection of changes': a watch may end at any time; an \
                 old resourceVersion gets an ERROR event with code 410. storage/cacher/ \
                 cache_watcher.go: slow watchers are closed",
    },
    Legal {
        verb: Verb::KubeCreate,
        kinds: WRITE,
        source: "api-concepts: a POST whose answer is lost may have created the object; 429 by \
                 flow control and, for evictions, by budgets",
    },
    Legal {
        verb: Verb::KubeUpdate,
        kinds: WRITE,
        source: "as POST; a repeated PUT then meets a conflict that is its own",
    },
    Legal {
        verb: Verb::KubePatch,
        kinds: WRITE,
        source: "as POST",
    },
    Legal {
        verb: Verb::KubeDelete,
        kinds: WRITE,
        source: "as POST; a repeated DELETE then finds nothing",
    },
    Legal {
        verb: Verb::ArmRead,
        kinds: READ,
        source: "learn.microsoft.com azure-resource-manager/management/request-limits-and- \
                 throttling (429 with Retry-After); common-deployment-errors (500, 503, 504)",
    },
    Legal {
        verb: Verb::ArmPoll,
        kinds: READ,
        source: "learn.microsoft.com azure-resource-manager/management/async-operations: polling \
                 counts against the same limits",
    },
    Legal {
        verb: Verb::ArmQuery,
        kinds: READ,
        source: "learn.microsoft.com governance/resource-graph/concepts/guidance-for-throttled- \
                 requests",
    },
    Legal {
        verb: Verb::ArmWrite,
        kinds: WRITE,
        source: "microsoft/api-guidelines azure/Guidelines.md, 'idempotent': a PUT is repeated \
                 when its answer is lost; request-limits-and-throttling",
    },
    Legal {
        verb: Verb::ArmDelete,
        kinds: WRITE,
        source: "as PUT; a repeated DELETE is answered with 204 or 404",
    },
    Legal {
        verb: Verb::Token,
        kinds: READ,
        source: "learn.microsoft.com entra/identity-platform/reference-error-codes: \
                 temporarily_unavailable, throttling with Retry-After",
    },
];

/// Whether `kind` may befall a request of this verb.
pub fn is_legal(verb: Verb, kind: FaultKind) -> bool {
    LEGAL
        .iter()
        .any(|row| row.verb == verb && row.kinds.contains(&kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_verb_once_and_every_request_fault_somewhere() {
        for verb in Verb::ALL {
            let rows = LEGAL.iter().filter(|row| row.verb == verb);
            assert_eq!(rows.count(), 1, "{verb:?}");
        }
        for &kind in FaultKind::REQUESTS {
            assert!(Verb::ALL.iter().any(|verb| is_legal(*verb, kind)), "{kind}");
        }
        for row in LEGAL {
            assert!(!row.source.is_empty());
        }
    }

    #[test]
    fn what_breaks_correct_clients_is_not_legal() {
        for verb in Verb::ALL {
            // Ambiguity needs something that may have happened.
            assert_eq!(is_legal(verb, ResetAfter), verb.is_write(), "{verb:?}");
            // Old answers need a client that asked for any.
            assert_eq!(is_legal(verb, StaleRead), verb == Verb::KubeListAny);
            // Only streams can be cut, held or read slowly, and no stream is answered with 5xx.
            for kind in [WatchCut, WatchDelay, SlowConsumer] {
                assert_eq!(is_legal(verb, kind), verb == Verb::KubeWatch);
            }
            if verb == Verb::KubeWatch {
                assert!(!is_legal(verb, ServerError) && !is_legal(verb, Throttle));
            }
        }
        for kind in [FaultKind::CrashAtWrite, FaultKind::Pause] {
            assert!(Verb::ALL.iter().all(|verb| !is_legal(*verb, kind)));
        }
    }
}
