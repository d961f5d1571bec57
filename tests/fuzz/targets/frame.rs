//! Frames between agent and worker: a message that is read is written so that it is read again.
#![no_main]

use homeport_agent::limits::FRAME_BYTES_MAX;
use homeport_agent::worker::{Reply, Request, read_frame, write_frame};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    // As it comes from the pipe, and with a head that fits.
    check::<Request>(bytes);
    check::<Reply>(bytes);
    let mut framed = (bytes.len() as u32).to_be_bytes().to_vec();
    framed.extend_from_slice(bytes);
    check::<Request>(&framed);
    check::<Reply>(&framed);
    let _ = framed.pop();
    assert!(!matches!(read_frame::<Value>(&mut &framed[..]), Ok(Some(_))), "cut off");
});

fn check<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let mut rest = bytes;
    let head = bytes.first_chunk::<4>().map(|head| u32::from_be_bytes(*head));
    match read_frame::<T>(&mut rest) {
        Ok(None) => assert!(bytes.is_empty()),
        Ok(Some(message)) => {
            let length = head.unwrap();
            assert!(length <= FRAME_BYTES_MAX && rest.len() + 4 + length as usize == bytes.len());
            let mut written = Vec::new();
            write_frame(&mut written, &message).unwrap();
            let again = read_frame::<T>(&mut &written[..]).unwrap().unwrap();
            let json = |message: &T| serde_json::to_value(message).unwrap();
            assert_eq!(json(&message), json(&again));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
