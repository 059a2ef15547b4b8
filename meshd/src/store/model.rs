//! A disk in memory that fails and loses power when told to.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::Disk;

/// What an erased page of flash, or a file system's idea of one, may hold behind a torn write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// The file ends there.
    Nothing,
    Zeros,
    Garbage,
    /// What was there before.
    Old,
}

impl Tail {
    pub(super) const ALL: [Self; 4] = [Self::Nothing, Self::Zeros, Self::Garbage, Self::Old];

    /// `old` with `new` from `at` on, of which only `whole` bytes have arrived.
    pub(super) fn tear(self, old: &[u8], at: usize, new: &[u8], whole: usize) -> Vec<u8> {
        let mut torn = old[..at.min(old.len())].to_vec();
        torn.extend(&new[..whole]);
        let len = at + new.len();
        match self {
            Self::Nothing => {}
            Self::Zeros => torn.resize(len, 0),
            Self::Garbage => {
                while torn.len() < len {
                    torn.push(u8::try_from(torn.len() * 167 % 251).unwrap() | 1);
                }
            }
            Self::Old => torn.extend(old.get(torn.len()..).unwrap_or_default()),
        }
        torn
    }
}

/// How operations go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    None,
    /// All that change something fail; a write leaves half of it.
    Failing,
    /// After so many more operations, the power is gone amid one.
    PowerCut(usize, Tail),
    NoPower,
}

#[derive(Debug, Clone)]
pub(super) struct Model(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    names: Names,
    /// As of the last sync.
    durable: Names,
    /// Since.
    pending: Vec<NameChange>,
    contents: BTreeMap<u64, Vec<u8>>,
    next_inode: u64,
    trouble: Trouble,
    pages: u64,
}

type Names = BTreeMap<String, u64>;

#[derive(Debug, Clone)]
enum NameChange {
    Made(String, u64),
    Renamed(String, String),
    Removed(String),
}

impl NameChange {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Made(name, inode) => drop(names.insert(name.clone(), *inode)),
            Self::Renamed(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Removed(name) => drop(names.remove(name)),
        }
    }
}

impl Model {
    pub(super) fn new() -> Self {
        Self::with_files(BTreeMap::new())
    }

    pub(super) fn with_files(files: BTreeMap<String, Vec<u8>>) -> Self {
        let (mut names, mut contents) = (Names::new(), BTreeMap::new());
        for (inode, (name, bytes)) in (0..).zip(files) {
            names.insert(name, inode);
            contents.insert(inode, bytes);
        }
        Self(Arc::new(Mutex::new(Inner {
            durable: names.clone(),
            next_inode: u64::try_from(names.len()).unwrap(),
            names,
            pending: Vec::new(),
            contents,
            trouble: Trouble::None,
            pages: 0,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    pub(super) fn set_trouble(&self, trouble: Trouble) {
        self.inner().trouble = trouble;
    }

    pub(super) fn has_power(&self) -> bool {
        self.inner().trouble != Trouble::NoPower
    }

    /// Pages of 4 KiB written so far.
    pub(super) fn pages(&self) -> u64 {
        self.inner().pages
    }

    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let inner = self.inner();
        inner.files_by(&inner.names)
    }

    /// Every state in which the disk may be found after a loss of power: of the changes of names
    /// since the last sync, the first few have arrived.
    pub(super) fn after_power_cut(&self) -> Vec<Self> {
        let inner = self.inner();
        let mut names = inner.durable.clone();
        let mut found = vec![Self::with_files(inner.files_by(&names))];
        for change in &inner.pending {
            change.apply(&mut names);
            found.push(Self::with_files(inner.files_by(&names)));
        }
        found
    }
}

impl Inner {
    fn files_by(&self, names: &Names) -> BTreeMap<String, Vec<u8>> {
        let content = |inode| self.contents[inode].clone();
        names
            .iter()
            .map(|(name, inode)| (name.clone(), content(inode)))
            .collect()
    }

    /// Whether the next operation is done, is torn, or fails.
    fn begin(&mut self) -> io::Result<Option<Tail>> {
        match self.trouble {
            Trouble::None => Ok(None),
            Trouble::Failing => Err(io::ErrorKind::StorageFull.into()),
            Trouble::NoPower => Err(io::Error::other("no power")),
            Trouble::PowerCut(0, tail) => {
                self.trouble = Trouble::NoPower;
                Ok(Some(tail))
            }
            Trouble::PowerCut(left, tail) => {
                self.trouble = Trouble::PowerCut(left - 1, tail);
                Ok(None)
            }
        }
    }

    fn change(&mut self, change: NameChange) -> io::Result<()> {
        let torn = self.begin()?;
        change.apply(&mut self.names);
        self.pending.push(change);
        if torn.is_some() {
            return Err(io::Error::other("no power"));
        }
        Ok(())
    }

    fn inode(&mut self, name: &str) -> u64 {
        if let Some(inode) = self.names.get(name) {
            return *inode;
        }
        let inode = self.next_inode;
        self.next_inode += 1;
        self.contents.insert(inode, Vec::new());
        let made = NameChange::Made(name.to_owned(), inode);
        made.apply(&mut self.names);
        self.pending.push(made);
        inode
    }
}

impl Disk for Model {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.inner().names.keys().cloned().collect())
    }

    fn read(&self, name: &str, at: u64, max: u64) -> io::Result<Vec<u8>> {
        let inner = self.inner();
        let inode = inner.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        let rest = inner.contents[inode]
            .iter()
            .skip(usize::try_from(at).unwrap());
        Ok(rest.take(usize::try_from(max).unwrap()).copied().collect())
    }

    fn write(&mut self, name: &str, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        let at = usize::try_from(at).unwrap();
        let outcome = inner.begin();
        let whole = match outcome {
            Ok(None) => bytes.len(),
            Ok(Some(_)) | Err(_) => bytes.len() / 2,
        };
        let tail = outcome
            .as_ref()
            .ok()
            .copied()
            .flatten()
            .unwrap_or(Tail::Nothing);
        if inner.trouble != Trouble::NoPower || matches!(outcome, Ok(Some(_))) {
            let inode = inner.inode(name);
            let old = inner.contents[&inode].clone();
            let torn = tail.tear(&old, at, bytes, whole);
            inner.contents.insert(inode, torn);
        }
        inner.pages += ((at + bytes.len()).div_ceil(4096) - at / 4096) as u64;
        match outcome? {
            None => Ok(()),
            Some(_) => Err(io::Error::other("no power")),
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let change = NameChange::Renamed(from.to_owned(), to.to_owned());
        self.inner().change(change)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.inner().change(NameChange::Removed(name.to_owned()))
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut inner = self.inner();
        // Torn, it may have made any of the names last, or none.
        if inner.begin()?.is_some() {
            return Err(io::Error::other("no power"));
        }
        inner.pages += 1;
        inner.durable = inner.names.clone();
        inner.pending.clear();
        Ok(())
    }
}
