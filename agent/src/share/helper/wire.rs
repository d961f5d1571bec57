//! What the agent and `homeport-smb` say to each other. Both programs include this file.
//!
//! ```text
//! frame := length u32 · kind u8 · fields        little-endian; the length counts kind and fields
//! field := integer | length u32 · bytes         paths are UTF-8, names are bytes
//! ```
//! One request at a time; each has one reply, but a listing has as many as it needs. Data are raw
//! bytes. Whatever is longer than its bound, or does not end where the frame ends, is an error.
#![allow(missing_docs, reason = "the names of the fields say what they are")]

use std::io::{self, Read, Write};

/// Both sides must have the same.
pub const VERSION: u16 = 1;
/// Most bytes of a file in one frame.
pub const DATA_MAX: usize = 1 << 20;
/// Longest frame: data, and room for the rest.
pub const FRAME_MAX: usize = DATA_MAX + (64 << 10);
/// From this size on, a frame of a listing is sent.
pub const LIST_FRAME: usize = 256 << 10;
/// Most entries of one folder. A server that lists more lists for ever.
pub const LIST_MAX: usize = 2_000_000;
/// Longest path, in bytes: 32,767 UTF-16 units, as NTFS has them.
pub const PATH_MAX: usize = 96 << 10 >> 1;

/// How to reach a share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connect<'a> {
    /// Host name, as it is in Kerberos.
    pub server: &'a str,
    /// Name of the share.
    pub share: &'a str,
    /// TCP port.
    pub port: u16,
    /// Account; "" is the owner of the Kerberos tickets.
    pub user: &'a str,
    /// Realm or domain; "" as above.
    pub realm: &'a str,
    /// Whether a password may be used where Kerberos cannot.
    pub ntlm: bool,
    /// The file that holds it; "" is none.
    pub password_file: &'a str,
    /// Whether a server without encryption is refused.
    pub must_encrypt: bool,
    /// Longest wait for one answer of the server, in milliseconds.
    pub timeout_ms: u32,
}

/// How a file is finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finish<'a> {
    pub handle: u32,
    pub path: &'a str,
    /// Where the last bytes go.
    pub offset: u64,
    pub data: &'a [u8],
    /// When it was last written.
    pub mtime_ns: Option<i64>,
    /// Whether it is to be told what is known of it then.
    pub look: bool,
}

/// What is known of a file or folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// Last written, nanoseconds since 1970, in steps of 100.
    pub mtime_ns: i64,
    /// Number of the file; 0 where it is not known.
    pub inode: u64,
    /// DOS attributes: [`READ_ONLY`] and [`DIRECTORY`] always, others with listings alone.
    pub attributes: u16,
}

/// Attribute: may only be read.
pub const READ_ONLY: u16 = 0x01;
/// Attribute: a folder.
pub const DIRECTORY: u16 = 0x10;
/// Attribute: a link, a junction, a DFS link, or a file that is stored elsewhere.
pub const REPARSE_POINT: u16 = 0x400;

