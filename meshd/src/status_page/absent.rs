//! In place of the status page in a meshd that was built without it.

use std::collections::BTreeMap;

use mesh_proto::IfIndex;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::control::Question;
use crate::kernel::Link;

/// Says that it is not there where it is configured.
#[derive(Debug)]
pub(crate) struct StatusPage {
    problems: Vec<String>,
}

impl StatusPage {
    pub(crate) fn new(_: mpsc::Sender<Question>) -> Self {
        Self {
            problems: Vec::new(),
        }
    }

    pub(crate) fn follow(&mut self, config: &Config, _: &BTreeMap<IfIndex, Link>) {
        let problem = "the status page is not served: meshd was built without it";
        let is_wanted = config.status_page().is_some();
        self.problems = is_wanted.then(|| problem.to_owned()).into_iter().collect();
    }

    pub(crate) fn follow_anew(&mut self, config: &Config, links: &BTreeMap<IfIndex, Link>) {
        self.follow(config, links);
    }

    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }
}
