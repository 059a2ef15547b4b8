//! One network namespace: a machine as far as the kernel's network code is concerned.

use std::fs::{self, File};
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sched::{CloneFlags, setns};
use serde_json::Value;

use crate::command;
use crate::wait::wait_for;

/// A network namespace that is deleted with the value.
///
/// Clones share the namespace; the last one deletes it.
#[derive(Clone, Debug)]
pub struct Namespace {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    path: PathBuf,
}

impl Namespace {
    /// Creates an empty namespace, with the loopback interface up and forwarding off, however
    /// the machine outside is set.
    ///
    /// # Errors
    /// The name is taken or the kernel refuses.
    pub fn new(name: &str) -> Result<Self> {
        command::run("ip", &format!("netns add {name}"))?;
        let path = Path::new("/run/netns").join(name);
        let namespace = Self {
            inner: Arc::new(Inner {
                name: name.to_owned(),
                path,
            }),
        };
        namespace.ip("link set lo up")?;
        namespace.set("net/ipv4/ip_forward", "0")?;
        namespace.set("net/ipv6/conf/all/forwarding", "0")?;
        Ok(namespace)
    }

    /// The name, unique among all namespaces of the laboratory.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Runs `work` on a thread inside the namespace. Sockets it opens and programs it starts
    /// stay in the namespace for good.
    ///
    /// # Errors
    /// The namespace is gone, or what `work` returns.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.enter()?;
                work()
            });
            thread
                .join()
                .unwrap_or_else(|_| Err(anyhow!("the code run in {} panicked", self.name())))
        })
    }

    /// Moves the calling thread, and no other, into the namespace.
    fn enter(&self) -> Result<()> {
        let path = &self.inner.path;
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        setns(file, CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("enter namespace {}", self.name()))
    }

    /// Runs a program to its end, arguments split at blanks, and returns what it printed.
    ///
    /// # Errors
    /// As for [`command::run`].
    pub fn run(&self, program: &str, arguments: &str) -> Result<String> {
        self.within(|| command::run(program, arguments))
            .with_context(|| format!("in namespace {}", self.name()))
    }

    /// Runs `ip` with these arguments.
    ///
    /// # Errors
    /// As for [`command::run`].
    pub fn ip(&self, arguments: &str) -> Result<String> {
        self.run("ip", arguments)
    }

    /// Runs several `ip` commands, one per line, in one process.
    ///
    /// # Errors
    /// One of them failed; those before it have taken effect.
    pub fn ip_batch(&self, lines: &str) -> Result<()> {
        self.feed("ip", "-batch -", lines)
    }

    /// Applies an nftables script in one transaction: all of it or nothing.
    ///
    /// # Errors
    /// It is wrong, or the kernel lacks something it uses.
    pub fn nft(&self, script: &str) -> Result<()> {
        self.feed("nft", "-f -", script)
    }

    fn feed(&self, program: &str, arguments: &str, input: &str) -> Result<()> {
        self.within(|| command::run_with(program, arguments, Some(input)))
            .with_context(|| format!("in namespace {}", self.name()))?;
        Ok(())
    }

    /// Brings an interface up, without the second that duplicate address detection takes and
    /// that would tell nothing in here.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn bring_up(&self, interface: &str) -> Result<()> {
        self.set(&format!("net/ipv6/conf/{interface}/dad_transmits"), "0")?;
        self.ip(&format!("link set {interface} up")).map(drop)
    }

    /// Waits until every interface that is up has IPv6 addresses and all of them may be used. The
    /// kernel works on new ones in the background, also where it detects no duplicates.
    ///
    /// # Errors
    /// It takes longer than it ever should.
    pub fn settle(&self) -> Result<()> {
        let what = format!("usable addresses in {}", self.name());
        wait_for(&what, Duration::from_secs(5), || {
            let text = self.ip("-j -6 addr show up")?;
            let interfaces: Vec<Value> = serde_json::from_str(&text).context("what ip printed")?;
            for interface in interfaces {
                let addresses = interface.get("addr_info").and_then(Value::as_array);
                let usable = addresses.is_some_and(|addresses| {
                    !addresses.is_empty() && addresses.iter().all(|a| a.get("tentative").is_none())
                });
                let flags = interface.get("flags").and_then(Value::as_array);
                let has = |flag: &str| flags.is_some_and(|flags| flags.iter().any(|f| f == flag));
                // Both: the other end is there, and the kernel has not told everybody yet.
                let announced = !(has("LOWER_UP") && has("NO-CARRIER"));
                ensure!(usable && announced, "{interface}");
            }
            Ok(())
        })
    }

    /// Writes a setting below `/proc/sys`.
    ///
    /// # Errors
    /// The kernel has no such setting or refuses the value.
    pub fn set(&self, key: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(key);
        self.within(|| fs::write(&path, value).with_context(|| format!("set {key} to {value}")))
            .with_context(|| format!("in namespace {}", self.name()))
    }

    /// Reads a setting below `/proc/sys`.
    ///
    /// # Errors
    /// The kernel has no such setting.
    pub fn setting(&self, key: &str) -> Result<String> {
        let path = Path::new("/proc/sys").join(key);
        let text =
            self.within(|| fs::read_to_string(&path).with_context(|| format!("read {key}")))?;
        Ok(text.trim().to_owned())
    }

    /// The kernel's number of an interface.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn interface_index(&self, interface: &str) -> Result<u32> {
        let text = self.ip(&format!("-o link show dev {interface}"))?;
        let number = text.split(':').next().unwrap_or_default();
        number
            .trim()
            .parse()
            .with_context(|| format!("no interface number in {text}"))
    }

    /// The address of an interface on its link.
    ///
    /// # Errors
    /// There is no such interface, or it is no Ethernet.
    pub fn hardware_address(&self, interface: &str) -> Result<String> {
        let text = self.ip(&format!("-o link show dev {interface}"))?;
        let mut words = text
            .split_whitespace()
            .skip_while(|word| *word != "link/ether");
        let address = words
            .nth(1)
            .with_context(|| format!("no address in {text}"));
        address.map(str::to_owned)
    }

    /// An interface's link-local address, as routes name a neighbor.
    ///
    /// # Errors
    /// There is no such interface, or it has none yet.
    pub fn link_local(&self, interface: &str) -> Result<Ipv6Addr> {
        let text = self.ip(&format!("-6 -o addr show dev {interface} scope link"))?;
        let mut words = text.split_whitespace().skip_while(|word| *word != "inet6");
        let address = words.nth(1).and_then(|word| word.split('/').next());
        let address = address.with_context(|| format!("{interface} has no link-local address"))?;
        address.parse().context("an address")
    }

    /// How many packets an interface has sent.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn sent_packets(&self, interface: &str) -> Result<u64> {
        let text = self.ip(&format!("-j -s link show dev {interface}"))?;
        let answer: Value = serde_json::from_str(&text).context("what ip printed")?;
        let packets = answer.pointer("/0/stats64/tx/packets");
        packets.and_then(Value::as_u64).context("no packet count")
    }

    /// Whether an interface has its carrier.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn has_carrier(&self, interface: &str) -> Result<bool> {
        let text = self.ip(&format!("-o link show dev {interface}"))?;
        match text
            .split_once('<')
            .and_then(|(_, rest)| rest.split_once('>'))
        {
            Some((flags, _)) => Ok(flags.split(',').any(|flag| flag == "LOWER_UP")),
            None => bail!("no flags in {text}"),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Nobody is left to tell, and the sandbox takes it along in any case.
        let _ = command::run("ip", &format!("netns delete {}", self.name));
    }
}