/// What the agent asks. Paths are below the share, with `/`, and "" is its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Once, before everything else.
    Connect(Connect<'a>),
    /// Everything in a folder.
    List { path: &'a str },
    /// What has a path.
    Stat { path: &'a str },
    /// The whole of a file if it is at most so long; else it is opened.
    Get { path: &'a str, most: u32 },
    /// Bytes of an open file; fewer than asked for is its end.
    Read { handle: u32, offset: u64, count: u32 },
    /// What is known of an open file.
    Fstat { handle: u32 },
    /// A new file; it is an error if the name is taken.
    Create { path: &'a str },
    /// Bytes into an open file.
    Write { handle: u32, offset: u64, data: &'a [u8] },
    /// Another length of an open file.
    Truncate { handle: u32, size: u64 },
    /// Last bytes into an open file, which is then closed, gets its time, and is looked at if wanted.
    Finish(Finish<'a>),
    /// The whole of another file into an open one, copied by the server.
    Copy { handle: u32, from: &'a str, size: u64 },
    /// Closes a file.
    Close { handle: u32 },
    /// Makes a folder.
    MakeFolder { path: &'a str },
    /// Removes an empty folder.
    RemoveFolder { path: &'a str },
    /// Removes a file.
    Remove { path: &'a str },
    /// Another name, atomically; without `replace` only if nothing has it.
    Rename { path: &'a str, new: &'a str, replace: bool },
    /// When a file was last written.
    SetTime { path: &'a str, mtime_ns: i64 },
    /// Free bytes of the disk that a file is on.
    Free { path: &'a str },
    /// Owner, group and access list, as text.
    Security { path: &'a str },
    /// Waits for changes in a folder and below it; none within the time is an empty answer.
    Notify { path: &'a str, timeout_ms: u32 },
}

/// What the helper answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// It was done.
    Done,
    /// It was not done.
    Failed { errno: i32, status: u32, what: &'a str },
    /// What is known of a file.
    Stat(Stat),
    /// Entries of a folder, by name; `more` follow.
    Entries { more: bool, list: Vec<(&'a [u8], Stat)> },
    /// A file is open.
    Opened { handle: u32, stat: Stat },
    /// A whole file, and what was known of it before and after it was read.
    Got { before: Stat, after: Stat, data: &'a [u8] },
    /// Bytes of a file.
    Data(&'a [u8]),
    /// Free bytes.
    Number(u64),
    /// Text.
    Text(&'a str),
    /// Changes: `FILE_ACTION_*` and the path below the folder.
    Changes(Vec<(u32, &'a str)>),
}

/// A frame that is being made.
#[derive(Debug, Default)]
pub struct Frame(Vec<u8>);

impl Frame {
    fn start(&mut self, kind: u8) {
        self.0.clear();
        self.0.extend_from_slice(&[0, 0, 0, 0, kind]);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // A longer one is cut nowhere: it makes the frame too long, which is an error below.
        self.put(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.put(bytes);
    }

    fn stat(&mut self, stat: Stat) {
        self.put(&stat.size.to_le_bytes());
        self.put(&stat.mtime_ns.to_le_bytes());
        self.put(&stat.inode.to_le_bytes());
        self.put(&stat.attributes.to_le_bytes());
    }

    /// Begins a part of a listing; entries follow.
    pub fn start_entries(&mut self) {
        self.start(3);
        self.put(&[0]);
    }

    /// One entry more; gives whether the part should be sent now.
    pub fn add_entry(&mut self, name: &[u8], stat: Stat) -> bool {
        self.bytes(name);
        self.stat(stat);
        self.0.len() >= LIST_FRAME
    }

    /// Ends a part of a listing.
    pub fn end_entries(&mut self, more: bool) {
        self.0[5] = u8::from(more);
    }

    /// The bytes to send.
    ///
    /// # Errors
    /// `InvalidInput` when it is too long.
    pub fn finish(&mut self) -> io::Result<&[u8]> {
        let length = self.0.len() - 4;
        if length > FRAME_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the message is too long"));
        }
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
        self.0[..4].copy_from_slice(&length);
        Ok(&self.0)
    }

    /// Puts a request in.
    pub fn request(&mut self, request: &Request<'_>) {
        match *request {
            Request::Connect(ref connect) => {
                self.start(1);
                self.connect(connect);
            }
            Request::List { path } => self.path(2, path),
            Request::Stat { path } => self.path(3, path),
            Request::Get { path, most } => {
                self.path(4, path);
                self.put(&most.to_le_bytes());
            }
            Request::Read { handle, offset, count } => {
                self.handle(5, handle);
                self.put(&offset.to_le_bytes());
                self.put(&count.to_le_bytes());
            }
            Request::Fstat { handle } => self.handle(6, handle),
            Request::Create { path } => self.path(7, path),
            Request::Write { handle, offset, data } => {
                self.handle(8, handle);
                self.put(&offset.to_le_bytes());
                self.bytes(data);
            }
            Request::Truncate { handle, size } => {
                self.handle(9, handle);
                self.put(&size.to_le_bytes());
            }
            Request::Finish(ref finish) => {
                self.handle(10, finish.handle);
                self.bytes(finish.path.as_bytes());
                self.put(&finish.offset.to_le_bytes());
                self.bytes(finish.data);
                self.put(&[u8::from(finish.look), u8::from(finish.mtime_ns.is_some())]);
                self.put(&finish.mtime_ns.unwrap_or(0).to_le_bytes());
            }
            Request::Copy { handle, from, size } => {
                self.handle(11, handle);
                self.bytes(from.as_bytes());
                self.put(&size.to_le_bytes());
            }
            Request::Close { handle } => self.handle(12, handle),
            Request::MakeFolder { path } => self.path(13, path),
            Request::RemoveFolder { path } => self.path(14, path),
            Request::Remove { path } => self.path(15, path),
            Request::Rename { path, new, replace } => {
                self.path(16, path);
                self.bytes(new.as_bytes());
                self.put(&[u8::from(replace)]);
            }
            Request::SetTime { path, mtime_ns } => {
                self.path(17, path);
                self.put(&mtime_ns.to_le_bytes());
            }
            Request::Free { path } => self.path(18, path),
            Request::Security { path } => self.path(19, path),
            Request::Notify { path, timeout_ms } => {
                self.path(20, path);
                self.put(&timeout_ms.to_le_bytes());
            }
        }
    }

    fn connect(&mut self, connect: &Connect<'_>) {
        self.put(&VERSION.to_le_bytes());
        for text in [connect.server, connect.share, connect.user, connect.realm] {
            self.bytes(text.as_bytes());
        }
        self.bytes(connect.password_file.as_bytes());
        self.put(&connect.port.to_le_bytes());
        self.put(&[u8::from(connect.ntlm), u8::from(connect.must_encrypt)]);
        self.put(&connect.timeout_ms.to_le_bytes());
    }

    fn path(&mut self, kind: u8, path: &str) {
        self.start(kind);
        self.bytes(path.as_bytes());
    }

    fn handle(&mut self, kind: u8, handle: u32) {
        self.start(kind);
        self.put(&handle.to_le_bytes());
    }

    /// Puts a reply in.
    pub fn reply(&mut self, reply: &Reply<'_>) {
        match *reply {
            Reply::Done => self.start(1),
            Reply::Failed { errno, status, what } => {
                self.start(2);
                self.put(&errno.to_le_bytes());
                self.put(&status.to_le_bytes());
                self.bytes(what.as_bytes());
            }
            Reply::Entries { more, ref list } => {
                self.start_entries();
                for (name, stat) in list {
                    self.add_entry(name, *stat);
                }
                self.end_entries(more);
            }
            Reply::Stat(stat) => {
                self.start(4);
                self.stat(stat);
            }
            Reply::Opened { handle, stat } => {
                self.handle(5, handle);
                self.stat(stat);
            }
            Reply::Got { before, after, data } => {
                self.start(6);
                self.stat(before);
                self.stat(after);
                self.bytes(data);
            }
            Reply::Data(data) => {
                self.start(7);
                self.bytes(data);
            }
            Reply::Number(number) => {
                self.start(8);
                self.put(&number.to_le_bytes());
            }
            Reply::Text(text) => {
                self.start(9);
                self.bytes(text.as_bytes());
            }
            Reply::Changes(ref list) => {
                self.start(10);
                for (action, name) in list {
                    self.put(&action.to_le_bytes());
                    self.bytes(name.as_bytes());
                }
            }
        }
    }
}

/// Sends a frame.
///
/// # Errors
/// As `write`; `InvalidInput` when it is too long.
pub fn send(to: &mut impl Write, frame: &mut Frame) -> io::Result<()> {
    to.write_all(frame.finish()?)?;
    to.flush()
}

/// Receives a frame into a buffer; gives whether there was one: the other side may have ended.
///
/// # Errors
/// As `read`; `InvalidData` when it is longer than any frame.
pub fn receive(from: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<bool> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        other => other?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if length == 0 || length > FRAME_MAX {
        return Err(broken());
    }
    buffer.resize(length, 0);
    from.read_exact(buffer)?;
    Ok(true)
}

/// A message that is none.
pub fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the message is malformed")
}

/// Reads a request.
///
/// # Errors
/// `InvalidData`.
pub fn request(frame: &[u8]) -> io::Result<Request<'_>> {
    let mut fields = Fields(frame);
    let request = match fields.u8()? {
        1 => Request::Connect(fields.connect()?),
        2 => Request::List { path: fields.text()? },
        3 => Request::Stat { path: fields.text()? },
        4 => Request::Get { path: fields.text()?, most: fields.u32()? },
        5 => {
            let (handle, offset, count) = (fields.u32()?, fields.u64()?, fields.u32()?);
            Request::Read { handle, offset, count }
        }
        6 => Request::Fstat { handle: fields.u32()? },
        7 => Request::Create { path: fields.text()? },
        8 => {
            let (handle, offset, data) = (fields.u32()?, fields.u64()?, fields.bytes(DATA_MAX)?);
            Request::Write { handle, offset, data }
        }
        9 => Request::Truncate { handle: fields.u32()?, size: fields.u64()? },
        10 => {
            let (handle, path, offset) = (fields.u32()?, fields.text()?, fields.u64()?);
            let (data, look, is_some) = (fields.bytes(DATA_MAX)?, fields.bool()?, fields.bool()?);
            let mtime_ns = Some(fields.i64()?).filter(|_| is_some);
            Request::Finish(Finish { handle, path, offset, data, mtime_ns, look })
        }
        11 => {
            let (handle, from, size) = (fields.u32()?, fields.text()?, fields.u64()?);
            Request::Copy { handle, from, size }
        }
        12 => Request::Close { handle: fields.u32()? },
        13 => Request::MakeFolder { path: fields.text()? },
        14 => Request::RemoveFolder { path: fields.text()? },
        15 => Request::Remove { path: fields.text()? },
        16 => {
            let (path, new, replace) = (fields.text()?, fields.text()?, fields.bool()?);
            Request::Rename { path, new, replace }
        }
        17 => Request::SetTime { path: fields.text()?, mtime_ns: fields.i64()? },
        18 => Request::Free { path: fields.text()? },
        19 => Request::Security { path: fields.text()? },
        20 => Request::Notify { path: fields.text()?, timeout_ms: fields.u32()? },
        _ => return Err(broken()),
    };
    fields.end(request)
}

/// Reads a reply.
///
/// # Errors
/// `InvalidData`.
pub fn reply(frame: &[u8]) -> io::Result<Reply<'_>> {
    let mut fields = Fields(frame);
    let reply = match fields.u8()? {
        1 => Reply::Done,
        2 => {
            let (errno, status, what) = (fields.i32()?, fields.u32()?, fields.text()?);
            Reply::Failed { errno, status, what }
        }
        3 => {
            let more = fields.bool()?;
            let mut list = Vec::new();
            while !fields.0.is_empty() {
                list.push((fields.bytes(PATH_MAX)?, fields.stat()?));
            }
            Reply::Entries { more, list }
        }
        4 => Reply::Stat(fields.stat()?),
        5 => Reply::Opened { handle: fields.u32()?, stat: fields.stat()? },
        6 => {
            let (before, after) = (fields.stat()?, fields.stat()?);
            Reply::Got { before, after, data: fields.bytes(DATA_MAX)? }
        }
        7 => Reply::Data(fields.bytes(DATA_MAX)?),
        8 => Reply::Number(fields.u64()?),
        9 => Reply::Text(fields.text()?),
        10 => {
            let mut list = Vec::new();
            while !fields.0.is_empty() {
                list.push((fields.u32()?, fields.text()?));
            }
            Reply::Changes(list)
        }
        _ => return Err(broken()),
    };
    fields.end(reply)
}

/// What is left of a frame.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (part, rest) = self.0.split_first_chunk::<N>().ok_or_else(broken)?;
        self.0 = rest;
        Ok(*part)
    }

    fn u8(&mut self) -> io::Result<u8> {
        Ok(u8::from_le_bytes(self.take()?))
    }

    fn bool(&mut self) -> io::Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(broken()),
        }
    }

    fn u16(&mut self) -> io::Result<u16> {
        Ok(u16::from_le_bytes(self.take()?))
    }

    fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn i32(&mut self) -> io::Result<i32> {
        Ok(i32::from_le_bytes(self.take()?))
    }

    fn i64(&mut self) -> io::Result<i64> {
        Ok(i64::from_le_bytes(self.take()?))
    }

    fn bytes(&mut self, most: usize) -> io::Result<&'a [u8]> {
        let length = self.u32()? as usize;
        if length > most {
            return Err(broken());
        }
        let (part, rest) = self.0.split_at_checked(length).ok_or_else(broken)?;
        self.0 = rest;
        Ok(part)
    }

    fn text(&mut self) -> io::Result<&'a str> {
        std::str::from_utf8(self.bytes(PATH_MAX)?).map_err(|_| broken())
    }

    fn stat(&mut self) -> io::Result<Stat> {
        let (size, mtime_ns, inode) = (self.u64()?, self.i64()?, self.u64()?);
        Ok(Stat { size, mtime_ns, inode, attributes: self.u16()? })
    }

    fn connect(&mut self) -> io::Result<Connect<'a>> {
        if self.u16()? != VERSION {
            let what = "agent and homeport-smb are of different versions";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let (server, share, user, realm) = (self.text()?, self.text()?, self.text()?, self.text()?);
        let (password_file, port) = (self.text()?, self.u16()?);
        let (ntlm, must_encrypt, timeout_ms) = (self.bool()?, self.bool()?, self.u32()?);
        Ok(Connect {
            server,
            share,
            port,
            user,
            realm,
            ntlm,
            password_file,
            must_encrypt,
            timeout_ms,
        })
    }

    fn end<T>(self, value: T) -> io::Result<T> {
        if self.0.is_empty() { Ok(value) } else { Err(broken()) }
    }
}
