//! Bytes and open files over a Unix socket: a message is its length in four bytes and JSON; a file is one byte that
//! carries it. Does not live here: what the messages mean.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// The largest message in bytes.
const LARGEST_BYTES: u32 = 64 * 1024 * 1024;

fn packed(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let text = serde_json::to_vec(message)?;
    let length = u32::try_from(text.len()).ok().filter(|length| *length <= LARGEST_BYTES);
    let length = length.ok_or_else(|| io::Error::other("the message is too large"))?;
    Ok([&length.to_be_bytes()[..], &text].concat())
}

fn checked(length: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_be_bytes(length);
    if length > LARGEST_BYTES {
        return Err(io::Error::other("the message is too large"));
    }
    usize::try_from(length).map_err(io::Error::other)
}

pub(super) fn say(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    stream.write_all(&packed(message)?)
}

pub(super) fn hear<T: DeserializeOwned>(stream: &mut UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut text = vec![0; checked(length)?];
    stream.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

pub(super) async fn say_later(
    stream: &mut tokio::net::UnixStream,
    message: &impl Serialize,
) -> io::Result<()> {
    stream.write_all(&packed(message)?).await
}

/// Not to be cancelled: the rest of a message would be taken for the next one.
pub(super) async fn hear_later<T: DeserializeOwned>(stream: &mut tokio::net::UnixStream) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let mut text = vec![0; checked(length)?];
    stream.read_exact(&mut text).await?;
    Ok(serde_json::from_slice(&text)?)
}

pub(super) fn give(stream: &UnixStream, file: BorrowedFd<'_>) -> io::Result<()> {
    let files = [file];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&files));
    sendmsg(stream, &[IoSlice::new(b"+")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

pub(super) fn get(stream: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let files = control.drain().filter_map(|message| {
        if let RecvAncillaryMessage::ScmRights(files) = message { Some(files) } else { None }
    });
    files.flatten().next().ok_or_else(|| io::Error::other("a socket was announced and did not come"))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn messages_and_files_keep_their_order() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let files = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
        for (number, mut file) in files.iter().enumerate() {
            write!(file, "{number}").unwrap();
        }
        say(&mut here, &"before").unwrap();
        files.iter().for_each(|file| give(&here, file.as_fd()).unwrap());
        say(&mut here, &"after").unwrap();
        assert_eq!(hear::<String>(&mut there).unwrap(), "before");
        for number in 0..2 {
            use std::io::Seek as _;
            let mut file = std::fs::File::from(get(&there).unwrap());
            let mut text = String::new();
            file.rewind().unwrap();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, number.to_string());
        }
        assert_eq!(hear::<String>(&mut there).unwrap(), "after");
        drop(here);
        assert!(get(&there).is_err());
    }

    #[test]
    fn a_message_that_is_too_large_is_not_waited_for() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        here.write_all(&[0xff; 4]).unwrap();
        assert!(hear::<String>(&mut there).unwrap_err().to_string().contains("too large"));
    }
}
