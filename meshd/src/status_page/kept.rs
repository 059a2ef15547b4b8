//! Answers for a second, and whom to ask for new ones.

use std::time::{Duration, Instant};

use control_api::{
    Accounts, Answer, Interfaces, MeshMap, Method, Metrics, Neighbors, Originators, PageSources,
    Stats, Status, StatusPage,
};
use hyper::body::Bytes;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use crate::control::Question;

/// For how long an answer is given again.
const FRESH: Duration = Duration::from_millis(950);
/// How long the driver may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was answered last. Those who ask meanwhile wait for the one who does.
#[derive(Debug, Default)]
struct Last(Mutex<Option<(Instant, Bytes)>>);

/// Both answers.
#[derive(Debug)]
pub(super) struct Kept {
    questions: mpsc::Sender<Question>,
    status: Last,
    metrics: Last,
}

impl Last {
    async fn get(&self, make: impl Future<Output = Option<Bytes>>) -> Option<Bytes> {
        let mut last = self.0.lock().await;
        if let Some((made, bytes)) = &*last
            && made.elapsed() < FRESH
        {
            return Some(bytes.clone());
        }
        let bytes = make.await?;
        *last = Some((Instant::now(), bytes.clone()));
        Some(bytes)
    }
}

impl Kept {
    pub(super) fn new(questions: mpsc::Sender<Question>) -> Self {
        Self {
            questions,
            status: Last::default(),
            metrics: Last::default(),
        }
    }

    /// `/status.json`; nothing if the daemon does not answer.
    pub(super) async fn status(&self) -> Option<Bytes> {
        self.status.get(self.make_status()).await
    }

    /// `/metrics`; nothing if the daemon does not answer.
    pub(super) async fn metrics(&self) -> Option<Bytes> {
        self.metrics.get(self.make_metrics()).await
    }

    async fn make_status(&self) -> Option<Bytes> {
        let page = StatusPage::new(PageSources {
            status: &self.node().await?,
            neighbors: &self.neighbors().await?,
            originators: &self.originators().await?,
            map: &self.map().await?,
            accounts: &self.accounts().await?,
            stats: &self.stats().await?,
        });
        serde_json::to_vec(&page).ok().map(Bytes::from)
    }

    async fn make_metrics(&self) -> Option<Bytes> {
        let metrics = Metrics {
            status: &self.node().await?,
            neighbors: &self.neighbors().await?,
            interfaces: &self.interfaces().await?,
            accounts: &self.accounts().await?,
        };
        Some(metrics.to_string().into())
    }

    async fn node(&self) -> Option<Status> {
        let Answer::Status(answer) = self.ask(Method::Status).await? else {
            return None;
        };
        Some(*answer)
    }

    async fn neighbors(&self) -> Option<Neighbors> {
        let Answer::Neighbors(answer) = self.ask(Method::Neighbors).await? else {
            return None;
        };
        Some(answer)
    }

    async fn originators(&self) -> Option<Originators> {
        let Answer::Originators(answer) = self.ask(Method::Originators).await? else {
            return None;
        };
        Some(answer)
    }

    async fn map(&self) -> Option<MeshMap> {
        let Answer::MeshMap(answer) = self.ask(Method::Map).await? else {
            return None;
        };
        Some(answer)
    }

    async fn interfaces(&self) -> Option<Interfaces> {
        let Answer::Interfaces(answer) = self.ask(Method::Interfaces).await? else {
            return None;
        };
        Some(answer)
    }

    async fn accounts(&self) -> Option<Accounts> {
        let Answer::Accounts(answer) = self.ask(Method::ReceiptsList).await? else {
            return None;
        };
        Some(answer)
    }

    async fn stats(&self) -> Option<Stats> {
        let Answer::Stats(answer) = self.ask(Method::ReceiptsStats).await? else {
            return None;
        };
        Some(answer)
    }

    async fn ask(&self, method: Method) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            let question = Question { method, answer };
            self.questions.send(question).await.ok()?;
            answered.await.ok()?.ok()
        };
        timeout(PATIENCE, asked).await.ok()?
    }
}
