//! One question to the domain's name server, without a resolver in between.
use std::net::UdpSocket;
use std::time::Duration;

use super::dc::ADDRESS;

const SRV: u16 = 33;

/// Where a service is offered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Srv {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    pub target: String,
}

/// The SRV records of a name, in the order of their priority; empty when there are none.
pub fn srv(name: &str) -> Vec<Srv> {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.send_to(&question(name), (ADDRESS, 53)).unwrap();
    let mut answer = [0; 4096];
    let length = socket.recv(&mut answer).expect("the name server answers");
    let mut found = records(&answer[..length]);
    found.sort();
    found
}

fn question(name: &str) -> Vec<u8> {
    // id 7, recursion desired, one question
    let mut bytes = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(SRV.to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

fn records(answer: &[u8]) -> Vec<Srv> {
    let word = |at: usize| u16::from_be_bytes([answer[at], answer[at + 1]]);
    let (_, mut at) = read_name(answer, 12);
    at += 4;
    let mut found = Vec::new();
    for _ in 0..word(6) {
        let (_, after) = read_name(answer, at);
        let (kind, length, data) = (word(after), usize::from(word(after + 8)), after + 10);
        if kind == SRV {
            let (target, _) = read_name(answer, data + 6);
            let (priority, weight, port) = (word(data), word(data + 2), word(data + 4));
            found.push(Srv { priority, weight, port, target });
        }
        at = data + length;
    }
    found
}

/// A name, and where the bytes after it begin.
fn read_name(answer: &[u8], mut at: usize) -> (String, usize) {
    let mut labels = Vec::new();
    let mut after = None;
    loop {
        let length = usize::from(answer[at]);
        if length >= 0xC0 {
            after.get_or_insert(at + 2);
            at = (length & 0x3F) << 8 | usize::from(answer[at + 1]);
        } else if length == 0 {
            return (labels.join("."), after.unwrap_or(at + 1));
        } else {
            labels.push(String::from_utf8_lossy(&answer[at + 1..=at + length]).into_owned());
            at += length + 1;
        }
    }
}
