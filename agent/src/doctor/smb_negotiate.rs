//! The first words with a file server: one SMB2 NEGOTIATE (MS-SMB2 2.2.3, 2.2.4), and no more.
//!
//! It needs no account, and tells the dialect, whether signing is required, the server's clock and
//! who it is, whatever name it was called by. What comes back is read with bounds and never trusted.
#![expect(clippy::disallowed_types, reason = "edge: speaks to the server")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest answer that is read; a real one has some hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Bytes of the header of SMB2.
const HEADER: usize = 64;
/// From 1601 to 1970, in seconds.
const EPOCH_SECONDS: u64 = 11_644_473_600;
/// SMB2_NEGOTIATE_SIGNING_REQUIRED.
const SIGNING_REQUIRED: u16 = 0x0002;
/// SMB2_GLOBAL_CAP_DFS.
const CAP_DFS: u32 = 0x01;
/// SMB2_GLOBAL_CAP_ENCRYPTION.
const CAP_ENCRYPTION: u32 = 0x40;

/// Dialects that are offered, from the oldest to the newest.
const DIALECTS: [u16; 5] = [0x0202, 0x0210, 0x0300, 0x0302, 0x0311];

/// What the server said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The dialect's number, such as 0x0311.
    pub dialect: u16,
    /// Messages that are not signed are refused.
    pub signing_required: bool,
    /// It can encrypt.
    pub encryption: bool,
    /// It knows DFS.
    pub dfs: bool,
    /// The same for every name of the server.
    pub guid: [u8; 16],
    /// Its clock; `None` where it does not say.
    pub time: Option<SystemTime>,
}

impl Negotiated {
    /// The dialect as people call it.
    pub fn dialect_name(&self) -> &'static str {
        match self.dialect {
            0x0202 => "SMB 2.0.2",
            0x0210 => "SMB 2.1",
            0x0300 => "SMB 3.0",
            0x0302 => "SMB 3.0.2",
            0x0311 => "SMB 3.1.1",
            _ => "an SMB of an unknown kind",
        }
    }
}

