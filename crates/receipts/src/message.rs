//! What two neighbors say to each other. The mesh carries it as opaque bytes.
//!
//! ```text
//! offset size
//!      0    1  version, 1
//!      1    1  type
//!      2       1 Offer    180  offer                                    provider → consumer
//!              2 Request   76  epoch 8, seq 4, seconds 4, up 8, down 8,
//!                              amount 16, offer hash 28                 provider → consumer
//!              3 Receipt  124  compact receipt                          consumer → provider
//!              4 Refusal   33  epoch 8, seq 4, seconds 4, up 8, down 8,
//!                              reason 1                                 consumer → provider
//!              5 Head     180 or 436  offer, last receipt if any        either way
//! ```
//! Only offers and receipts are signed. A forged request gets nothing signed that the consumer did
//! not count itself; a forged refusal can delay a receipt, not change one.

use crate::codec::{ParseError, Reader};
use crate::heading::Position;
use crate::identity::ContentHash;
use crate::money::{Amount, Totals};
use crate::offer::Offer;
use crate::receipt::{CompactReceipt, Receipt, emit_totals, read_totals};

const VERSION: u8 = 1;
const TYPE_OFFER: u8 = 1;
const TYPE_REQUEST: u8 = 2;
const TYPE_RECEIPT: u8 = 3;
const TYPE_REFUSAL: u8 = 4;
const TYPE_HEAD: u8 = 5;

/// One message between two neighbors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The provider opens an epoch.
    Offer(Offer),
    /// The provider asks for a receipt.
    Request(Request),
    /// The consumer signs.
    Receipt(CompactReceipt),
    /// The consumer does not sign.
    Refusal(Refusal),
    /// "This is where our account stands", said to a neighbor who is behind.
    Head(Box<Head>),
}

/// The figures the provider would like to have signed. They are cumulative for the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Place of the wanted receipt.
    pub position: Position,
    /// Service in this epoch.
    pub totals: Totals,
    /// Its price.
    pub amount: Amount,
    /// The epoch's offer.
    pub offer_hash: ContentHash,
}

/// Why a request is not signed, and what would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Place of the receipt that was asked for.
    pub position: Position,
    /// Figures that would be signed there: the consumer's own count.
    pub confirmed: Totals,
    /// What is wrong.
    pub reason: RefusalReason,
}

/// What is wrong with a request or an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum RefusalReason {
    /// The consumer does not have the epoch's offer; send it.
    #[error("the offer is not known")]
    UnknownOffer,
    /// Receipts before this one are not known to the consumer; send the head.
    #[error("receipts before this one are not known")]
    Gap,
    /// The consumer counted less.
    #[error("more than was counted")]
    Unconfirmed,
    /// The amount does not follow from the offer's price.
    #[error("the amount does not follow from the price")]
    Amount,
    /// A figure is below what is already signed, or no byte is new.
    #[error("nothing new since the last receipt")]
    NothingNew,
    /// The price is above what the consumer's operator allows.
    #[error("the price is too high")]
    Price,
}

const REASONS: [(u8, RefusalReason); 6] = [
    (1, RefusalReason::UnknownOffer),
    (2, RefusalReason::Gap),
    (3, RefusalReason::Unconfirmed),
    (4, RefusalReason::Amount),
    (5, RefusalReason::NothingNew),
    (6, RefusalReason::Price),
];

/// The offer of the newest epoch and its last receipt, in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    offer: Offer,
    receipt: Option<Receipt>,
}

impl Head {
    /// An epoch's offer with its last receipt.
    ///
    /// # Errors
    /// [`ParseError::Mismatched`] unless the receipt was given under this offer.
    pub fn new(offer: Offer, receipt: Option<Receipt>) -> Result<Self, ParseError> {
        if receipt
            .as_ref()
            .is_some_and(|receipt| receipt.check_offer(&offer).is_err())
        {
            return Err(ParseError::Mismatched);
        }
        Ok(Self { offer, receipt })
    }

