//! Stands between a server and the LDAP library while Kerberos protects the connection.
//!
//! The library (ldap3 0.12) takes a bind for done as soon as the server says so, also before the
//! server proved who it is; it loses messages when it is given two sealed frames at once; and it
//! follows any nesting of any length. So what the server says is passed on message by message, and
//! the connection is cut when it says what no honest server says (RFC 4752 has three steps; RFC 4511
//! has shallow messages).

use std::io;

use rustix::io::ioctl_fionread;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

/// Largest message before the connection is sealed: the root entry and the steps of the bind.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Largest sealed frame; domain controllers send at most some hundred KiB.
const FRAME_BYTES_MAX: usize = 16 << 20;
/// Deepest nesting of a message; LDAP's own are below ten.
const DEPTH_MAX: usize = 32;
/// Steps of a bind until the server has proved who it is (RFC 4752 3.1).
const STEPS: u32 = 3;
/// resultCode saslBindInProgress.
const IN_PROGRESS: u8 = 14;
/// How often the library is given way until it has taken a frame; then it is given the next anyhow.
const WAYS_MAX: u32 = 100_000;

/// Why a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// It said that the bind is done before it proved who it is.
    #[error("the server claims that the bind is done before it has proved who it is")]
    Early,
    /// A message is longer than any honest one, or not sealed where all are.
    #[error("the server sent a message that is too long, or not sealed")]
    Long,
    /// A message is nested deeper than any honest one.
    #[error("the server sent a message that is nested too deeply")]
    Deep,
    /// It is no LDAP.
    #[error("the server sent something that is no LDAP")]
    Malformed,
}

/// What a server said so far.
#[derive(Debug, Default)]
pub struct Guard {
    steps: u32,
    sealed: bool,
}

impl Guard {
    /// How many bytes at the beginning of `said` are the next whole message; `None` when there are
    /// too few yet.
    ///
    /// # Errors
    /// [`Breach`]; nothing more is to be passed on then.
    pub fn next(&mut self, said: &[u8]) -> Result<Option<usize>, Breach> {
        if self.sealed {
            let Some(length) = said.first_chunk::<4>() else { return Ok(None) };
            let length = u32::from_be_bytes(*length) as usize;
            if length > FRAME_BYTES_MAX {
                return Err(Breach::Long);
            }
            return Ok((said.len() >= 4 + length).then_some(4 + length));
        }
        let Some((tag, start, length)) = header(said)? else { return Ok(None) };
        if length > MESSAGE_BYTES_MAX {
            return Err(Breach::Long);
        }
        let Some(message) = said.get(start..start + length) else { return Ok(None) };
        if tag != 0x30 {
            return Err(Breach::Malformed);
        }
        check_depth(message)?;
        self.note(message)?;
        Ok(Some(start + length))
    }

    /// Notes the answer to a step of the bind.
    fn note(&mut self, message: &[u8]) -> Result<(), Breach> {
        let whole = |bytes| header(bytes)?.ok_or(Breach::Malformed);
        let (_, start, length) = whole(message)?; // messageID
        let operation = message.get(start + length..).ok_or(Breach::Malformed)?;
        let (tag, start, _) = whole(operation)?;
        if tag != 0x61 {
            return Ok(());
        }
        // BindResponse: its resultCode comes first.
        let code = operation.get(start..).ok_or(Breach::Malformed)?;
        let &[0x0a, 1, code, ..] = code else { return Err(Breach::Malformed) };
        self.steps += 1;
        match code {
            0 if self.steps < STEPS => Err(Breach::Early),
            0 => {
                self.sealed = true;
                Ok(())
            }
            IN_PROGRESS if self.steps >= STEPS => Err(Breach::Malformed),
            _ => Ok(()),
        }
    }
}

