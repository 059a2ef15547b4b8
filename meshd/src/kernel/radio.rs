//! Radios: interfaces that are made and joined to a mesh as the configuration says, and what
//! drivers know of whom they hear (linux/nl80211.h).
//!
//! | room | what lives there |
//! |---|---|
//! | this file | [`Radios`]: makes what there should be, and keeps it so |
//! | `port` | the thread it lives on, and the way there |
//! | `settings`, `channel` | what there should be, as data |
//! | `nl80211` | messages, there and back |
//! | `mark` | which interfaces are ours |
//! | `attempts` | how long one may take to join |
//! | `phy`, `interface`, `station` | what radios can, what interfaces are, whom they hear |
//! | `problem` | what is wrong with an interface, and what to do about it |
//! | `supplicant` | wpa_supplicant, for encrypted meshes |
//!
//! **Architecture invariants.** What we made carries our mark in the kernel (`ifalias`), so that a
//! successor knows it and finds it as it should be or not. What carries no mark, or is no wireless
//! interface, is used as it is, never changed or removed. A mesh that should be encrypted is joined by wpa_supplicant or not at
//! all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::{join_all, select_all};
use mesh_proto::IfIndex;
use nix::errno::Errno;
use rtnetlink::Handle;
use rtnetlink::packet_route::link::LinkMessage;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::genl::{Events, Message};
use super::link::{self, Link};
use super::netlink::KernelError;
use super::task::SETTLING;

mod attempts;
mod channel;
mod interface;
mod mark;
mod nl80211;
mod phy;
mod port;
mod problem;
mod settings;
mod station;
mod supplicant;

pub use channel::{Channel, ChannelError, Width, number as channel_number};
pub use interface::{InterfaceKind, WirelessInterface};
pub(crate) use phy::WORLD;
pub(super) use port::{News, RadioPort};
pub use problem::Problem;
pub use settings::{MacAddress, PhyChoice, RadioMode, RadioSettings, SaeKey};
pub use station::{PeerLink, Station};

use attempts::Attempts;
pub(super) use mark::UNFINISHED;
use mark::{Mark, Marked};
use nl80211::{Nl80211, command};
use phy::{Phy, Unfit};
use port::Whereabouts;
use problem::{RadioError, not_ours, or_blocked};
use supplicant::Supplicant;

/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// How often it is asked how an encrypted mesh is.
const LOOK_AFTER: Duration = Duration::from_secs(5);

/// How often radios are looked at without a reason: that somebody changed the transmit power, the
/// kernel tells nobody.
const LOOK_AROUND: Duration = Duration::from_secs(30);

/// How long all wpa_supplicants together may take to end with us, which is longer than they do.
const END_LIMIT: Duration = Duration::from_secs(3);

/// What is known of the radios of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RadioReport {
    /// For which countries the radios are set: two letters, `00` for the one that fits all. They
    /// are set together, but for those whose drivers know better.
    pub countries: BTreeSet<String>,
    /// The wireless interfaces.
    pub interfaces: Vec<RadioState>,
    /// What is wrong with interfaces that should be, by name.
    pub problems: BTreeMap<String, Problem>,
}

/// A wireless interface and its radio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RadioState {
    /// The interface.
    pub interface: WirelessInterface,
    /// The name of its radio.
    pub phy: String,
    /// The radio's driver.
    pub driver: Option<String>,
    /// Whether it is encrypted; `None` for those that others look after.
    pub encrypted: Option<bool>,
    /// Whether the radios of an 802.11s mesh forward for each other, which they should leave to us.
    pub forwards: bool,
    /// Neighbors whose key seems to be another one, and how often they were refused.
    pub refusals: BTreeMap<[u8; 6], u32>,
}

/// The radios of this node.
struct Radios {
    nl80211: Nl80211,
    handle: Handle,
    whereabouts: watch::Sender<Whereabouts>,
    events: Option<Events>,
    /// Where wpa_supplicant's files go.
    directory: PathBuf,
    /// The interfaces whose wpa_supplicants are ours to end, whoever started them.
    configured: BTreeSet<String>,
    ours: BTreeMap<String, Ours>,
    /// The ends of wpa_supplicants, by interface. One of that name is made afterwards only: it
    /// would be taken for the one that is gone.
    ending: BTreeMap<String, JoinHandle<()>>,
    /// Of those that wpa_supplicant has to join and has not.
    attempts: BTreeMap<String, Attempts>,
    /// Those that were made anew because they had another channel, and have not had theirs since.
    strays: BTreeSet<String>,
    problems: BTreeMap<String, Problem>,
    retry_at: Option<Instant>,
    reported: RadioReport,
}

