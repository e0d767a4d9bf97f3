//! Pages: their size in items and in bytes, and the tokens that lead from one to the next.
//!
//! A token is opaque, url-safe text that works only in the listing it came from: its checksum covers the
//! method and every parameter but the page's own, so a garbled token and a foreign one are both refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memcore_engine::{Error, Result};
use prost::Message;

use crate::convert::refusal;

const DEFAULT_PAGE_SIZE: usize = 50;
const MAX_PAGE_SIZE: usize = 1000;
/// Most bytes of a page of more than one item: clients refuse replies over 4 MiB unless told otherwise.
const MAX_PAGE_BYTES: usize = 2 * 1024 * 1024;
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 2;
const CHECKSUM_BYTES: usize = 4;
/// Characters of a refused token that its error repeats.
const SHOWN_CHARS: usize = 64;

/// Reads a page size: 0 means the default, more than the most means the most.
pub fn page_size(value: i32) -> Result<usize> {
    match usize::try_from(value) {
        Ok(0) => Ok(DEFAULT_PAGE_SIZE),
        Ok(size) => Ok(size.min(MAX_PAGE_SIZE)),
        Err(_) => Err(refusal("INVALID_PAGE_SIZE", "page_size", "0 or more", value)),
    }
}

/// Drops from the end what does not fit into one page; true if it dropped something.
pub fn cut<T: Message>(items: &mut Vec<T>) -> bool {
    let mut bytes = 0;
    let overflows = |item: &T| {
        bytes += item.encoded_len();
        bytes > MAX_PAGE_BYTES
    };
    let full = items.len();
    let kept = items.iter().position(overflows).unwrap_or(full);
    items.truncate(kept.max(1));
    items.len() < full
}

/// The listing a token belongs to; the number stands in the token.
#[derive(Clone, Copy)]
pub enum Listing {
    Banks = 1,
    Chunks = 2,
    PendingBanks = 3,
    Memories = 4,
    BankEvents = 5,
}

/// Where a page starts. Each listing uses the fields it needs.
#[derive(Clone, PartialEq, Message)]
pub struct Position {
    /// Last bank's id.
    #[prost(string, tag = "1")]
    pub name: String,
    /// A chunk's position, the last memory's id or the last event's revision.
    #[prost(uint64, tag = "2")]
    pub number: u64,
    /// The first page's revision, or the last event's index.
    #[prost(uint64, tag = "3")]
    pub pin: u64,
}

/// Reads and writes the tokens of one listing with fixed parameters.
pub struct Tokens {
    listing: Listing,
    parameters: Vec<u8>,
}

impl Tokens {
    /// `request` with its page size and token cleared.
    pub fn new(listing: Listing, request: &impl Message) -> Self {
        Self { listing, parameters: request.encode_to_vec() }
    }

    pub fn write(&self, position: &Position) -> String {
        let mut bytes = vec![FORMAT, self.listing as u8];
        bytes.extend(position.encode_to_vec());
        let checksum = self.checksum(&bytes);
        bytes.extend(checksum.to_le_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `None` for the first page.
    ///
    /// # Errors
    /// `INVALID_PAGE_TOKEN` if this listing did not write the token.
    pub fn read(&self, token: &str) -> Result<Option<Position>> {
        if token.is_empty() {
            return Ok(None);
        }
        self.decode(token).map(Some).ok_or_else(|| invalid(token))
    }

    fn decode(&self, token: &str) -> Option<Position> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (body, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM_BYTES)?)?;
        let (header, payload) = body.split_at_checked(HEADER_BYTES)?;
        let authentic =
            header == [FORMAT, self.listing as u8] && checksum == self.checksum(body).to_le_bytes();
        authentic.then(|| Position::decode(payload).ok()).flatten()
    }

    fn checksum(&self, body: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(body);
        hasher.update(&self.parameters);
        hasher.finalize()
    }
}

fn invalid(token: &str) -> Error {
    let shown: String = token.chars().take(SHOWN_CHARS).collect();
    refusal(
        "INVALID_PAGE_TOKEN",
        "page_token",
        "empty or the next_page_token of the same listing with the same parameters",
        format!("{shown:?}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Chunk, ListBanksRequest, ListChunksRequest, ListMemoriesRequest};

    fn memories(bank_id: &str) -> Tokens {
        let request = ListMemoriesRequest { bank_id: bank_id.into(), ..Default::default() };
        Tokens::new(Listing::Memories, &request)
    }

    fn position() -> Position {
        Position { name: String::new(), number: 7, pin: 12 }
    }

    #[test]
    fn a_token_reads_back_as_what_was_written() {
        let token = memories("a").write(&position());
        assert_eq!(memories("a").read(&token), Ok(Some(position())));
    }

    #[test]
    fn a_token_is_safe_in_a_url() {
        let token = Tokens::new(Listing::Banks, &ListBanksRequest::default())
            .write(&Position { name: "~?/\u{ff}\u{3fffd}".into(), ..position() });
        assert!(token.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    }

    #[test]
    fn no_token_means_the_first_page() {
        assert_eq!(memories("a").read(""), Ok(None));
    }

    #[test]
    fn a_token_of_another_bank_method_or_parameter_is_refused() {
        let token = memories("a").write(&position());
        let chunks = ListChunksRequest { bank_id: "a".into(), ..Default::default() };
        let typed = ListMemoriesRequest { bank_id: "a".into(), r#type: 2, ..Default::default() };
        for tokens in
            [memories("b"), Tokens::new(Listing::Chunks, &chunks), Tokens::new(Listing::Memories, &typed)]
        {
            let error = tokens.read(&token).unwrap_err();
            assert_eq!(error.reason, "INVALID_PAGE_TOKEN");
        }
    }

    #[test]
    fn a_token_with_any_character_changed_or_missing_is_refused() {
        let token = memories("a").write(&position());
        for at in 0..token.len() {
            let mut garbled = token.clone().into_bytes();
            garbled[at] = if garbled[at] == b'A' { b'B' } else { b'A' };
            let garbled = String::from_utf8(garbled).unwrap();
            assert!(memories("a").read(&garbled).is_err(), "changed at {at}");
            assert!(memories("a").read(&token[..at]).is_err() == (at > 0), "cut at {at}");
        }
    }

    fn chunks(bytes: &[usize]) -> Vec<Chunk> {
        let chunk = |bytes: &usize| Chunk { text: "x".repeat(*bytes), ..Default::default() };
        bytes.iter().map(chunk).collect()
    }

    #[test]
    fn a_page_ends_before_two_mebibytes_but_holds_at_least_one_item() {
        const MIB: usize = 1024 * 1024;
        for (sizes, kept) in [(&[9, 9, 9][..], 3), (&[MIB, MIB, 9], 1), (&[3 * MIB, 9], 1), (&[], 0)] {
            let mut items = chunks(sizes);
            assert_eq!(cut(&mut items), kept < sizes.len());
            assert_eq!(items.len(), kept);
        }
    }

    #[test]
    fn a_page_size_of_zero_means_fifty_and_a_large_one_a_thousand() {
        assert_eq!(page_size(0), Ok(50));
        assert_eq!(page_size(7), Ok(7));
        assert_eq!(page_size(1001), Ok(1000));
    }

    #[test]
    fn a_negative_page_size_is_refused_with_its_value() {
        let error = page_size(-3).unwrap_err();
        assert_eq!(error.reason, "INVALID_PAGE_SIZE");
        assert_eq!(error.message, "page_size must be 0 or more, got -3");
    }
}
