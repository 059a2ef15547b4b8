//! Sends what has not been sent, and brings cheques back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use control_api::Exit;
use redeem_api::client::{ClientError, Service};
use redeem_api::{ClaimAnswer, NodeAnswer};
use serde::{Deserialize, Serialize};

use super::bundle::{Bundle, Part};
use super::cheques;
use super::report::RedeemedFile;
use super::tell;
use crate::failure::Failure;
use crate::private_file;

/// Behind the name of a file of receipts.
const SENT: &str = ".sent";
const CHEQUES: &str = ".cheques.json";

/// The way to a service.
pub(super) struct Delivery {
    service: Service,
    patience: Duration,
    /// What was sent before does not count.
    again: bool,
    /// What the service says that it is.
    name: Option<String>,
    /// That there is none, so that the next file does not wait for it as well.
    offline: Option<String>,
}

/// The parts that services have taken and keep, by what the service says that it is: its host may change.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sent {
    services: BTreeMap<String, BTreeSet<String>>,
}

impl Delivery {
    pub(super) const fn new(service: Service, patience: Duration, again: bool) -> Self {
        Self {
            service,
            patience,
            again,
            name: None,
            offline: None,
        }
    }

    /// Sends a file's receipts, as far as that goes.
    pub(super) async fn deliver(&mut self, bundle: Bundle) -> Result<RedeemedFile, Failure> {
        let memory = bundle.beside(SENT);
        let mut file = RedeemedFile::planned(&bundle);
        let Some(name) = self.name().await? else {
            file.offline.clone_from(&self.offline);
            return Ok(file);
        };
        let mut all = Sent::read(&memory);
        all.forget_all_but(&bundle.parts);
        let mut sent = all.services.remove(&name).unwrap_or_default();
        if self.again {
            sent.clear();
            // So that a run without it goes on where this one ends.
            all.write(&memory)?;
        }
        let count = bundle.parts.len();
        for (index, part) in bundle.parts.iter().enumerate() {
            if sent.contains(&part.name) {
                continue;
            }
            tell(&format!(
                "{}: sending part {} of {count}",
                bundle.file.display(),
                index.saturating_add(1)
            ));
            let Some(answer) = self.send(part).await? else {
                break;
            };
            if file.add(answer) {
                sent.insert(part.name.clone());
                all.services.insert(name.clone(), sent.clone());
                all.write(&memory)?;
            }
        }
        file.parts_waiting = bundle
            .parts
            .iter()
            .filter(|it| !sent.contains(&it.name))
            .count();
        self.fetch(&bundle, &mut file).await?;
        file.offline.clone_from(&self.offline);
        Ok(file)
    }

    /// Asked once. `None` if there is no way to the service.
    async fn name(&mut self) -> Result<Option<String>, Failure> {
        if self.name.is_none() {
            let service = self.service.clone();
            let answer = self.patiently(|| service.service()).await?;
            self.name =
                answer.map(|it| format!("{} of {} on {}", it.settlement_key, it.book, it.chain_id));
        }
        Ok(self.name.clone())
    }

    /// `None` if there is no way to the service.
    async fn send(&mut self, part: &Part) -> Result<Option<ClaimAnswer>, Failure> {
        let service = self.service.clone();
        self.patiently(|| service.claim(part.bytes.clone())).await
    }

    /// What became of all receipts of this node, also those sent by others or before, and its cheques.
    async fn fetch(&mut self, bundle: &Bundle, file: &mut RedeemedFile) -> Result<(), Failure> {
        let (service, owner) = (self.service.clone(), bundle.owner().to_string());
        let known = self.patiently(|| service.node(&owner)).await?.flatten();
        if let Some(known) = &known {
            file.know(known);
        }
        if known.is_none_or(|NodeAnswer { account, .. }| account.is_none()) {
            return Ok(());
        }
        let cheques = self.patiently(|| service.cheques(&owner)).await?.flatten();
        let Some(cheques) = cheques.filter(|cheques| !cheques.cheques.is_empty()) else {
            return Ok(());
        };
        let path = bundle.beside(CHEQUES);
        cheques::keep(&path, cheques)?;
        file.cheques = Some(path.display().to_string());
        Ok(())
    }

    /// Asks until there is an answer, or patience is at an end: then for good.
    async fn patiently<T, F>(&mut self, ask: impl Fn() -> F) -> Result<Option<T>, Failure>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        if self.offline.is_some() {
            return Ok(None);
        }
        let begin = Instant::now();
        loop {
            let error = match ask().await {
                Ok(answer) => return Ok(Some(answer)),
                Err(error) => error,
            };
            let Some(pause) = error.pause() else {
                return Err(Failure::new(Exit::Failure, error.to_string()));
            };
            if begin.elapsed() + pause > self.patience {
                self.offline = Some(error.to_string());
                return Ok(None);
            }
            tell(&format!("{error}; trying again"));
            tokio::time::sleep(pause).await;
        }
    }
}

/// Services that are remembered. Whoever pretends to be another one every time makes no long list.
const MOST_SERVICES: usize = 16;

impl Sent {
    /// Leaves what can be asked for: of the parts that there are, and of not too many services.
    fn forget_all_but(&mut self, parts: &[Part]) {
        let parts: BTreeSet<_> = parts.iter().map(|part| &part.name).collect();
        for sent in self.services.values_mut() {
            sent.retain(|name| parts.contains(name));
        }
        self.services.retain(|_, sent| !sent.is_empty());
        while self.services.len() > MOST_SERVICES {
            self.services.pop_first();
        }
    }

    /// What cannot be read is sent again.
    fn read(file: &Path) -> Self {
        let bytes = fs::read(file).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn write(&self, file: &Path) -> Result<(), Failure> {
        let json = serde_json::to_vec(self);
        let json = json.map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
        private_file::replace(file, &json).map_err(|error| Failure::file(file, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str) -> Part {
        Part {
            bytes: Vec::new(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn what_was_sent_is_remembered_for_few_services_and_the_parts_that_there_are() {
        let mut sent = Sent::default();
        let names = || ["old", "new"].map(str::to_owned).into();
        for service in 0..100 {
            sent.services.insert(format!("{service:03}"), names());
        }
        sent.forget_all_but(&[part("new"), part("newer")]);
        assert_eq!(sent.services.len(), MOST_SERVICES);
        let new = BTreeSet::from(["new".to_owned()]);
        assert!(sent.services.values().all(|names| *names == new));
        sent.forget_all_but(&[part("newer")]);
        assert!(sent.services.is_empty());
    }
}