/// An interface that we made, or took over from a predecessor.
struct Ours {
    settings: RadioSettings,
    supplicant: Option<Supplicant>,
    /// Whether it was switched on. Later that is the operator's business.
    taken_up: bool,
}

/// How far an interface is on its way to what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    InOrder,
    /// That takes its time. What was wrong with it is still to be told.
    Pending,
}

impl Radios {
    /// Nothing is made yet; files of programs will go into `directory`, where those of a predecessor
    /// may be.
    fn open(
        directory: PathBuf,
        handle: Handle,
        whereabouts: watch::Sender<Whereabouts>,
    ) -> io::Result<Self> {
        Ok(Self {
            nl80211: Nl80211::open()?,
            handle,
            whereabouts,
            events: None,
            configured: left_in(&directory),
            directory,
            ours: BTreeMap::new(),
            ending: BTreeMap::new(),
            attempts: BTreeMap::new(),
            strays: BTreeSet::new(),
            problems: BTreeMap::new(),
            retry_at: None,
            reported: RadioReport::default(),
        })
    }

    /// When [`Radios::ensure`] is due again, if it is.
    const fn deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Waits until something happens that matters to [`Radios::ensure`].
    async fn changed(&mut self) {
        let is_encrypted = self.ours.values().any(|ours| ours.settings.key.is_some());
        // Whom to talk to is looked at where that could be without encryption.
        let matters = |message: &Message| {
            is_change(message) || is_encrypted && message.command() == command::NEW_STATION
        };
        tokio::select! {
            () = heard(&mut self.events, matters) => {}
            () = one_ended(&mut self.ending) => {}
        }
    }

    /// Makes the interfaces what they should be, as far as that can be done now.
    async fn ensure(&mut self, wanted: &BTreeMap<String, RadioSettings>) {
        self.retry_at = None;
        self.listen();
        if let Err(error) = self.remove_unwanted(wanted).await {
            tracing::warn!(%error, "radio interface not removed");
        }
        self.problems.retain(|name, _| wanted.contains_key(name));
        self.attempts.retain(|name, _| wanted.contains_key(name));
        self.strays.retain(|name| wanted.contains_key(name));
        for (name, settings) in wanted {
            self.work_at(Some(name));
            match self.ensure_interface(name, settings).await {
                Ok(Progress::InOrder) => self.note(name, None),
                Ok(Progress::Pending) => {}
                Err(error) => self.note(name, Some(error.into())),
            }
        }
        self.work_at(None);
        let is_encrypted = |ours: &Ours| ours.supplicant.is_some();
        let wait = if !self.problems.is_empty() {
            Some(RETRY)
        } else {
            self.ours.values().any(is_encrypted).then_some(LOOK_AFTER)
        };
        self.retry_at = wait.map(|wait| Instant::now() + wait);
    }

    /// There may be something to do for [`Radios::ensure`].
    fn ensure_soon(&mut self) {
        let soon = Instant::now() + SETTLING;
        self.retry_at = Some(self.retry_at.map_or(soon, |at| at.min(soon)));
    }

    /// Removes what we made, and waits for wpa_supplicants to end.
    async fn remove_everything(&mut self) -> Result<(), KernelError> {
        let outcome = self.remove_unwanted(&BTreeMap::new()).await;
        let _ = timeout(END_LIMIT, join_all(self.ending.values_mut())).await;
        self.ending.clear();
        outcome
    }

    /// What there is to tell about the interfaces that `is_mesh` picks by name, unless it was told
    /// already.
    fn news(&mut self, is_mesh: impl Fn(&str) -> bool) -> Option<RadioReport> {
        let report = match self.report(is_mesh) {
            Ok(report) => report,
            Err(error) => {
                tracing::debug!(%error);
                return None;
            }
        };
        if !report.interfaces.is_empty() && self.retry_at.is_none() {
            self.retry_at = Some(Instant::now() + LOOK_AROUND);
        }
        if report == self.reported {
            return None;
        }
        self.reported = report.clone();
        Some(report)
    }

