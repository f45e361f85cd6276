//! Azure Resource Manager over HTTP, on a simulated cloud.
