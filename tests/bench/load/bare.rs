//! What the system itself takes for a write: as many bytes to as many sockets, and nothing else. The least that a
//! delivery can cost on this machine, in this minute.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

use crate::Error;

/// Writes `bytes` to each of so many `sockets`, `rounds` times; gives what of this thread's time a write took.
pub fn write(sockets: usize, rounds: usize, bytes: usize, pause: Duration) -> Result<f64, Error> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut writers = Vec::with_capacity(sockets);
    let mut readers = Vec::with_capacity(sockets);
    for _ in 0..sockets {
        readers.push(TcpStream::connect(address)?);
        writers.push(listener.accept()?.0);
        writers.last().ok_or("no socket")?.set_nodelay(true)?;
    }
    let reading = thread::spawn(move || read(readers));
    let (data, mut taken) = (vec![b'x'; bytes], Duration::ZERO);
    for _ in 0..rounds {
        let before = own_time();
        for writer in &mut writers {
            writer.write_all(&data)?;
        }
        taken += own_time().saturating_sub(before);
        thread::sleep(pause);
    }
    drop(writers);
    reading.join().map_err(|_| "the reader panics")??;
    Ok(taken.as_secs_f64() * 1e6 / (sockets * rounds) as f64)
}

/// Reads as the load program does, until the sockets are closed.
fn read(readers: Vec<TcpStream>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    let _within = runtime.enter();
    for reader in readers {
        reader.set_nonblocking(true)?;
        let reader = tokio::net::TcpStream::from_std(reader)?;
        tasks.spawn_local(async move {
            let mut buffer = [0; 1024];
            while reader.readable().await.is_ok() && !matches!(reader.try_read(&mut buffer), Ok(0)) {}
        });
    }
    runtime.block_on(tasks);
    Ok(())
}

fn own_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}