/// Why a server could not be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum NegotiateError {
    /// No connection, or it broke.
    #[error("cannot speak to {at}")]
    Io {
        /// Where.
        at: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// It answered in SMB 1, which is no longer spoken.
    #[error("it speaks only SMB 1")]
    OnlySmb1,
    /// It answered something else.
    #[error("its answer is no SMB 2: {0}")]
    Malformed(&'static str),
    /// It answered with a status.
    #[error("it refused to negotiate, status 0x{0:08X}")]
    Refused(u32),
}

/// The request, with its length before it. `chance` is nobody's to foretell.
pub fn request(client: [u8; 16], chance: [u8; 32]) -> Vec<u8> {
    let mut smb = b"\xfeSMB".to_vec();
    smb.extend(64_u16.to_le_bytes());
    smb.resize(HEADER, 0);
    smb[14] = 1; // credits
    smb.extend(36_u16.to_le_bytes());
    smb.extend((DIALECTS.len() as u16).to_le_bytes());
    smb.extend([1, 0, 0, 0]); // signing is possible
    smb.extend((CAP_DFS | CAP_ENCRYPTION).to_le_bytes());
    smb.extend(client);
    let contexts_at = (HEADER + 36 + 2 * DIALECTS.len()).next_multiple_of(8);
    smb.extend((contexts_at as u32).to_le_bytes());
    smb.extend([2, 0, 0, 0]);
    smb.extend(DIALECTS.iter().flat_map(|dialect| dialect.to_le_bytes()));
    smb.resize(contexts_at, 0);
    // SMB2_PREAUTH_INTEGRITY_CAPABILITIES: SHA-512, with a salt of 32 bytes.
    smb.extend([1, 0, 38, 0, 0, 0, 0, 0, 1, 0, 32, 0, 1, 0]);
    smb.extend(chance);
    smb.resize(smb.len().next_multiple_of(8), 0);
    // SMB2_ENCRYPTION_CAPABILITIES: AES-128-GCM and AES-128-CCM.
    smb.extend([2, 0, 6, 0, 0, 0, 0, 0, 2, 0, 2, 0, 1, 0]);
    let mut framed = (smb.len() as u32).to_be_bytes().to_vec();
    framed.extend(smb);
    framed
}

/// Reads an answer, without the length before it.
///
/// # Errors
/// [`NegotiateError`].
pub fn parse(smb: &[u8]) -> Result<Negotiated, NegotiateError> {
    let short = NegotiateError::Malformed("it is cut short");
    let Some(protocol) = smb.get(..4) else { return Err(short) };
    match protocol {
        b"\xfeSMB" => {}
        b"\xffSMB" => return Err(NegotiateError::OnlySmb1),
        _ => return Err(NegotiateError::Malformed("it does not begin like one")),
    }
    let read = || Some((number::<2>(smb, 4)?, number::<4>(smb, 8)?, number::<2>(smb, 12)?));
    let Some((header, status, command)) = read() else { return Err(short) };
    if header != HEADER as u64 || command != 0 {
        return Err(NegotiateError::Malformed("it answers something else"));
    }
    if status != 0 {
        return Err(NegotiateError::Refused(status as u32));
    }
    let body = smb.get(HEADER..).unwrap_or_default();
    negotiated(body).ok_or(short)?
}

fn negotiated(body: &[u8]) -> Option<Result<Negotiated, NegotiateError>> {
    let guid: [u8; 16] = body.get(8..24)?.try_into().ok()?;
    let [size, security, dialect, contexts] = [0, 2, 4, 6].map(|at| number::<2>(body, at));
    let (size, security, dialect) = (size?, security? as u16, dialect? as u16);
    let (capabilities, time) = (number::<4>(body, 24)? as u32, number::<8>(body, 40)?);
    let contexts_at = number::<4>(body, 60)?;
    if size != 65 {
        return Some(Err(NegotiateError::Malformed("its body has another size")));
    }
    if !DIALECTS.contains(&dialect) {
        return Some(Err(NegotiateError::Malformed("it chose a dialect that was not offered")));
    }
    // In 3.1.1 a context says it, in 3.0 a capability.
    let encryption = match dialect {
        0x0311 => encrypts(body, contexts_at as usize, contexts? as usize),
        dialect => dialect >= 0x0300 && capabilities & CAP_ENCRYPTION != 0,
    };
    Some(Ok(Negotiated {
        dialect,
        signing_required: security & SIGNING_REQUIRED != 0,
        encryption,
        dfs: capabilities & CAP_DFS != 0,
        guid,
        time: file_time(time),
    }))
}

/// Whether the server chose a cipher. Contexts that are cut short say nothing.
fn encrypts(body: &[u8], at: usize, count: usize) -> bool {
    let mut at = at.wrapping_sub(HEADER);
    for _ in 0..count.min(16) {
        let kind = number::<2>(body, at);
        let length = at.checked_add(2).and_then(|at| number::<2>(body, at));
        let (Some(kind), Some(length)) = (kind, length) else { return false };
        if kind == 2 {
            return number::<2>(body, at + 10).is_some_and(|cipher| cipher != 0);
        }
        at = (at + 8 + length as usize).next_multiple_of(8);
    }
    false
}

/// A FILETIME (100 ns since 1601) as a time; 0 says nothing.
fn file_time(ticks: u64) -> Option<SystemTime> {
    let since_1601 = Duration::new(ticks / 10_000_000, (ticks % 10_000_000) as u32 * 100);
    let since = since_1601.checked_sub(Duration::from_secs(EPOCH_SECONDS))?;
    UNIX_EPOCH.checked_add(since)
}

/// A little-endian number of some bytes.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let found = bytes.get(at..at.checked_add(N)?)?;
    Some(found.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

/// Speaks to a server; every call ends within `limit`.
///
/// # Errors
/// [`NegotiateError`].
pub fn negotiate(
    at: SocketAddr,
    limit: Duration,
    client: [u8; 16],
    chance: [u8; 32],
) -> Result<Negotiated, NegotiateError> {
    let answer = || -> io::Result<Result<Vec<u8>, NegotiateError>> {
        let mut stream = TcpStream::connect_timeout(&at, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        stream.write_all(&request(client, chance))?;
        let mut head = [0; 4];
        stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes(head) as usize;
        if length > ANSWER_BYTES_MAX {
            return Ok(Err(NegotiateError::Malformed("it is too long")));
        }
        // Taken, not reserved: what a stranger claims is no reason to set memory aside.
        let mut body = Vec::new();
        stream.take(length as u64).read_to_end(&mut body)?;
        Ok(Ok(body))
    };
    parse(&answer().map_err(|source| NegotiateError::Io { at, source })??)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use proptest::prelude::*;

    use super::*;

    /// An answer of a server, with a cipher or without.
    fn answer(dialect: u16, security: u16, capabilities: u32, cipher: u16) -> Vec<u8> {
        let mut smb = b"\xfeSMB\x40\0".to_vec();
        smb.resize(HEADER, 0);
        smb.extend([65, 0]);
        smb.extend(security.to_le_bytes());
        smb.extend(dialect.to_le_bytes());
        smb.extend([2, 0]);
        smb.extend([7; 16]);
        smb.extend(capabilities.to_le_bytes());
        smb.extend([0; 12]);
        smb.extend(((1_900_000_000 + EPOCH_SECONDS) * 10_000_000).to_le_bytes());
        smb.extend([0; 8]);
        smb.extend([128, 0, 0, 0]);
        smb.extend(128_u32.to_le_bytes());
        smb.extend([1, 0, 38, 0, 0, 0, 0, 0]);
        smb.resize(128 + 48, 0);
        smb.extend([2, 0, 4, 0, 0, 0, 0, 0, 1, 0]);
        smb.extend(cipher.to_le_bytes());
        smb
    }

    #[test]
    fn an_answer_says_what_it_says() {
        let found = parse(&answer(0x0311, 3, CAP_DFS, 2)).unwrap();
        assert_eq!(found.dialect_name(), "SMB 3.1.1");
        assert!(found.signing_required && found.encryption && found.dfs);
        assert_eq!(found.guid, [7; 16]);
        assert_eq!(found.time, Some(UNIX_EPOCH + Duration::from_secs(1_900_000_000)));
        let found = parse(&answer(0x0311, 1, CAP_ENCRYPTION, 0)).unwrap();
        assert!(!found.signing_required && !found.encryption, "no cipher was chosen");
        assert!(parse(&answer(0x0302, 1, CAP_ENCRYPTION, 0)).unwrap().encryption);
        assert!(!parse(&answer(0x0210, 1, CAP_ENCRYPTION, 0)).unwrap().encryption);
    }

    #[test]
    fn what_is_no_answer_says_so() {
        let whole = answer(0x0311, 1, 0, 1);
        for end in 0..128 {
            assert!(parse(&whole[..end]).is_err(), "{end}");
        }
        assert!(matches!(parse(b"\xffSMBr"), Err(NegotiateError::OnlySmb1)));
        assert!(matches!(parse(b"HTTP/1.1 400"), Err(NegotiateError::Malformed(_))));
        let mut refused = whole.clone();
        refused[8..12].copy_from_slice(&0xc000_00bb_u32.to_le_bytes());
        assert!(matches!(parse(&refused), Err(NegotiateError::Refused(0xc000_00bb))));
        assert!(matches!(parse(&answer(0x02ff, 1, 0, 1)), Err(NegotiateError::Malformed(_))));
        let mut other = whole;
        other[12] = 1;
        assert!(matches!(parse(&other), Err(NegotiateError::Malformed(_))));
    }

    #[test]
    fn the_request_is_as_long_as_it_says() {
        let bytes = request([1; 16], [2; 32]);
        let length = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
        assert_eq!(length, bytes.len() - 4);
        assert_eq!(
            number::<4>(&bytes, 4 + HEADER + 28),
            Some(112),
            "contexts begin at a multiple of 8"
        );
    }

    #[test]
    fn a_server_that_says_nothing_or_too_much_holds_nobody_up() {
        let short = Duration::from_millis(200);
        for head in [None, Some(u32::MAX)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let at = listener.local_addr().unwrap();
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                if let Some(head) = head {
                    stream.write_all(&head.to_be_bytes()).unwrap();
                }
                let _ = stream.read_to_end(&mut Vec::new()); // until the other side gives up
            });
            let found = negotiate(at, short, [0; 16], [0; 32]);
            assert!(
                matches!(
                    (head, &found),
                    (None, Err(NegotiateError::Io { .. }))
                        | (Some(_), Err(NegotiateError::Malformed(_)))
                ),
                "{found:?}"
            );
            server.join().unwrap();
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let _ = parse(&[b"\xfeSMB\x40\0", &bytes[..]].concat());
        }

        #[test]
        fn no_changed_bytes_make_it_panic(
            changes in prop::collection::vec((0..200_usize, any::<u8>()), 1..8),
        ) {
            let mut bytes = answer(0x0311, 3, 1, 2);
            for (at, value) in changes {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            let _ = parse(&bytes);
        }
    }
}
