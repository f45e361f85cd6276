//! The cloud provider for Azure: ARM client, instance types, virtual machines, bootstrap data.
