//! Malformed objects get the API server's 422 with the field path.

use acceptance::{Dev, text};

use crate::manifests::{INFLATE, NODEPOOL};

fn refused(dev: &Dev, manifest: &str, expected: &[&str]) {
    let output = dev.apply_output(manifest);
    let said = text(&output.stderr);
    assert!(!output.status.success(), "accepted: {manifest}");
    for part in expected {
        assert!(said.contains(part), "expected {part:?} in:\n{said}");
    }
}

#[test]
fn malformed_objects_name_the_field() {
    let dev = Dev::start(&[]);
    refused(
        &dev,
        &INFLATE.replace("memory: 1Gi", "memory: many"),
        &[
            "quantities must match the regular expression",
            "spec.template.spec.containers[0].resources.requests.memory: \"many\"",
        ],
    );
    refused(
        &dev,
        &NODEPOOL.replacen("operator: In", "operator: Near", 1),
        &[
            "spec.template.spec.requirements[0].operator",
            "Unsupported value: \"Near\"",
        ],
    );
    refused(
        &dev,
        &NODEPOOL.replace(
            "budgets: [{nodes: \"100%\"}]",
            "budgets: [{nodes: \"10\", schedule: \"@daily\"}]",
        ),
        &["spec.disruption", "'schedule' must be set with 'duration'"],
    );
}

const FOREIGN_CRD: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: kettles.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Kettle, plural: kettles, singular: kettle, shortNames: [kt]}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec:
              type: object
              required: [litres]
              properties:
                litres: {type: integer, minimum: 1}
                filled: {type: integer, default: 0}
              x-kubernetes-validations:
                - rule: "self.filled <= self.litres"
                  message: "a kettle holds no more than its litres"
                - rule: "self.litres == oldSelf.litres"
                  message: "kettles do not grow"
"#;

#[test]
fn a_foreign_definition_with_rules_is_enforced() {
    let dev = Dev::start(&["--no-controller"]);
    dev.apply(FOREIGN_CRD);
    dev.kubectl(&[
        "wait",
        "--for=condition=Established",
        "crd/kettles.example.com",
    ]);
    let kettle = |litres: i32, filled: &str| {
        format!(
            "{{apiVersion: example.com/v1, kind: Kettle, metadata: {{name: k, namespace: default}}, \
             spec: {{litres: {litres}{filled}}}}}"
        )
    };
    refused(
        &dev,
        &kettle(0, ""),
        &["spec.litres", "greater than or equal to 1"],
    );
    refused(
        &dev,
        &kettle(2, ", filled: 3"),
        &["a kettle holds no more than its litres"],
    );
    dev.apply(&kettle(2, ""));
    assert_eq!(dev.get(&["kt", "k"])["spec"]["filled"], 0, "defaulted");
    refused(&dev, &kettle(3, ""), &["kettles do not grow"]);
}
