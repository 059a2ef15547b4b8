//! Drawings of a report.

use crate::report::Report;

pub(crate) fn outages(_report: &Report) -> String {
    String::new()
}

pub(crate) fn idle(_report: &Report) -> String {
    String::new()
}
