//! `karpenter.azure.com/v1alpha2`: served but deprecated; field for field the same as [`super::v1beta1`].

/// The version of this module.
pub const VERSION: &str = "v1alpha2";
/// What clients that still use it are told.
pub const DEPRECATION_WARNING: &str =
    "v1alpha2.AKSNodeClass is deprecated; use v1beta1.AKSNodeClass";
