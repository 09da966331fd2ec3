//! A reader of the held stream. All of a thread share one buffer; what is read is looked at where it lies.

use std::{borrow::Cow, cell::RefCell, io, time::Instant};

use serde::Deserialize;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    Error,
    sync::{Event, Rooms, Sync},
    user::{User, encoded},
    watch::Observer,
};

/// What one read takes at most.
const PIECE: usize = 256 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE]);
}

/// The presence of somebody.
#[derive(Deserialize)]
struct Presence<'a> {
    #[serde(borrow)]
    u: Cow<'a, str>,
    #[serde(borrow)]
    s: Cow<'a, str>,
    #[serde(borrow)]
    m: Option<Cow<'a, str>>,
}

/// Reads for as long as the server writes.
pub async fn follow(user: &User, observer: &mut Observer) -> Result<(), Error> {
    let mut stream = TcpStream::connect(&user.address).await?;
    // Leaves no presence and no event out, and nothing else in.
    let filter =
        encoded(r#"{"room":{"state":{"types":[]},"ephemeral":{"types":[]}},"account_data":{"types":[]}}"#);
    let request = format!(
        "GET /_matrix/client/unstable/org.pilotlight/stream?set_presence=online&filter={filter} HTTP/1.1\r\n\
         Host: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        user.access_token
    );
    stream.write_all(request.as_bytes()).await?;
    observer.arrived();
    let mut reader = Reader { rest: Vec::new(), is_begun: false };
    loop {
        stream.readable().await?;
        BUFFER.with_borrow_mut(|buffer| match stream.try_read(buffer) {
            Ok(0) => Err("the server closed the connection".into()),
            Ok(count) => {
                let at = Instant::now();
                observer.read(count);
                reader.take(&buffer[..count], at, observer)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(e) => Err(Error::from(e)),
        })?;
    }
}

/// What was read and not understood yet.
struct Reader {
    rest: Vec<u8>,
    /// The head of the answer was read.
    is_begun: bool,
}

impl Reader {
    fn take(&mut self, piece: &[u8], at: Instant, observer: &mut Observer) -> Result<(), Error> {
        if self.rest.is_empty() && self.is_begun && piece.ends_with(b"\n\n") {
            return tell(piece, at, observer);
        }
        self.rest.extend_from_slice(piece);
        if !self.rest.ends_with(b"\n\n") {
            return Ok(());
        }
        let mut said = std::mem::take(&mut self.rest);
        if !self.is_begun {
            let text = String::from_utf8_lossy(&said);
            let Some((head, _)) = text.split_once("\r\n\r\n") else { return Err(text.into()) };
            if !head.starts_with("HTTP/1.1 200") {
                return Err(text.into());
            }
            said.drain(..head.len() + 4);
            self.is_begun = true;
        }
        tell(&said, at, observer)
    }
}

/// Tells `observer` of whole events.
fn tell(events: &[u8], at: Instant, observer: &mut Observer) -> Result<(), Error> {
    let mut kind: &[u8] = b"";
    for line in events.split(|byte| *byte == b'\n') {
        if line.is_empty() {
            kind = b"";
        } else if let Some(name) = line.strip_prefix(b"event:") {
            kind = name;
        } else if let Some(data) = line.strip_prefix(b"data:") {
            match kind {
                b"" => {
                    let Presence { u, s, m } = serde_json::from_slice(data)?;
                    observer.presence(&u, s == "online");
                    if let Some(m) = m {
                        observer.saw(&m, at);
                    }
                }
                b"e" => serde_json::from_slice::<Event>(data)?.tell(observer, at),
                b"room" => serde_json::from_slice::<Rooms>(data)?.tell(observer, at),
                b"sync" => serde_json::from_slice::<Sync>(data)?.tell(observer, at),
                b"end" => return Err(String::from_utf8_lossy(data).into()),
                _ => {}
            }
        }
    }
    Ok(())
}
