//! Certificate signing requests of kubelets: stamped, approved and signed
//! (`kubernetes/kubernetes pkg/controller/certificates`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::special::set_condition;
use crate::auth::rbac::Wish;
use crate::item::Item;
use crate::machine::{Call, Machine};
use crate::meta;

const CLIENT_KUBELET: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";

impl Machine {
    /// Approves a kubelet's request when its user may have one, and signs what is approved.
    pub(super) fn advance_request(&mut self, call: &Call<'_>, item: &Item) {
        let request = item.value();
        let signer = request["spec"]["signerName"].as_str().unwrap_or_default();
        let condition = |kind: &str| {
            let conditions = request["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten();
            conditions
                .into_iter()
                .any(|own| own["type"] == kind && own["status"] == "True")
        };
        if condition("Denied") || condition("Failed") {
            return;
        }
        if !condition("Approved") {
            if signer == CLIENT_KUBELET && self.may_have_client(call) {
                let mut approved = request.clone();
                set_condition(
                    &mut approved,
                    json!({
                        "type": "Approved", "status": "True", "reason": "AutoApproved",
                        "message": "Auto approving kubelet client certificate after SubjectAccessReview.",
                        "lastUpdateTime": meta::time(call.now),
                        "lastTransitionTime": meta::time(call.now),
                    }),
                );
                self.commit(call, Some(item), approved);
            }
            return;
        }
        if !matches!(signer, CLIENT_KUBELET | CLIENT)
            || request["status"]["certificate"].is_string()
        {
            return;
        }
        let text = request["spec"]["request"].as_str().unwrap_or_default();
        let pem = STANDARD
            .decode(text)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let mut signed = request.clone();
        match pem
            .ok_or_else(String::new)
            .and_then(|pem| self.ca.sign(&pem).map_err(|e| e.to_string()))
        {
            Ok(certificate) => {
                let certificate = Value::from(STANDARD.encode(certificate));
                meta::map_mut(&mut signed, "status").insert("certificate".into(), certificate);
            }
            Err(why) => set_condition(
                &mut signed,
                json!({
                    "type": "Failed", "status": "True", "reason": "SigningError",
                    "message": format!("unable to parse the certificate request: {why}"),
                    "lastUpdateTime": meta::time(call.now),
                    "lastTransitionTime": meta::time(call.now),
                }),
            ),
        }
        self.commit(call, Some(item), signed);
    }

    fn may_have_client(&mut self, call: &Call<'_>) -> bool {
        self.access.refresh(&self.store);
        ["nodeclient", "selfnodeclient"].iter().any(|subresource| {
            let wish = Wish::Resource {
                verb: "create",
                group: "certificates.k8s.io",
                plural: "certificatesigningrequests",
                subresource,
                namespace: "",
                name: "",
            };
            self.access.allows(call.user, wish).is_some()
        })
    }
}
