//! What the lab's origins speak on [`PORT`]: a protocol that is neither TLS nor HTTP, the server first.

use tokio::{
    io::{self, AsyncWriteExt},
    net::TcpStream,
};

/// PostgreSQL's number; nothing of its protocol.
pub const PORT: u16 = 5432;
/// The line the server sends before it echoes.
pub const BANNER: &str = "220 lab ready\r\n";

pub async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(BANNER.as_bytes()).await?;
    let (mut from, mut to) = stream.split();
    io::copy(&mut from, &mut to).await?;
    stream.shutdown().await
}
