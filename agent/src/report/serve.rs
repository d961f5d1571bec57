//! Serves `/metrics` and `/healthz` to a scraper; nothing else, to nobody else.
//!
//! Two fixed answers to two fixed requests need no web framework. Everything is bounded: the number
//! of scrapes at a time, the size of a request and the time it may take.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::limits::{SCRAPE_BYTES_MAX, SCRAPE_TIMEOUT, SCRAPES_MAX};

/// What scrapers get: the metrics as they were after the last change.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The text of `/metrics`.
    pub metrics: String,
    /// Whether the agent has a policy in force and its last cycles were finished.
    pub healthy: bool,
}

/// Answers scrapers until the listener or the agent is gone.
pub async fn serve(listener: TcpListener, page: watch::Receiver<Page>) {
    let places = Arc::new(Semaphore::new(SCRAPES_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let page = page.borrow().clone();
        tokio::spawn(async move {
            let _place = place;
            // A scraper that does not speak or does not listen costs a place for five seconds.
            let _ = timeout(SCRAPE_TIMEOUT, answer(stream, &page)).await;
        });
    }
}

async fn answer(mut stream: TcpStream, page: &Page) -> std::io::Result<()> {
    let mut request = vec![0; SCRAPE_BYTES_MAX];
    let mut filled = 0;
    while filled < request.len() {
        let n = stream.read(&mut request[filled..]).await?;
        filled += n;
        if n == 0 || request[..filled].windows(4).any(|window| window == b"\r\n\r\n") {
            break;
        }
    }
    let response = respond(&request[..filled], page);
    stream.write_all(response.as_bytes()).await?;
    stream.shutdown().await
}

/// The whole answer to a request.
pub fn respond(request: &[u8], page: &Page) -> String {
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    let (status, body) = match (method, path) {
        ("GET" | "HEAD", "/metrics") => ("200 OK", page.metrics.clone()),
        ("GET" | "HEAD", "/healthz") if page.healthy => ("200 OK", "ok\n".to_owned()),
        ("GET" | "HEAD", "/healthz") => {
            ("503 Service Unavailable", "not healthy: see `homeport status`\n".to_owned())
        }
        ("GET" | "HEAD", _) => ("404 Not Found", "there are /metrics and /healthz\n".to_owned()),
        _ => ("405 Method Not Allowed", "GET is understood\n".to_owned()),
    };
    let length = body.len();
    let body = if method == "HEAD" { String::new() } else { body };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers() {
        let page = Page { metrics: "homeport_sessions 1\n".to_owned(), healthy: false };
        for (request, start, end) in [
            ("GET /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 200", "homeport_sessions 1\n"),
            ("HEAD /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 200", "\r\n\r\n"),
            ("GET /healthz HTTP/1.1\r\n\r\n", "HTTP/1.1 503", "`homeport status`\n"),
            ("GET /etc/passwd HTTP/1.1\r\n\r\n", "HTTP/1.1 404", "/healthz\n"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405", "understood\n"),
            ("\u{0}\u{1}", "HTTP/1.1 405", "understood\n"),
        ] {
            let answer = respond(request.as_bytes(), &page);
            assert!(answer.starts_with(start) && answer.ends_with(end), "{request}: {answer}");
        }
    }
}
