//! Simulated cluster components: scheduler, kubelets, workload controllers, node lifecycle, garbage collection.
