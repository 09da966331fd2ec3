//! One keep-alive HTTP/1.1 connection, one request at a time.

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::Error;

/// An answer: its status, its body, and all the bytes that came for it.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub bytes: usize,
}

/// A connection to the server.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub async fn open(address: &str) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096) })
    }

    pub async fn request(
        &mut self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        if !token.is_empty() {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        if !body.is_empty() {
            head += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        head += &body;
        self.stream.write_all(head.as_bytes()).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> Result<Answer, Error> {
        self.buffer.clear();
        let head_end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            self.read().await?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..head_end]).to_ascii_lowercase();
        let status = head.get(9..12).ok_or("no status")?.parse()?;
        let body = if head.contains("transfer-encoding: chunked") {
            self.chunks(head_end).await?
        } else {
            let length = header(&head, "content-length").ok_or("no content-length")?.parse::<usize>()?;
            while self.buffer.len() < head_end + length {
                self.read().await?;
            }
            self.buffer[head_end..head_end + length].to_vec()
        };
        Ok(Answer { status, body, bytes: self.buffer.len() })
    }

    async fn chunks(&mut self, mut at: usize) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                if let Some(end) = find(&self.buffer[at..], b"\r\n") {
                    break at + end;
                }
                self.read().await?;
            };
            let length = usize::from_str_radix(std::str::from_utf8(&self.buffer[at..line])?, 16)?;
            while self.buffer.len() < line + 2 + length + 2 {
                self.read().await?;
            }
            body.extend_from_slice(&self.buffer[line + 2..line + 2 + length]);
            at = line + 2 + length + 2;
            if length == 0 {
                return Ok(body);
            }
        }
    }

    async fn read(&mut self) -> Result<(), Error> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err("the server closed the connection".into());
        }
        Ok(())
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}