/// Tag, start of the content and its length of the BER element at the beginning; `None` when there
/// are too few bytes. Lengths are definite in LDAP, and tags of one byte (RFC 4511 5.1).
fn header(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>, Breach> {
    let [tag, first, rest @ ..] = bytes else { return Ok(None) };
    if tag & 0x1f == 0x1f {
        return Err(Breach::Malformed);
    }
    if first & 0x80 == 0 {
        return Ok(Some((*tag, 2, usize::from(*first))));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) {
        return Err(Breach::Long);
    }
    let Some(length) = rest.get(..count) else { return Ok(None) };
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    Ok(Some((*tag, 2 + count, length)))
}

/// Walks through a whole message without recursion.
fn check_depth(message: &[u8]) -> Result<(), Breach> {
    let mut ends = vec![message.len()];
    let mut at = 0;
    while let Some(end) = ends.last().copied() {
        if at == end {
            ends.pop();
            continue;
        }
        let inside = message.get(at..end).ok_or(Breach::Malformed)?;
        let (tag, start, length) = header(inside)?.ok_or(Breach::Malformed)?;
        let stop = at + start + length;
        if stop > end {
            return Err(Breach::Malformed);
        }
        if tag & 0x20 == 0 {
            at = stop;
            continue;
        }
        if ends.len() >= DEPTH_MAX {
            return Err(Breach::Deep);
        }
        at += start;
        ends.push(stop);
    }
    Ok(())
}

/// The library's end of a guarded connection, and what has to run as long as it is used.
///
/// # Errors
/// When no pair of sockets can be made.
pub fn between(
    server: TcpStream,
    name: String,
) -> io::Result<(std::os::unix::net::UnixStream, impl Future<Output = ()> + Send + 'static)> {
    let (ours, theirs) = UnixStream::pair()?;
    let theirs = theirs.into_std()?;
    let unread = theirs.try_clone()?;
    let watch = async move {
        if let Err(error) = pass(server, ours, &unread).await {
            tracing::warn!(server = name, %error, "The directory's connection was cut.");
        }
    };
    Ok((theirs, watch))
}

async fn pass(
    server: TcpStream,
    library: UnixStream,
    unread: &std::os::unix::net::UnixStream,
) -> io::Result<()> {
    let (mut from, mut to) = server.into_split();
    let (mut asked, mut answered) = library.into_split();
    let answers = async {
        let (mut guard, mut said) = (Guard::default(), Vec::new());
        loop {
            while let Some(length) = guard.next(&said).map_err(io::Error::other)? {
                answered.write_all(&said[..length]).await?;
                said.drain(..length);
                taken(unread).await;
            }
            if from.read_buf(&mut said).await? == 0 {
                return Ok(());
            }
        }
    };
    let questions = async { tokio::io::copy(&mut asked, &mut to).await.map(drop) };
    // Whichever side ends, the other has nobody to talk to.
    tokio::select! {
        ended = answers => ended,
        ended = questions => ended,
    }
}

/// Waits until the library has taken what it was given.
async fn taken(unread: &std::os::unix::net::UnixStream) {
    for _ in 0..WAYS_MAX {
        if !ioctl_fionread(unread).is_ok_and(|bytes| bytes > 0) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x84][..], &length, content].concat()
    }

    fn answer(code: u8) -> Vec<u8> {
        let result = [&[0x0a, 1, code][..], &element(4, b""), &element(4, b"")].concat();
        element(0x30, &[element(2, &[1]), element(0x61, &result)].concat())
    }

    /// What comes of messages one after the other, in a buffer.
    fn told(messages: &[Vec<u8>]) -> Result<usize, Breach> {
        let (mut guard, mut said, mut count) = (Guard::default(), messages.concat(), 0);
        while let Some(length) = guard.next(&said)? {
            said.drain(..length);
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn a_bind_that_is_done_too_early_is_cut() {
        let frame = || vec![0, 0, 0, 2, 7, 7];
        for (messages, wanted) in [
            (vec![answer(0)], Err(Breach::Early)),
            (vec![answer(14), answer(0)], Err(Breach::Early)),
            (vec![answer(14), answer(14), answer(0), frame(), frame()], Ok(5)),
            (vec![answer(14), answer(14), answer(14)], Err(Breach::Malformed)),
            (vec![answer(49)], Ok(1)),
            (vec![answer(14), answer(49)], Ok(2)),
            // After it nothing comes in the clear.
            (vec![answer(14), answer(14), answer(0), answer(0)], Err(Breach::Long)),
        ] {
            assert_eq!(told(&messages), wanted, "{messages:?}");
        }
    }

    #[test]
    fn deep_and_long_messages_are_cut_and_none_is_passed_on_in_part() {
        let nested = |depth| (0..depth).fold(Vec::new(), |inner, _| element(0x30, &inner));
        let message = |op: Vec<u8>| element(0x30, &[element(2, &[1]), op].concat());
        assert_eq!(told(&[message(nested(20))]), Ok(1));
        assert_eq!(told(&[message(nested(2_000))]), Err(Breach::Deep));
        assert_eq!(told(&[vec![0x30, 0x84, 0x7f, 0, 0, 0]]), Err(Breach::Long));
        assert_eq!(told(&[vec![0x30, 0x88, 1, 0, 0, 0, 0, 0, 0, 0]]), Err(Breach::Long));
        assert_eq!(told(&[b"HTTP/1.1 400".to_vec()]), Ok(0), "it says 84 bytes follow");
        assert_eq!(told(&[b"x".repeat(200)]), Err(Breach::Malformed));
        let whole = answer(14);
        for end in 0..whole.len() {
            assert_eq!(Guard::default().next(&whole[..end]), Ok(None), "{end}");
        }
    }
}
