//! The parts of the chaos suite that need no fleet: above all, that the checker finds what was planted. They run with all other
//! tests; the suite itself is `just test-chaos`.

#![allow(missing_docs, clippy::unwrap_used, dead_code)]

mod chance;
mod checker;
#[path = "checker/tests.rs"]
mod checker_tests;
mod fault;
mod history;
#[path = "switch/link.rs"]
mod link;
#[path = "switch/link_tests.rs"]
mod link_tests;
mod report;
#[path = "report/tests.rs"]
mod report_tests;
