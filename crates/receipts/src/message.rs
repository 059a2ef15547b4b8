//! What two neighbors say to each other. The mesh carries it as opaque bytes.
//!
//! ```text
//! offset size
//!      0    1  version, 2
//!      1    1  type
//!      2       1 Offer    240  offer                                    provider → consumer
//!              2 Request   40  epoch 8, seq 4, seconds 4, up 8, down 8,
//!                              first 8 bytes of the offer's hash        provider → consumer
//!              3 Receipt  124  compact receipt                          consumer → provider
//!              4 Refusal   33  epoch 8, seq 4, seconds 4, up 8, down 8,
//!                              reason 1                                 consumer → provider
//!              5 Head     240 or 496  offer, last receipt if any        either way
//! ```
//! Only offers and receipts are signed. A forged request gets nothing signed that the consumer did
//! not count itself; a forged refusal can delay a receipt, not change one.

use crate::codec::{ParseError, Reader};
use crate::heading::Position;
use crate::identity::BadSignature;
use crate::money::Totals;
use crate::offer::Offer;
use crate::receipt::{CompactReceipt, Receipt, emit_totals, read_totals};

const VERSION: u8 = 2;
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
    /// The epoch's offer: the beginning of its hash.
    pub offer: [u8; 8],
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
    /// The consumer signs nothing more in this epoch, or not at this place: open the next one.
    #[error("the epoch has ended")]
    Ended,
    /// The consumer counted less.
    #[error("more than was counted")]
    Unconfirmed,
    /// A figure is below what is already signed, or no byte is new.
    #[error("nothing new since the last receipt")]
    NothingNew,
    /// The price is above what the consumer's operator allows, or what was announced.
    #[error("the price is too high")]
    Price,
}

const REASONS: [(u8, RefusalReason); 5] = [
    (1, RefusalReason::UnknownOffer),
    (2, RefusalReason::Ended),
    (3, RefusalReason::Unconfirmed),
    (4, RefusalReason::NothingNew),
    (5, RefusalReason::Price),
];

/// An epoch's offer and its last receipt, in full.
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

    /// Checks both signatures.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self) -> Result<(), BadSignature> {
        self.offer.verify()?;
        self.receipt.as_ref().map_or(Ok(()), Receipt::verify)
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

    /// Whether it carries a signature, which costs time to check.
    pub(crate) const fn is_signed(&self) -> bool {
        match self {
            Self::Offer(_) | Self::Receipt(_) | Self::Head(_) => true,
            Self::Request(_) | Self::Refusal(_) => false,
        }
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
        Ok(Self {
            position: Position::read_receipt(reader)?,
            totals: read_totals(reader)?,
            offer: reader.array()?,
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        self.position.emit(out);
        emit_totals(&self.totals, out);
        out.extend(self.offer);
    }
}

impl Refusal {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            position: Position::read_receipt(reader)?,
            confirmed: read_totals(reader)?,
            reason: RefusalReason::from_code(reader.u8()?)?,
        })
    }

    fn emit(&self, out: &mut Vec<u8>) {
        self.position.emit(out);
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
            Self::Ended => 2,
            Self::Unconfirmed => 3,
            Self::NothingNew => 4,
            Self::Price => 5,
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
