//! Notices that this computer's network changed: an address, a link or a route came or went.
//!
//! Nothing is concluded from what changed; whoever is told tries the shares again.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use tokio::sync::mpsc;

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE`, `RTMGRP_IPV6_IFADDR`,
/// `RTMGRP_IPV6_ROUTE` of rtnetlink(7).
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;
/// What is said is not read, so that it may be cut off.
const MESSAGE_BYTES: usize = 512;

/// A source of changes of the network.
#[derive(Debug)]
pub struct Links(mpsc::Receiver<()>);

impl Links {
    /// Listens to the kernel, in a thread of its own that sleeps until something is said.
    ///
    /// # Errors
    /// As `socket` and `bind`.
    pub fn listen() -> io::Result<Self> {
        let family = AddressFamily::NETLINK;
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::RAW, flags, None)?; // of routes
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        // One that waits stands for all that follow.
        let (to, changes) = mpsc::channel(1);
        std::thread::Builder::new().name("links".to_owned()).spawn(move || listen(&socket, &to))?;
        Ok(Self(changes))
    }

    /// Returns once something changed; `false` when nothing will be heard any more.
    pub async fn changed(&mut self) -> bool {
        self.0.recv().await.is_some()
    }
}

fn listen(socket: &OwnedFd, to: &mpsc::Sender<()>) {
    let mut buffer = [0_u8; MESSAGE_BYTES];
    loop {
        match rustix::net::recv(socket, &mut buffer, RecvFlags::empty()) {
            // That the kernel had to leave out messages is a change too.
            Ok(_) | Err(rustix::io::Errno::NOBUFS) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return tracing::warn!(%error, "The network is not watched any more."),
        }
        if let Err(mpsc::error::TrySendError::Closed(())) = to.try_send(()) {
            return;
        }
    }
}
