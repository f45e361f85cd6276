//! Types of the custom resources: karpenter.sh and karpenter.azure.com.
