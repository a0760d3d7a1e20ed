//! The proxy between a client and a server that answers every byte with itself.

use tokio::sync::mpsc;

use super::*;

/// Answers what it is sent; tells what that was.
async fn echo() -> (String, mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let (heard, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heard = heard.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 64];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    heard.send(buffer[..count].to_vec()).unwrap();
                    if stream.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (addr, told)
}

async fn ask(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(bytes).await?;
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn everything_passes_until_the_link_is_cut_and_again_after_it() {
    let (server, _told) = echo().await;
    let proxy = Proxy::start(server).await.unwrap();
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(ask(&mut stream, b"hello").await.unwrap(), b"hello");
    proxy.set(Mode::Cut);
    assert!(ask(&mut stream, b"hello").await.is_err());
    assert_eq!(proxy.cuts(), 1);
    let mut fresh = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(ask(&mut fresh, b"hello").await.is_err());
    proxy.set(Mode::Pass);
    let mut fresh = TcpStream::connect(proxy.addr()).await.unwrap();
    assert_eq!(ask(&mut fresh, b"again").await.unwrap(), b"again");
}

#[tokio::test]
async fn a_black_hole_holds_back_both_ways_and_loses_nothing() {
    let (server, mut told) = echo().await;
    let proxy = Proxy::start(server).await.unwrap();
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    ask(&mut stream, b"1").await.unwrap();
    assert_eq!(told.recv().await.unwrap(), b"1");
    proxy.set(Mode::BlackHole);
    stream.write_all(b"2").await.unwrap();
    assert!(timeout(Duration::from_millis(100), told.recv()).await.is_err());
    proxy.set(Mode::Pass);
    assert_eq!(told.recv().await.unwrap(), b"2");
    let mut answer = [0];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, *b"2");
}

#[tokio::test]
async fn a_half_open_link_is_heard_and_not_answered() {
    let (server, mut told) = echo().await;
    let proxy = Proxy::start(server).await.unwrap();
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    ask(&mut stream, b"1").await.unwrap();
    assert_eq!(told.recv().await.unwrap(), b"1");
    proxy.set(Mode::HalfOpen);
    stream.write_all(b"2").await.unwrap();
    assert_eq!(told.recv().await.unwrap(), b"2");
    let mut answer = [0];
    let read = timeout(Duration::from_millis(100), stream.read_exact(&mut answer)).await;
    assert!(read.is_err());
}

#[tokio::test]
async fn a_link_is_cut_behind_the_last_byte_it_may_carry() {
    let (server, mut told) = echo().await;
    let proxy = Proxy::start(server).await.unwrap();
    proxy.set(Mode::CutAfter(Toward::Server, 3));
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    assert!(ask(&mut stream, b"12345").await.is_err());
    let mut heard = Vec::new();
    while heard.len() < 3 {
        let Ok(Some(bytes)) = timeout(Duration::from_millis(200), told.recv()).await else { break };
        heard.extend(bytes);
    }
    // A reset may overtake what was sent before it, never what was not.
    assert!(b"123".starts_with(&heard[..]), "{heard:?}");
    assert_eq!(proxy.cuts(), 1);
}

#[tokio::test]
async fn the_server_gets_a_commit_whose_answer_is_cut() {
    let (server, mut told) = echo().await;
    let proxy = Proxy::start(server).await.unwrap();
    proxy.set(Mode::CutAfterCommit(1_000));
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    let query = b"\x06\0\0\0\x03BEGIN";
    assert_eq!(ask(&mut stream, query).await.unwrap(), query);
    assert_eq!(told.recv().await.unwrap(), query);
    let commit = b"\x07\0\0\0\x03COMMIT";
    assert!(ask(&mut stream, commit).await.is_err());
    assert_eq!(told.recv().await.unwrap(), commit);
    assert_eq!(proxy.cuts(), 1);
}

#[tokio::test]
async fn what_is_delayed_arrives_later() {
    let (server, _told) = echo().await;
    let proxy = Proxy::start(server).await.unwrap();
    proxy.set(Mode::Delay(Duration::from_millis(30)));
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    let began = std::time::Instant::now();
    assert_eq!(ask(&mut stream, b"1").await.unwrap(), b"1");
    assert!(began.elapsed() >= Duration::from_millis(60));
}
