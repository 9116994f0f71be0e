//! Behaviour of a stream when much, little or nothing comes.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::{sleep, spawn};

use futures_util::io::{AsyncReadExt as _, AsyncWriteExt as _};

use tokio::time::timeout;

use super::{COALESCE_FOR, CoalescedStream, Line};

/// A stream and a peer that does something at the other end.
fn pair<T: Send + 'static>(
    peer: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (CoalescedStream, std::thread::JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    ours.set_nonblocking(true).unwrap();
    let theirs = listener.accept().unwrap().0;
    theirs.set_nodelay(true).unwrap();
    (CoalescedStream::new(ours).unwrap(), spawn(|| peer(theirs)))
}

fn is_alone(stream: &CoalescedStream) -> bool {
    matches!(stream.line, Line::Alone(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_fast_is_read_without_tokio_and_nothing_of_it_is_lost() {
    let (mut stream, peer) = pair(|mut peer| {
        let mut pieces = 0_u32;
        while !asked(&peer) {
            peer.write_all(&pieces.to_be_bytes()).unwrap();
            pieces += 1;
        }
        pieces
    });
    let (mut read, mut told, mut buffer) = (Vec::new(), false, [0; 4096]);
    loop {
        let length = stream.read(&mut buffer).await.unwrap();
        if length == 0 {
            break;
        }
        read.extend_from_slice(&buffer[..length]);
        if is_alone(&stream) && !std::mem::replace(&mut told, true) {
            stream.write_all(&[1]).await.unwrap();
        }
    }
    let sent = 0..peer.join().unwrap();
    let sent: Vec<u8> = sent.flat_map(u32::to_be_bytes).collect();
    assert!(told, "tokio was notified of every piece");
    assert!(read == sent, "pieces are lost or out of order");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_it_becomes_quiet_tokio_tells_again() {
    let (mut stream, peer) = pair(|mut peer| {
        while !asked(&peer) {
            peer.write_all(&[0; 64]).unwrap();
            sleep(COALESCE_FOR / 4);
        }
        peer.read_exact(&mut [0]).unwrap();
        peer.write_all(&[1]).unwrap();
    });
    let mut buffer = [0; 4096];
    while !is_alone(&stream) {
        assert_ne!(stream.read(&mut buffer).await.unwrap(), 0);
    }
    stream.write_all(&[1]).await.unwrap();
    while is_alone(&stream) {
        // It ends the reading, not the stream.
        let _ = timeout(COALESCE_FOR * 5, stream.read(&mut buffer)).await;
    }
    stream.write_all(&[1]).await.unwrap();
    while stream.read(&mut buffer).await.unwrap() > 0 {
        if buffer.contains(&1) {
            return peer.join().unwrap();
        }
    }
    panic!("the answer did not come");
}

/// Whether there is something to read; takes it.
fn asked(peer: &TcpStream) -> bool {
    peer.set_nonblocking(true).unwrap();
    let asked = (&*peer).read_exact(&mut [0]).is_ok();
    peer.set_nonblocking(false).unwrap();
    asked
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_not_held_up() {
    let (mut stream, peer) = pair(|mut peer| {
        let mut question = [0];
        while peer.read_exact(&mut question).is_ok() {
            peer.write_all(&question).unwrap();
        }
    });
    for question in 0..1000_u32 {
        let question = [question as u8];
        stream.write_all(&question).await.unwrap();
        let mut answer = [0];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, question);
        assert!(!is_alone(&stream), "it would sleep before the next answer");
    }
    stream.close().await.unwrap();
    peer.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_fits_the_line_goes_both_ways() {
    const LENGTH: usize = 16 << 20;
    let (stream, peer) = pair(|mut peer| {
        let mut back = peer.try_clone().unwrap();
        std::io::copy(&mut peer, &mut back).unwrap();
    });
    let sent: Vec<u8> = (0..LENGTH).map(|at| (at % 251) as u8).collect();
    let (mut reader, mut writer) = stream.split();
    let mut echo = vec![0; LENGTH];
    let (written, read) = tokio::join!(
        async { writer.write_all(&sent).await },
        reader.read_exact(&mut echo)
    );
    written.unwrap();
    read.unwrap();
    assert!(echo == sent, "the echo differs");
    writer.close().await.unwrap();
    peer.join().unwrap();
}
