//! Verdicts as the XML that CI systems read.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::suite::{Case, Result};

/// All cases as one test suite.
///
/// # Errors
///
/// When the document cannot be written.
pub fn junit(cases: &[Case]) -> std::result::Result<String, quick_junit::SerializeError> {
    let mut report = Report::new("nap");
    let mut suite = TestSuite::new("scenarios");
    for case in cases {
        let (name, status) = match &case.result {
            Result::Ran(outcome) if outcome.passed() => {
                (outcome.scenario.clone(), TestCaseStatus::success())
            }
            Result::Ran(outcome) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(outcome.failures().join("\n"));
                (outcome.scenario.clone(), status)
            }
            Result::Invalid(error) => (
                case.file.display().to_string(),
                error_status(&error.render()),
            ),
            Result::Broken(message) => (case.file.display().to_string(), error_status(message)),
        };
        let mut test = TestCase::new(name, status);
        test.set_classname(case.file.display().to_string());
        if let Result::Ran(outcome) = &case.result {
            test.set_time(outcome.took);
        }
        suite.add_test_case(test);
    }
    report.add_test_suite(suite);
    report.to_string()
}

fn error_status(message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_message(message);
    status
}
