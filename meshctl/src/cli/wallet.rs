//! The command line of `meshctl wallet`.

use std::path::PathBuf;

use alloy_primitives::{Address, U256};
use clap::{Args, Subcommand};
use ethereum::text::{parse_address, parse_amount};

/// Keys are never arguments: anybody on the machine can read those.
#[derive(Debug, Args)]
pub(crate) struct Wallet {
    #[command(flatten)]
    pub(crate) files: Files,
    #[command(flatten)]
    pub(crate) chain: Chain,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the key is.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// The file with the encrypted key [default: meshd/wallet.json in $XDG_DATA_HOME or ~/.local/share]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) keystore: Option<PathBuf>,
    /// Read the passphrase from the first line of a file that nobody else can read, and do not ask
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// Whom to ask, and about what. What is given here goes before what is in the file.
#[derive(Debug, Args)]
pub(crate) struct Chain {
    /// A file with `rpc`, `book`, `token`, `chain_id`, `confirmations`, `max_priority_fee_gwei` and `max_fee_ether`
    /// [default: meshd/wallet.yaml in $XDG_CONFIG_HOME or ~/.config]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// An Ethereum node; a URL with a key in it belongs into the file
    // Text, because an error of the parser would repeat all of it.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) rpc: Option<String>,
    /// The cheque book's address
    #[arg(long, global = true, value_name = "ADDRESS", value_parser = parse_address)]
    pub(crate) book: Option<Address>,
    /// The token that the cheque book has to pay in: SMT
    #[arg(long, global = true, value_name = "ADDRESS", value_parser = parse_address)]
    pub(crate) token: Option<Address>,
    /// Wait until a transaction is in so many blocks, its own and those on top of it [default: 3]
    #[arg(long, global = true, value_name = "BLOCKS", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub(crate) confirmations: Option<u64>,
    /// Wait so long for that; the same command goes on where this one ends
    #[arg(long, global = true, value_name = "SECONDS", default_value = "600")]
    pub(crate) patience: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a new key, and write it to the keystore file, encrypted
    New {
        #[command(flatten)]
        strength: Strength,
    },
    /// Take over a key: a keystore file of geth or MetaMask, or hexadecimal digits from standard input
    ///
    /// The passphrase of a keystore file stays the same.
    Import {
        /// A keystore file; `-`: one from standard input, or a private key's 64 digits
        file: PathBuf,
        #[command(flatten)]
        strength: Strength,
    },
    /// Where others send SMT and ether to
    Address,
    /// What there is of SMT, and of ether for fees
    Balance,
    /// Pay somebody
    ///
    /// If an earlier run was interrupted after it had signed, this one goes on with what that signed. If it was the
    /// same payment, nothing more is sent.
    Send {
        /// Whom
        #[arg(value_parser = parse_address)]
        to: Address,
        /// How much, in SMT
        #[arg(value_parser = parse_amount)]
        amount: U256,
        /// Ether, and not SMT
        #[arg(long)]
        ether: bool,
        #[command(flatten)]
        consent: Consent,
    },
    /// Cash cheques of a settlement service
    ///
    /// Each is tried before anything is sent; those that pay are cashed in one transaction. Whoever
    /// cashes pays its fee, whoever a cheque names gets the SMT.
    Cash {
        /// Files of cheques; `-`: standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        consent: Consent,
    },
    /// Deposit SMT, from which cheques of a settlement service are paid
    Deposit {
        /// How much, in SMT
        #[arg(value_parser = parse_amount)]
        amount: U256,
        #[command(flatten)]
        consent: Consent,
    },
    /// Let a settlement key sign cheques on the deposit, for so much in a day
    ///
    /// The first key, and more for the same one, count at once. Another key, none (the address 0), or less is
    /// asked for, and counts when this is run again after three days without arguments.
    Authorize(Authorize),
    /// Take a deposit back: announce it, and three days later run it without an amount
    ///
    /// Until then cheques are paid from it as before. An amount of 0 takes the announcement back.
    Withdraw {
        /// How much is announced, in SMT; without it, what was announced is withdrawn
        #[arg(value_parser = parse_amount)]
        amount: Option<U256>,
        #[command(flatten)]
        consent: Consent,
    },
    /// Sign, as the account, what `meshctl account` has signed as a node, and send it to a settlement service
    Register {
        /// The file that `meshctl account` wrote
        file: PathBuf,
        /// The settlement service: https://HOST, or http on this machine
        #[arg(long, value_name = "URL")]
        service: ethereum::rpc::NodeUrl,
    },
    /// Copy the encrypted key to another place, and prove that the passphrase opens the copy
    Backup {
        /// The new file
        file: PathBuf,
    },
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Strength {
    /// For machines with less than 512 MB: opening the file takes 4 MiB and not 256, and guessing the
    /// passphrase a tenth of the time
    #[arg(long)]
    pub(crate) light: bool,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Authorize {
    /// The service's settlement key
    #[arg(value_parser = parse_address, requires = "allowance")]
    pub(crate) key: Option<Address>,
    /// How much it may sign for in a day, in SMT
    #[arg(value_parser = parse_amount)]
    pub(crate) allowance: Option<U256>,
    #[command(flatten)]
    pub(crate) consent: Consent,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Consent {
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) stuck: Stuck,
}

/// What may be done about a transaction of an interrupted run that is in no block.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Stuck {
    /// Let a transaction of an interrupted run, which waits because it pays too little, pay more
    #[arg(long)]
    pub(crate) raise_fee: bool,
    /// Let transfers of nothing to this account take the numbers (nonces) that are missing before it
    #[arg(long)]
    pub(crate) fill_gap: bool,
    /// Believe the node that another transaction of this account has its number, and forget it
    #[arg(long)]
    pub(crate) replaced: bool,
}
