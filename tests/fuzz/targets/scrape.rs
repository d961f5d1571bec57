//! The metrics page: whatever a scraper sends, it gets one whole answer.
#![no_main]

use homeport_agent::report::serve::{Page, respond};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for healthy in [true, false] {
        let page = Page { metrics: "homeport_up 1\n".to_owned(), healthy };
        let answer = respond(bytes, &page);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap();
        let known =
            ["200 OK", "404 Not Found", "405 Method Not Allowed", "503 Service Unavailable"];
        assert!(known.contains(&status.strip_prefix("HTTP/1.1 ").unwrap()), "{status}");
        let length = lines.find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
        let method = bytes.split(|byte| matches!(byte, b' ' | b'\r')).next();
        let is_head = method == Some(&b"HEAD"[..]);
        assert!(is_head && body.is_empty() || length == body.len().to_string(), "{answer}");
    }
});
