//! A WebSocket that sends every message back. Does not live here: the change of protocol (`service`).

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use crate::server::{InFlight, Stop};

/// Until the client goes, or the shop stops and has said so.
pub(crate) async fn chat(socket: impl AsyncRead + AsyncWrite + Unpin, stop: Stop, _in_flight: InFlight) {
    let mut chat = WebSocketStream::from_raw_socket(socket, Role::Server, None).await;
    loop {
        let message = tokio::select! {
            biased;
            message = chat.next() => message,
            () = stop.stopping() => {
                let goodbye = CloseFrame { code: CloseCode::Away, reason: "the shop stops".into() };
                // The client may be gone already.
                let _ = chat.close(Some(goodbye)).await;
                break;
            }
        };
        match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                if chat.send(message).await.is_err() {
                    return;
                }
            }
            // Those are answered by reading on.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_))) => {}
            Some(Err(_)) | None => return,
        }
    }
}