    /// Whom the reported interfaces hear.
    fn stations(&mut self) -> Result<Vec<(IfIndex, Station)>, KernelError> {
        let mut all = Vec::new();
        for state in &self.reported.interfaces {
            let ifindex = state.interface.ifindex;
            self.work_at(Some(&state.interface.name));
            match self.nl80211.stations(ifindex) {
                Ok(stations) => all.extend(stations.into_iter().map(|it| (ifindex, it))),
                // It has gone a moment ago, or its driver does not know.
                Err(error)
                    if error.is_errno(&[Errno::ENODEV, Errno::EINVAL, Errno::EOPNOTSUPP]) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// What follows is about this interface, or about all.
    fn work_at(&self, interface: Option<&str>) {
        self.whereabouts.send_modify(|it| it.go_to(interface));
    }

    fn report(&mut self, is_mesh: impl Fn(&str) -> bool) -> Result<RadioReport, KernelError> {
        let mut report = RadioReport {
            problems: self.problems.clone(),
            ..RadioReport::default()
        };
        if !self.nl80211.is_there() {
            return Ok(report);
        }
        let mut interfaces = self.nl80211.interfaces()?;
        interfaces.retain(|interface| is_mesh(&interface.name));
        if interfaces.is_empty() && self.problems.is_empty() {
            return Ok(report);
        }
        let phys = self.nl80211.phys()?;
        // Of those in use, or of those that could be.
        let is_used =
            |phy: &&Phy| interfaces.is_empty() || interfaces.iter().any(|it| it.wiphy == phy.index);
        let countries = phys.iter().filter(is_used).map(|phy| phy.country.clone());
        report.countries = countries.filter(|country| !country.is_empty()).collect();
        let nl80211 = &mut self.nl80211;
        let state = |interface: WirelessInterface| {
            // Before it joins one, it has the settings of the kernel.
            let is_in_mesh =
                interface.kind == InterfaceKind::MESH && interface.frequency_mhz.is_some();
            let phy = phys.iter().find(|phy| phy.index == interface.wiphy);
            let phy = phy.map_or_else(String::new, |phy| phy.name.clone());
            let ours = self.ours.get(&interface.name);
            let supplicant = ours.and_then(|ours| ours.supplicant.as_ref());
            RadioState {
                driver: phy::driver_of(&phy),
                phy,
                forwards: is_in_mesh && nl80211.forwards(interface.ifindex),
                encrypted: ours.map(|ours| ours.settings.key.is_some()),
                refusals: supplicant.map_or_else(BTreeMap::new, |it| it.state().refusals),
                interface,
            }
        };
        report.interfaces = interfaces.into_iter().map(state).collect();
        Ok(report)
    }

    /// Has the kernel tell what happens to radios, once it can.
    fn listen(&mut self) {
        if !self.nl80211.is_there() {
            return;
        }
        let is_heard = |events: &Events| self.nl80211.is_source_of(events);
        if !self.events.as_ref().is_some_and(is_heard) {
            match self.nl80211.events() {
                Ok(events) => self.events = Some(events),
                Err(error) => tracing::warn!(%error),
            }
        }
    }

    /// Remembers and logs what is wrong with an interface, when that changes.
    fn note(&mut self, name: &str, problem: Option<Problem>) {
        match problem {
            None => {
                if self.problems.remove(name).is_some() {
                    tracing::info!(interface = name, "radio in order again");
                }
            }
            Some(problem) => {
                if self.problems.get(name) != Some(&problem) {
                    tracing::warn!(interface = name, "{}", problem.what);
                    self.problems.insert(name.to_owned(), problem);
                }
            }
        }
    }

    /// Removes interfaces of ours that should not be.
    async fn remove_unwanted(
        &mut self,
        wanted: &BTreeMap<String, RadioSettings>,
    ) -> Result<(), KernelError> {
        // First, for what follows may fail; and that of an interface that is gone already.
        let known = std::mem::replace(&mut self.configured, wanted.keys().cloned().collect());
        for name in known.iter().filter(|name| !wanted.contains_key(*name)) {
            self.end_supplicant(name);
        }
        let mut outcome = Ok(());
        let wireless = self.wireless()?;
        for message in link::list(&self.handle).await? {
            // One that cannot be removed keeps no other.
            if let Some(ifindex) = mark::unfinished(&message, &wireless) {
                outcome = outcome.and(self.nl80211.delete(ifindex));
            } else if let Some(marked) = Marked::of(&message, &wireless)
                && !wanted.contains_key(&marked.link.name)
            {
                outcome = outcome.and(self.remove(&marked));
            }
        }
        outcome
    }

    /// The wireless interfaces there are.
    fn wireless(&mut self) -> Result<Vec<WirelessInterface>, KernelError> {
        if self.nl80211.is_there() {
            self.nl80211.interfaces()
        } else {
            Ok(Vec::new())
        }
    }

    fn remove(&mut self, marked: &Marked) -> Result<(), KernelError> {
        self.end_supplicant(&marked.link.name);
        self.nl80211.delete(marked.link.ifindex)
    }

    /// Has what looks after an interface end, while we do something else.
    fn end_supplicant(&mut self, name: &str) {
        self.ours.remove(name);
        let end = supplicant::end(self.directory.join(name), name.to_owned());
        self.ending
            .entry(name.to_owned())
            .or_insert_with(|| tokio::spawn(end));
    }

    async fn ensure_interface(
        &mut self,
        name: &str,
        settings: &RadioSettings,
    ) -> Result<Progress, RadioError> {
        if self.ending.contains_key(name) {
            return Ok(Progress::Pending);
        }
        if !self.nl80211.is_there() {
            return Err(RadioError::NoWireless);
        }
        let marked = match self.find(name).await? {
            Some(marked) if self.is_to_go(&marked, settings) => {
                self.remove(&marked)?;
                return Ok(Progress::Pending);
            }
            Some(marked) => marked,
            None if self.ours.contains_key(name) => {
                // It has gone with its radio, without what looks after it.
                self.end_supplicant(name);
                return Ok(Progress::Pending);
            }
            None => self.create(name, settings).await?,
        };
        let progress = self.join(&marked, settings).await;
        if let Err(RadioError::NotEncrypted | RadioError::NotJoined) = &progress {
            // Better no mesh than one in which everybody can read along, or one without anybody.
            self.remove(&marked)?;
        }
        if matches!(progress, Ok(Progress::InOrder)) && marked.is_beside(settings.channel) {
            return Err(RadioError::beside(&marked, settings.channel));
        }
        progress
    }

    /// An interface that should be ours, if it exists.
    async fn find(&mut self, name: &str) -> Result<Option<Marked>, RadioError> {
        let Some(message) = find_link(&self.handle, name).await? else {
            return Ok(None);
        };
        let wireless = self.wireless()?;
        let marked = Marked::of(&message, &wireless);
        let not_ours = || not_ours(name, &message, &wireless);
        marked.map(Some).ok_or_else(not_ours)
    }

    /// Whether an interface was made with other settings, or has another channel: but not if that is
    /// all that comes of making it anew.
    fn is_to_go(&mut self, marked: &Marked, settings: &RadioSettings) -> bool {
        let name = &marked.link.name;
        let ours = self.ours.get(name);
        let is_same = ours.is_none_or(|ours| ours.settings == *settings);
        if !is_same || marked.mark != Mark::of(settings) {
            self.strays.remove(name);
            return true;
        }
        if marked.is_beside(settings.channel) {
            return self.strays.insert(name.clone());
        }
        if marked.frequency_mhz.is_some() {
            self.strays.remove(name);
        }
        false
    }

    async fn create(&mut self, name: &str, settings: &RadioSettings) -> Result<Marked, RadioError> {
        let phys = self.nl80211.phys()?;
        let phy = phy::choose(&phys, settings)?;
        self.nl80211.create(phy, UNFINISHED, settings.mode)?;
        let message = find_link(&self.handle, UNFINISHED).await?;
        let link = message.as_ref().and_then(Link::from_message);
        let link = link.ok_or_else(|| RadioError::Unfit(Unfit::Missing(name.to_owned())))?;
        let marked = Marked {
            link: Link {
                name: name.to_owned(),
                ..link
            },
            mark: Mark::of(settings),
            wiphy: phy.index,
            frequency_mhz: None,
            width: None,
        };
        if let Err(error) = marked.write(&self.handle).await {
            self.nl80211.delete(marked.link.ifindex)?;
            // It is tried again in a while: that it came and went is no reason to do so at once.
            self.events.iter_mut().for_each(Events::skip);
            return Err(error.into());
        }
        tracing::info!(interface = name, phy = phy.name, "radio interface made");
        Ok(marked)
    }

    async fn join(
        &mut self,
        marked: &Marked,
        settings: &RadioSettings,
    ) -> Result<Progress, RadioError> {
        let link = &marked.link;
        let blocked = match link.up {
            true => None,
            false => self.blocked(marked.wiphy)?,
        };
        let ours = self.ours.entry(link.name.clone()).or_insert_with(|| Ours {
            settings: settings.clone(),
            supplicant: None,
            taken_up: link.up,
        });
        if !link.up {
            self.attempts.remove(&link.name);
        }
        if let Some(phy) = blocked {
            // Whoever switches the radio on again does not switch its interfaces on.
            ours.taken_up = false;
            return Err(RadioError::Blocked(phy));
        }
        if !link.up {
            if ours.taken_up {
                return Ok(Progress::InOrder);
            }
            link::set_up(&self.handle, link).await.map_err(or_blocked)?;
        }
        ours.taken_up = true;
        if settings.key.is_some() {
            return self.look_after(marked, settings);
        }
        if marked.frequency_mhz.is_some() {
            return Ok(Progress::InOrder);
        }
        match settings.mode {
            RadioMode::Mesh => self.nl80211.join_mesh(link.ifindex, settings)?,
            RadioMode::Ibss => {
                let bssid = bssid(settings);
                self.nl80211.join_ibss(link.ifindex, settings, bssid)?;
            }
        }
        tracing::info!(interface = link.name, id = settings.id, "radio joined");
        Ok(Progress::InOrder)
    }

    /// How far wpa_supplicant is with an encrypted mesh, which it is started for.
    fn look_after(
        &mut self,
        marked: &Marked,
        settings: &RadioSettings,
    ) -> Result<Progress, RadioError> {
        let (name, ifindex) = (&marked.link.name, marked.link.ifindex);
        let directory = self.directory.join(name);
        let start = || Supplicant::start(directory, name, settings.clone());
        let ours = self.ours.get_mut(name);
        let state = ours.map(|ours| ours.supplicant.get_or_insert_with(start).state());
        let state = state.unwrap_or_default();
        if !self.nl80211.stations(ifindex)?.iter().all(is_protected) {
            return Err(RadioError::NotEncrypted);
        }
        let attempts = self.attempts.entry(name.clone()).or_default();
        if let Some(problem) = state.problem {
            attempts.interrupt();
            return Err(RadioError::Supplicant(problem));
        }
        // Each may not know that the other has left.
        if state.joined && marked.frequency_mhz.is_some() {
            self.attempts.remove(name);
            self.nl80211.leave_paths_to_us(ifindex)?;
            return Ok(Progress::InOrder);
        }
        if attempts.has_failed(Instant::now()) {
            return Err(RadioError::NotJoined);
        }
        Ok(Progress::Pending)
    }

    /// The name of a radio, if it is switched off.
    fn blocked(&mut self, wiphy: u32) -> Result<Option<String>, KernelError> {
        let phys = self.nl80211.phys()?;
        let phy = phys.into_iter().find(|phy| phy.index == wiphy);
        Ok(phy.map(|phy| phy.name).filter(|name| phy::is_blocked(name)))
    }
}

/// The interfaces whose wpa_supplicants were not ended by whoever started them: the directories of
/// their files.
fn left_in(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let names = directories.map(|entry| entry.file_name().into_string());
    names.filter_map(Result::ok).collect()
}

/// Waits until the kernel tells something that matters.
async fn heard(listening: &mut Option<Events>, matters: impl Fn(&Message) -> bool) {
    loop {
        let Some(events) = listening else {
            return std::future::pending().await;
        };
        match events.receive().await {
            Ok(messages) if messages.iter().any(&matters) => return,
            Ok(_) => {}
            // Some were lost, whatever they were.
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => return,
            Err(error) => {
                tracing::warn!(%error, "nl80211");
                *listening = None;
            }
        }
    }
}

/// Waits until a wpa_supplicant has ended, and forgets it.
async fn one_ended(ending: &mut BTreeMap<String, JoinHandle<()>>) {
    if ending.is_empty() {
        return std::future::pending().await;
    }
    let _ = select_all(ending.values_mut()).await;
    ending.retain(|_, end| !end.is_finished());
}

/// Whether data for this neighbor, if any passes, is encrypted.
fn is_protected(station: &Station) -> bool {
    station.peer_link != Some(PeerLink::ESTABLISHED) || station.protected
}

/// Whether a message says that there may be something to do.
fn is_change(message: &Message) -> bool {
    matches!(
        message.command(),
        command::NEW_WIPHY
            | command::DEL_WIPHY
            | command::NEW_INTERFACE
            | command::DEL_INTERFACE
            | command::LEAVE_MESH
            | command::CH_SWITCH_NOTIFY
            | command::REG_CHANGE
            | command::WIPHY_REG_CHANGE
    )
}

/// The cell of all who have this name on this frequency: an address that is nobody's, made of
/// both.
fn bssid(settings: &RadioSettings) -> [u8; 6] {
    let mut hash = Sha256::new();
    hash.update(b"meshd ibss");
    hash.update(settings.channel.frequency_mhz().to_le_bytes());
    hash.update(settings.id.as_bytes());
    let [b, c, d, e, f, ..] = <[u8; 32]>::from(hash.finalize());
    // Locally administered, and no group's.
    [0x02, b, c, d, e, f]
}

async fn find_link(handle: &Handle, name: &str) -> Result<Option<LinkMessage>, KernelError> {
    let messages = link::list(handle).await?;
    let is_it =
        |message: &LinkMessage| Link::from_message(message).is_some_and(|link| link.name == name);
    Ok(messages.into_iter().find(is_it))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn station(peer_link: Option<PeerLink>, protected: bool) -> Station {
        Station {
            mac: [2, 0, 0, 0, 1, 0],
            inactive: None,
            signal_dbm: None,
            tx_bitrate_kbps: None,
            rx_bitrate_kbps: None,
            expected_throughput_kbps: None,
            tx_frames: None,
            tx_failed: None,
            peer_link,
            authorized: true,
            protected,
        }
    }

    #[tokio::test]
    async fn a_channel_that_does_not_come_right_is_not_made_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let handle = crate::kernel::netlink::open().unwrap();
        let (whereabouts, _) = watch::channel(Whereabouts::default());
        let mut radios = Radios::open(directory.path().to_owned(), handle, whereabouts).unwrap();
        let settings = RadioSettings {
            phy: PhyChoice::Any,
            mode: RadioMode::Mesh,
            id: "village".to_owned(),
            channel: Channel::new(5180, Width::Ht40Plus).unwrap(),
            key: None,
            mcast_rate_100kbps: None,
            rssi_threshold_dbm: None,
        };
        let mut marked = Marked {
            link: Link {
                ifindex: IfIndex(7),
                name: "mesh0".to_owned(),
                up: true,
                carrier: true,
                mtu: 1500,
                mac: None,
                speed_mbps: None,
            },
            mark: Mark::of(&settings),
            wiphy: 0,
            frequency_mhz: Some(5180),
            width: Some("20 MHz"),
        };
        assert!(radios.is_to_go(&marked, &settings));
        // It has not joined yet, and then as before.
        marked.frequency_mhz = None;
        assert!(!radios.is_to_go(&marked, &settings));
        marked.frequency_mhz = Some(5180);
        assert!(!radios.is_to_go(&marked, &settings));
        let said = RadioError::beside(&marked, settings.channel).to_string();
        assert_eq!(
            said,
            "its channel is 5180 MHz (20 MHz), however often it is made with 5180 MHz (ht40+)"
        );
        // It was right for a while.
        marked.width = Some("40 MHz");
        assert!(!radios.is_to_go(&marked, &settings));
        marked.width = Some("20 MHz");
        assert!(radios.is_to_go(&marked, &settings));
    }

    #[test]
    fn what_a_predecessor_left_is_found() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("mesh0")).unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        assert_eq!(
            left_in(directory.path()),
            BTreeSet::from(["mesh0".to_owned()])
        );
        assert!(left_in(&directory.path().join("missing")).is_empty());
    }

    #[test]
    fn no_peer_link_stands_without_protection() {
        for (peer_link, protected, fine) in [
            (Some(PeerLink::ESTABLISHED), true, true),
            (Some(PeerLink::ESTABLISHED), false, false),
            // No data passes yet, or any more.
            (Some(PeerLink::BLOCKED), false, true),
            (None, false, true),
        ] {
            let found = is_protected(&station(peer_link, protected));
            assert_eq!(found, fine, "{peer_link:?}, protected: {protected}");
        }
    }
}