    /// The epoch's offer.
    pub const fn offer(&self) -> &Offer {
        &self.offer
    }

    /// The last receipt, if one was given in this epoch.
    pub const fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref()
    }

    /// The place of the last receipt, or of the offer.
    pub fn position(&self) -> Position {
        self.receipt
            .as_ref()
            .map_or(self.offer.heading().position, Receipt::position)
    }
}

impl Message {
    /// Reads one message; signatures are not checked.
    ///
    /// # Errors
    /// [`ParseError`] if `bytes` is not exactly one message.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(ParseError::Version(version));
        }
        let message = match reader.u8()? {
            TYPE_OFFER => Self::Offer(Offer::parse(reader.bytes(Offer::LEN)?)?),
            TYPE_REQUEST => Self::Request(Request::read(&mut reader)?),
            TYPE_RECEIPT => Self::Receipt(CompactReceipt::read(&mut reader)?),
            TYPE_REFUSAL => Self::Refusal(Refusal::read(&mut reader)?),
            TYPE_HEAD => Self::Head(Box::new(Head::read(&mut reader)?)),
            other => return Err(ParseError::MessageType(other)),
        };
        reader.finish()?;
        Ok(message)
    }

    /// The bytes of this message.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        match self {
            Self::Offer(offer) => {
                out.push(TYPE_OFFER);
                out.extend(offer.to_bytes());
            }
            Self::Request(request) => {
                out.push(TYPE_REQUEST);
                request.emit(&mut out);
            }
            Self::Receipt(receipt) => {
                out.push(TYPE_RECEIPT);
                receipt.emit(&mut out);
            }
            Self::Refusal(refusal) => {
                out.push(TYPE_REFUSAL);
                refusal.emit(&mut out);
            }
            Self::Head(head) => {
                out.push(TYPE_HEAD);
                out.extend(head.offer.to_bytes());
                out.extend(head.receipt.iter().flat_map(Receipt::to_bytes));
            }
        }
        out
    }
}

impl Request {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let position = Position {
            epoch: reader.u64()?,
            seq: reader.u32()?,
        };
        if position.seq == 0 {
            return Err(ParseError::Seq(0));
        }
        Ok(Self {
            position,
            totals: read_totals(reader)?,
            amount: Amount::new(reader.u128()?),
            offer_hash: ContentHash::new(reader.array()?),
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.extend(self.position.epoch.to_le_bytes());
        out.extend(self.position.seq.to_le_bytes());
        emit_totals(&self.totals, out);
        out.extend(self.amount.atto_smt().to_le_bytes());
        out.extend(self.offer_hash.as_bytes());
    }
}

impl Refusal {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            position: Position {
                epoch: reader.u64()?,
                seq: reader.u32()?,
            },
            confirmed: read_totals(reader)?,
            reason: RefusalReason::from_code(reader.u8()?)?,
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        out.extend(self.position.epoch.to_le_bytes());
        out.extend(self.position.seq.to_le_bytes());
        emit_totals(&self.confirmed, out);
        out.push(self.reason.code());
    }
}

impl RefusalReason {
    fn from_code(code: u8) -> Result<Self, ParseError> {
        REASONS
            .iter()
            .find_map(|&(known, reason)| (known == code).then_some(reason))
            .ok_or(ParseError::Reason(code))
    }

    const fn code(self) -> u8 {
        match self {
            Self::UnknownOffer => 1,
            Self::Gap => 2,
            Self::Unconfirmed => 3,
            Self::Amount => 4,
            Self::NothingNew => 5,
            Self::Price => 6,
        }
    }
}

impl Head {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let offer = Offer::parse(reader.bytes(Offer::LEN)?)?;
        let receipt = match reader.remaining() {
            0 => None,
            _ => Some(Receipt::parse(reader.bytes(Receipt::LEN)?)?),
        };
        Self::new(offer, receipt)
    }
}
